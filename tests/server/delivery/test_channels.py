"""What each channel sends, as its receiver reads it; whom it may call; the file it is set in."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from server.delivery import alertmanager, email, opsgenie, pagerduty, slack, teams, webhook
from server.delivery.channels import Channels
from server.delivery.channels_file import BadChannels, load_channels
from server.delivery.posting import post
from server.delivery.records import Message, MessageKind, NotDelivered, Request
from server.signing import is_signed
from store.control.monitor_records import Delivery
from tests.server.delivery.world import ACME, BEGIN, KEY, Mood, Receiver, channels_of, payload, receiving

URL = "https://hooks.example/T0/B0/x"


def message(kind: str = "incident.call", incident: int = 17, **more: Any) -> Message:
    told = {**payload(kind, "resolution is 71%, expected 84% to 90%"), **more}
    sent = Delivery(tenant=ACME, id="d_1", channel="c", incident=incident, seq=1, payload=told, created_ns=BEGIN)
    return Message.of(sent, "https://assay.example/")


def body(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_slack_is_sent_blocks_in_which_nothing_is_a_mention() -> None:
    (sent,) = slack.requests(message(text="<!channel> & <https://evil|here>"), url=URL)
    told = body(sent)
    assert told["blocks"][0]["text"] == {"type": "plain_text", "text": "[page] I-17 shop: resolution"}
    assert told["blocks"][1]["text"]["text"] == "*What*\n&lt;!channel&gt; &amp; &lt;https://evil|here&gt;"
    assert "https://assay.example/Incidents?incident=I-17" in sent.body.decode()
    assert told["blocks"][-1]["elements"][0]["text"].endswith("d_1")


def test_pagerduty_is_sent_events_of_one_dedup_key() -> None:
    (call,) = map(body, pagerduty.requests(message(), routing_key="R"))
    (resolved,) = map(body, pagerduty.requests(message("incident.resolved"), routing_key="R"))
    (known,) = map(body, pagerduty.requests(message("incident.acknowledged"), routing_key="R"))
    assert (call["event_action"], known["event_action"], resolved["event_action"]) == (
        "trigger",
        "acknowledge",
        "resolve",
    )
    assert {one["dedup_key"] for one in (call, known, resolved)} == {"assay/acme/I-17"}
    assert call["payload"]["severity"] == "critical"
    assert call["payload"]["summary"].startswith("[page] I-17 shop: resolution: resolution is 71%")
    assert call["payload"]["custom_details"]["delivery"] == "d_1"
    assert call["links"] == [{"href": "https://assay.example/Incidents?incident=I-17", "text": "Open in Assay"}]
    assert pagerduty.requests(message("incident.update"), routing_key="R") == ()
    assert [body(one)["event_action"] for one in pagerduty.requests(message("test", 0), routing_key="R")] == [
        "trigger",
        "resolve",
    ]


def test_opsgenie_is_sent_requests_of_one_alias() -> None:
    sent = {
        kind: opsgenie.requests(message(kind), api_key="G")
        for kind in ("incident.call", "incident.update", "incident.acknowledged", "incident.resolved")
    }
    paths = [requests[0].url.removeprefix(opsgenie.URL) for requests in sent.values()]
    of_it = "/v2/alerts/assay%2Facme%2FI-17"
    ends = "?identifierType=alias"
    assert paths == ["/v2/alerts", f"{of_it}/notes{ends}", f"{of_it}/acknowledge{ends}", f"{of_it}/close{ends}"]
    call = body(sent["incident.call"][0])
    assert (call["alias"], call["priority"], call["details"]["delivery"]) == ("assay/acme/I-17", "P1", "d_1")
    assert sent["incident.call"][0].headers["authorization"] == "GenieKey G"


def test_teams_is_sent_a_card_in_which_no_link_hides() -> None:
    (sent,) = teams.requests(message(text="[here](https://evil)"), url=URL)
    card = body(sent)["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard"
    assert card["body"][2]["text"] == "\\[here]\\(https://evil)"
    assert card["actions"][0]["url"] == "https://assay.example/Incidents?incident=I-17"


def test_a_webhook_is_signed_and_has_all_that_is_told() -> None:
    (sent,) = webhook.requests(message(), url=URL, key=KEY, now_s=time.time)
    stamp, signature = sent.headers["x-assay-timestamp"], sent.headers["x-assay-signature"]
    assert is_signed(KEY, stamp, signature, sent.body, now_s=time.time())
    told = body(sent)
    assert (told["id"], told["incident_key"], told["kind"]) == ("d_1", "assay/acme/I-17", "incident.call")
    assert told["first"] == ["Open the examples."]


def test_alertmanagers_receivers_find_an_alerts_end_by_its_fingerprint() -> None:
    told = {}
    for kind in ("incident.call", "incident.resolved"):
        told[kind] = body(alertmanager.requests(message(kind), url=URL, name="oncall")[0])
    call, resolved = told.values()
    assert (call["version"], call["status"], resolved["status"]) == ("4", "firing", "resolved")
    assert call["groupKey"] == resolved["groupKey"] == '{}:{app="shop", incident="assay/acme/I-17"}'
    (fires,), (ends,) = call["alerts"], resolved["alerts"]
    assert fires["fingerprint"] == ends["fingerprint"]
    assert (fires["startsAt"], fires["endsAt"]) == ("2027-01-15T08:00:00.000Z", "0001-01-01T00:00:00Z")
    assert ends["endsAt"] == "2027-01-15T08:00:01.000Z"
    assert fires["labels"] == {
        "alertname": "resolution", "app": "shop", "incident": "I-17", "series": "-", "severity": "critical",
        "tenant": "acme",
    }  # fmt: skip


def test_a_mail_has_the_deliverys_id_and_its_incidents_thread() -> None:
    made = [email.mail(message(kind), sender="Assay <a@b.example>", to=["x@y.example"]) for kind in MessageKind]
    assert {one["Message-ID"] for one in made} == {"<d_1@b.example>"}
    assert len({one["In-Reply-To"] for one in made}) == 1
    cruel = email.mail(message(title="a\r\nBcc: evil@example\n"), sender="a@b.example", to=["x@y.example"])
    assert cruel["Bcc"] is None
    assert cruel["Subject"] == "[page] I-17 a Bcc: evil@example"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("kind", "title", "text", "severity", "at_ns", "alerts", "first", "examples", "why", "runbook", "app", "owner")


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(NAMES), json_values), st.integers(0, 3))
def test_every_channel_makes_something_of_every_payload(told: dict[str, Any], incident: int) -> None:
    one = Message.of(Delivery(tenant=ACME, id="d_1", channel="c", incident=incident, seq=1, payload=told))
    sent = [
        *slack.requests(one, url=URL),
        *teams.requests(one, url=URL),
        *pagerduty.requests(one, routing_key="R"),
        *opsgenie.requests(one, api_key="G"),
        *webhook.requests(one, url=URL, key=KEY, now_s=time.time),
        *alertmanager.requests(one, url=URL, name="c"),
    ]
    assert all(isinstance(body(request), dict) for request in sent)
    assert email.mail(one, sender="a@b.example", to=["x@y.example"]).as_bytes()


def test_long_texts_are_cut_to_what_receivers_take() -> None:
    long = message(text="<" * 50_000, title="t" * 5_000, why="w" * 50_000)
    (told,) = map(body, slack.requests(long, url=URL))
    assert max(len(one["text"]["text"]) for one in told["blocks"] if one["type"] != "context") <= 3_000
    assert len(body(pagerduty.requests(long, routing_key="R")[0])["payload"]["summary"]) <= 1_024
    assert len(body(opsgenie.requests(long, api_key="G")[0])["message"]) <= 130
    assert len(teams.requests(long, url=URL)[0].body) < 28_000


# --- receivers that know a key --------------------------------------------------------------------------------------


def test_pagerduty_that_takes_a_trigger_twice_calls_once() -> None:
    """A receiver that does with dedup_key as PagerDuty documents: a trigger of an open one makes no other."""
    receiver = Receiver(mood=Mood.LOSES)
    with receiving(receiver):
        channel = channels_of({"c": {"kind": "pagerduty", "routing_key": "R", "url": receiver.url}}).channels["c"]
        with pytest.raises(NotDelivered):
            channel.send(message())
        receiver.mood = Mood.WELL
        for kind in ("incident.call", "incident.resolved", "incident.call"):
            channel.send(message(kind))
    is_open, calls = set[str](), 0
    for one in receiver.bodies():
        key = one["dedup_key"]
        if one["event_action"] == "trigger" and key not in is_open:
            is_open.add(key)
            calls += 1
        elif one["event_action"] == "resolve":
            is_open.discard(key)
    assert (len(receiver.taken), calls) == (4, 2)


# --- whom they may call ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/x",
    ],
)
def test_addresses_within_the_network_are_not_called(url: str) -> None:
    with pytest.raises(NotDelivered, match="is not called"):
        post(Request(url=url, body=b""), private=False)


@pytest.mark.parametrize(
    "url",
    [
        *("http://169.254.169.254/x", "http://[fe80::1]/x", "http://0.0.0.0/x", "http://[::ffff:169.254.169.254]/x"),
        *("http://168.63.129.16/x", "http://192.0.0.192/x", "http://[fd00:ec2::254]/x", "http://[fd20:ce::254]/x"),
        *(
            "http://[::127.0.0.1]/x",
            "http://[64:ff9b:1::7f00:1]/x",
            "http://[fec0::1]/x",
            "http://[2002:a9fe:a9fe::]/x",
        ),
    ],
)
def test_some_addresses_are_never_called(url: str) -> None:
    with pytest.raises(NotDelivered, match="is not called"):
        post(Request(url=url, body=b""), private=True)


def test_a_redirect_is_not_followed() -> None:
    receiver = Receiver(mood=Mood.REDIRECTS)
    with receiving(receiver), pytest.raises(NotDelivered, match="redirects are not followed"):
        post(Request(url=receiver.url, body=b"{}"), private=True)
    assert receiver.elsewhere == 0


def test_a_receiver_that_answers_a_byte_at_a_time_has_one_deadline() -> None:
    class Drip(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            while not ended.wait(0.05):
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return

    ended = threading.Event()
    with serving(Drip) as port, pytest.raises(NotDelivered, match=r"no answer within 1 s|RemoteProtocolError"):
        post(Request(url=f"http://127.0.0.1:{port}", body=b"{}"), private=True, deadline_s=1.0)
    ended.set()


def test_a_receiver_that_asks_for_time_is_given_it() -> None:
    receiver = Receiver(mood=Mood.BUSY)
    with receiving(receiver), pytest.raises(NotDelivered) as caught:
        post(Request(url=receiver.url, body=b"{}"), private=True)
    assert (caught.value.after_s, caught.value.for_good) == (300.0, False)


# --- mail -----------------------------------------------------------------------------------------------------------


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join(10)


def mailbox(mails: list[bytes], answers: dict[str, str]) -> type[socketserver.BaseRequestHandler]:
    """As much of SMTP (RFC 5321) as a mail needs; `answers` are given in place of 250 to a command."""

    class Mailbox(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 mail")
            while line := self.rfile.readline():
                word = line.split()[0].upper().decode()
                if word == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mails.append(b"".join(lines))
                self.say(answers.get(word, "221 bye" if word == "QUIT" else "250 ok"))
                if word == "QUIT":
                    return

    return Mailbox


def mail_channel(port: int, **more: Any) -> Any:
    told = {"kind": "email", "host": "127.0.0.1", "port": port, "tls": "none", "sender": "a@b.example"}
    return channels_of({"c": {**told, "to": ["x@y.example", "z@y.example"], **more}}).channels["c"]


def test_a_mail_arrives() -> None:
    mails: list[bytes] = []
    with serving(mailbox(mails, {})) as port:
        mail_channel(port).send(message())
    (found,) = [message_from_bytes(one, policy=policy.default) for one in mails]
    assert found["Message-ID"] == "<d_1@b.example>"
    said = found.get_payload(decode=True)
    assert isinstance(said, bytes)
    assert b"resolution is 71%" in said


@pytest.mark.parametrize(
    ("answers", "for_good"),
    [({"MAIL": "451 later"}, False), ({"MAIL": "550 never"}, True), ({"RCPT": "450 later"}, False),
     ({"RCPT": "550 nobody"}, True), ({"DATA": "554 never"}, True), ({"EHLO": "421 away", "HELO": "421 away"}, False)],
)  # fmt: skip
def test_mail_that_is_refused_is_tried_again_or_not_as_the_server_says(answers: dict[str, str], for_good: bool) -> None:
    with serving(mailbox([], answers)) as port, pytest.raises(NotDelivered) as caught:
        mail_channel(port).send(message())
    assert caught.value.for_good is for_good


def test_a_mail_server_without_tls_is_sent_nothing_unless_it_was_asked_for() -> None:
    mails: list[bytes] = []
    with serving(mailbox(mails, {})) as port, pytest.raises(NotDelivered):
        mail_channel(port, tls="starttls").send(message())
    assert mails == []


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_mail_server_that_hangs_is_left_at_the_deadline(tls: str) -> None:
    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            ended.wait(30)

    ended = threading.Event()
    with serving(Silent) as port:
        with pytest.raises(NotDelivered):
            mail_channel(port, tls=tls, deadline_s=0.2).send(message())
        ended.set()


def test_a_mail_server_within_the_network_is_not_called_unless_it_may() -> None:
    told = {"kind": "email", "host": "localhost", "sender": "a@b.example", "to": ["x@y.example"]}
    with pytest.raises(NotDelivered, match="is not called"):
        Channels.model_validate({"channels": {"c": told}}).channels["c"].send(message())


def test_a_certificate_is_held_against_the_hosts_name() -> None:
    """The connection goes to an address, and TLS still asks for the name."""
    assert ssl.create_default_context().check_hostname
    smtp = email._At("192.0.2.1")
    assert smtp._host == ""
    with pytest.raises(OSError):
        smtp.connect("no-such-host.invalid", 0)
    assert smtp._host == "no-such-host.invalid"


# --- the file -------------------------------------------------------------------------------------------------------

FILE = """
dashboard: https://assay.example
channels:
  oncall: {kind: pagerduty, routing_key: "${env:PD}"}
  team: {kind: slack, url: "${file:slack.txt}", tenants: [acme]}
  post: {kind: email, host: smtp.example, sender: a@b.example, to: [x@y.example], user: u, password: "${env:PD}"}
heartbeat: {url: "https://hc.example/ping/1", every_s: 60}
"""


def test_the_file_is_read_with_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "slack.txt").write_text(f"{URL}\n")
    (tmp_path / "channels.yaml").write_text(FILE)
    found = load_channels(tmp_path / "channels.yaml", {"PD": "a secret"})
    assert found.names("acme") == ("oncall", "post", "team")
    assert found.names("shop") == ("oncall", "post")
    assert found.channels["team"].addresses() == (URL,)
    assert "a secret" not in repr(found)
    assert URL not in repr(found)
    assert found.heartbeat is not None


def test_without_a_file_there_is_no_channel_and_one_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert load_channels(tmp_path / "no.yaml", {}).channels == {}
    with pytest.raises(BadChannels, match="is not there"):
        load_channels(tmp_path / "no.yaml", {}, needed=True)


@pytest.mark.parametrize(
    ("told", "line", "said"),
    [
        ("channels:\n  a: {kind: slack}", 2, "channels.a.url: field required"),
        ("channels:\n  a: {kind: smoke, url: x}", 2, "'smoke'"),
        ("channels:\n  a: {kind: slack, url: http://a.example/SECRET}", 2, "only https"),
        ("channels:\n  a: {kind: slack, url: ftp://a.example/SECRET, private: true}", 2, "only https"),
        ("channels:\n  a: {kind: webhook, url: https://a.example, key: SECRET}", 2, "16 characters"),
        ("channels:\n  a: {kind: pagerduty, routing_key: '${env:NO}'}", 2, "NO, which is not set"),
        ("channels:\n  a: {kind: email, host: h, sender: nobody, to: [x@y.z]}", 2, "not a mail address"),
        ("channels:\n  a: {kind: email, host: h, sender: a@b, to: [x@y], tls: none}", 2, "private: true"),
        ("channels:\n  'a b': {kind: slack, url: https://a.example}", 2, "pattern"),
        ("chanels: {}", 1, "chanels"),
        ("heartbeat: {url: https://a.example, every_s: 1}", 1, "heartbeat.every_s"),
        ("- a", 1, ""),
        ("a: [", 2, "is not YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_no_secret(tmp_path: Path, told: str, line: int, said: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(told)
    with pytest.raises(BadChannels) as caught:
        load_channels(path, {})
    assert str(caught.value).startswith(f"{path}:{line}:")
    assert said in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_channel_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        Channels.model_validate({"channels": {"a": "slack"}})
