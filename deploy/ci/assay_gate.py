#!/usr/bin/env python3
"""Ask an Assay gate from CI, with the standard library alone. See docs/ci.md.

Exit codes: 0 pass, 1 fail, 2 usage, 3 inconclusive. Whatever keeps the gate from deciding is 3; nothing but a decision
that says pass is 0.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PASS, FAIL, USAGE, INCONCLUSIVE = 0, 1, 2, 3
EXITS = {"pass": PASS, "fail": FAIL, "inconclusive": INCONCLUSIVE}
MARKER = "<!-- assay-gate -->"  # first line of the summary: by it the comment of the last run is found
AGAIN = (429, 502, 503, 504)
MOST_BYTES = 256 << 20
MOST_COMMENT = 60_000


class Ended(Exception):
    """Ends the script with a message and an exit code."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is for one address: it is not carried on to another."""

    def redirect_request(self, *_args):
        """No other request."""


def main(argv=None):
    """Runs the gate; the exit code."""
    try:
        return run(parsed(argv))
    except Ended as ended:
        complain(ended)
        return ended.code
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else USAGE
    except Exception as error:  # a defect of this script is no decision
        complain(f"unexpected {type(error).__name__}: {error}")
        return INCONCLUSIVE


def complain(message):
    """One line: what a server says is no command to a CI system."""
    print("assay gate: " + " ".join(str(message).split()), file=sys.stderr)


def parsed(argv):
    """The arguments; what is not given comes from the environment."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=env("ASSAY_URL"), help="address of the API")
    for name in ("app", "candidate", "baseline"):
        parser.add_argument(f"--{name}", default=env(f"ASSAY_{name.upper()}"))
    parser.add_argument("--policy", default=env("ASSAY_POLICY"), help="the policy's YAML file")
    parser.add_argument("--policy-name", default=env("ASSAY_POLICY_NAME"), help="a policy of the server")
    parser.add_argument("--candidate-run", help="instead of its newest finished run")
    parser.add_argument("--baseline-run", help="instead of its newest finished run")
    parser.add_argument("--links", default=env("ASSAY_LINKS"), help="address of the dashboard")
    parser.add_argument("--markdown", help="file for the summary")
    parser.add_argument("--bundle", help="file for the decision with its evidence")
    parser.add_argument("--json", dest="answer", help="file for the whole answer")
    parser.add_argument("--timeout", type=float, default=env("ASSAY_TIMEOUT_S", "60"), help="seconds of one request")
    parser.add_argument("--tries", type=int, default=env("ASSAY_TRIES", "4"))
    parser.add_argument("--github-token", default=env("GITHUB_TOKEN"), help="safer in GITHUB_TOKEN")
    parser.add_argument("--gitlab-token", default=env("ASSAY_GITLAB_TOKEN"), help="safer in ASSAY_GITLAB_TOKEN")
    return parser.parse_args(argv)


def run(args):
    """Asks, writes, comments."""
    body = question(args)
    url = api_address(args.url)
    key = os.environ.get("ASSAY_API_KEY", "").strip()
    if not key:
        raise Ended("ASSAY_API_KEY is not set; it is a key of the role user", USAGE)
    headers = {"Authorization": f"Bearer {key}"}
    path = f"/api/v1/gates/{urllib.parse.quote(args.app, safe='')}/decide"
    told = decided(exchange(args, url + path, headers, body))
    if args.bundle:
        bundle = f"{url}/api/v1/gates/{urllib.parse.quote(told['gate_id'], safe='')}/bundle"
        write(args.bundle, exchange(args, bundle, headers).decode("utf-8"))
    for name, text in ((args.markdown, told["markdown"]), (args.answer, json.dumps(told, indent=2))):
        if name:
            write(name, text)
    note(os.environ.get("GITHUB_STEP_SUMMARY"), told["markdown"])
    note(os.environ.get("GITHUB_OUTPUT"), f"decision={told['decision']}\ngate-id={told['gate_id']}\n")
    print(f"assay gate: {told['decision']}  {args.app!a}: {args.candidate!a} against {args.baseline!a}")
    for one in told["reasons"]:
        if one.get("blocks"):
            print(f"- {one.get('text')!a}")
    try:
        comment(args, told["markdown"])
    except (Ended, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        complain(f"the comment was not posted: {error}")
    return EXITS[told["decision"]]


def question(args):
    """The request's body."""
    missing = [f"--{name}" for name in ("url", "app", "candidate", "baseline") if not getattr(args, name)]
    if missing:
        raise Ended(f"{', '.join(missing)} is missing", USAGE)
    if bool(args.policy) == bool(args.policy_name):
        raise Ended("give one of --policy and --policy-name", USAGE)
    names = ("candidate", "baseline", "policy_name", "candidate_run", "baseline_run", "links")
    body = {name: getattr(args, name) for name in names if getattr(args, name)}
    if args.policy:
        try:
            body["policy"] = Path(args.policy).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Ended(f"{args.policy} cannot be read: {error}", USAGE) from error
    return body


def api_address(given):
    """The address without a slash at its end. A key goes over http to this machine alone."""
    try:
        parts = urllib.parse.urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port == 0 or parts.scheme not in ("http", "https") or parts.username or parts.query:
        raise Ended(f"{given!a} is no address such as https://assay.example", USAGE)
    if parts.scheme == "http" and host not in ("127.0.0.1", "localhost", "::1"):
        raise Ended("a key goes over http:// to this machine alone; use https://", USAGE)
    return given.rstrip("/")


def decided(raw):
    """The server's answer, if it is a decision."""
    try:
        told = json.loads(raw)
        whole = isinstance(told["markdown"], str) and re.fullmatch(r"\w{1,60}", told["gate_id"]) is not None
        whole = whole and all(isinstance(one, dict) for one in told["reasons"]) and told["decision"] in EXITS
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise Ended("the server's answer is no decision; is --url the address of an Assay API?", INCONCLUSIVE)
    return told


def exchange(args, url, headers, body=None, method=None):
    """The body of a successful answer. Tries again while the server is away or overloaded; raises Ended."""
    sent = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json", "User-Agent": "assay-gate", **headers}
    if sent is not None:
        headers["Content-Type"] = "application/json"
    opener = urllib.request.build_opener(NoRedirect)
    said = ""
    for attempt in range(max(1, args.tries)):
        if attempt:
            time.sleep(min(2 ** (attempt - 1), 30))
        request = urllib.request.Request(url, data=sent, headers=headers, method=method)
        try:
            with opener.open(request, timeout=args.timeout) as answer:
                raw = answer.read(MOST_BYTES + 1)
            if len(raw) > MOST_BYTES:
                raise Ended("the answer is too large", INCONCLUSIVE)
            return raw
        except urllib.error.HTTPError as error:
            said = refusal(error)
            if error.code not in AGAIN:
                raise Ended(said, USAGE if error.code in (400, 404, 413, 422) else INCONCLUSIVE) from None
        except (OSError, ValueError, EOFError) as error:  # nobody there, too slow, broken off
            said = f"no answer from {urllib.parse.urlsplit(url).netloc}: {error}"
        except Exception as error:  # http.client says what it thinks of half an answer in many ways
            if isinstance(error, Ended):
                raise
            said = f"no whole answer from {urllib.parse.urlsplit(url).netloc}: {type(error).__name__}"
    raise Ended(said, INCONCLUSIVE)


def refusal(error):
    """Why the server refused, in a line."""
    try:
        told = json.loads(error.read(65_536))
        detail = str(told.get("detail") or told.get("message") or "")
    except (OSError, ValueError, AttributeError):
        detail = ""
    return f"the server answered {error.code}" + (f": {detail[:1000]}" if detail else "")


def write(path, text):
    """A file that was asked for; without it the gate has not answered."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Ended(f"{path} cannot be written: {error}", INCONCLUSIVE) from error


def note(path, text):
    """Adds to a file of the CI system, where it names one."""
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


# -- comments ----------------------------------------------------------------------------------------------------------


def comment(args, summary):
    """One comment on the pull or merge request: the last run's is replaced."""
    if len(summary) > MOST_COMMENT:
        summary = summary[:MOST_COMMENT].rpartition("\n")[0] + "\n\ncut: too long for a comment\n"
    env = os.environ.get
    if args.github_token and env("GITHUB_REPOSITORY") and (number := pull_request()):
        api = env("GITHUB_API_URL", "https://api.github.com").rstrip("/")
        repository = f"{api}/repos/{urllib.parse.quote(env('GITHUB_REPOSITORY'))}"
        headers = {"Authorization": f"Bearer {args.github_token}", "X-GitHub-Api-Version": "2022-11-28"}
        place = f"{repository}/issues/{number}/comments"
        replace(args, headers, place, f"{repository}/issues/comments", "PATCH", summary)
    elif args.gitlab_token and env("CI_MERGE_REQUEST_IID") and env("CI_API_V4_URL"):
        project = urllib.parse.quote(env("CI_PROJECT_ID", ""), safe="")
        number = urllib.parse.quote(env("CI_MERGE_REQUEST_IID"), safe="")
        place = f"{env('CI_API_V4_URL').rstrip('/')}/projects/{project}/merge_requests/{number}/notes"
        replace(args, {"PRIVATE-TOKEN": args.gitlab_token}, place, place, "PUT", summary)


def pull_request():
    """The number of the pull request that this GitHub event is about; None when it is about none."""
    try:
        event = json.loads(Path(os.environ.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
        return int((event.get("pull_request") or event.get("issue"))["number"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def replace(args, headers, place, each, method, summary):
    """Changes our comment where there is one, else writes one. Looks through the newest thousand."""
    address = api_address(place)
    for page in range(1, 11):
        listed = json.loads(exchange(args, f"{address}?per_page=100&page={page}", headers))
        for one in listed:
            if str(one.get("body") or "").startswith(MARKER):
                try:
                    exchange(args, f"{each}/{int(one['id'])}", headers, {"body": summary}, method)
                    return
                except Ended:  # somebody else wrote it, and put our mark first
                    continue
        if len(listed) < 100:
            break
    exchange(args, address, headers, {"body": summary}, "POST")


if __name__ == "__main__":
    sys.exit(main())
