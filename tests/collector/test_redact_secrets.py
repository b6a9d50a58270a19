"""Keys and tokens of every vendor we name, each made here from its documented shape: no real one is in this file."""

from __future__ import annotations

import json
import random
import string

import pytest

from collector.redact import Redactor
from core.records import PiiPolicy

REDACTOR = Redactor(PiiPolicy(), b"test-key")

_ALNUM = string.ascii_letters + string.digits
_URL = _ALNUM + "_-"
_HEX = "0123456789abcdef"
_UPPER = string.ascii_uppercase + string.digits
_BASE32 = string.ascii_uppercase + "234567"


def _some(alphabet: str, n: int) -> str:
    """`n` characters, the same at every run; a digit and a letter are among them."""
    chosen = random.Random(f"{alphabet}{n}")
    return "a1" * (alphabet == _HEX) + "".join(chosen.choice(alphabet) for _ in range(n - 2 * (alphabet == _HEX)))


VENDORS = {
    "openai": "sk-" + _some(_ALNUM, 48),
    "openai_project": "sk-proj-" + _some(_URL, 120),
    "openai_service": "sk-svcacct-" + _some(_URL, 80),
    "anthropic": "sk-ant-api03-" + _some(_URL, 93) + "AA",
    "openrouter": "sk-or-v1-" + _some(_HEX, 64),
    "deepseek": "sk-" + _some(_HEX, 32),
    "langfuse": "sk-lf-" + "0d664b27-1006-4461-9a9d-62c991811111",
    "langsmith": "lsv2_pt_" + _some(_HEX, 32) + "_" + _some(_HEX, 10),
    "groq": "gsk_" + _some(_ALNUM, 52),
    "cerebras": "csk-" + _some(string.ascii_lowercase + string.digits, 48),
    "pinecone": "pcsk_" + _some(_ALNUM, 60),
    "perplexity": "pplx-" + _some(_ALNUM, 48),
    "xai": "xai-" + _some(_ALNUM, 80),
    "replicate": "r8_" + _some(_ALNUM, 37),
    "tavily": "tvly-" + _some(_ALNUM, 32),
    "together": "tgp_v1_" + _some(_URL, 43),
    "nvidia": "nvapi-" + _some(_URL, 64),
    "hugging_face": "hf_" + _some(_ALNUM, 34),
    "elevenlabs": "sk_" + _some(_HEX, 48),
    "github_classic": "ghp_" + _some(_ALNUM, 36),
    "github_oauth": "gho_" + _some(_ALNUM, 36),
    "github_app": "ghs_" + _some(_ALNUM, 36),
    "github_fine_grained": "github_pat_" + _some(_ALNUM, 22) + "_" + _some(_ALNUM, 59),
    "gitlab": "glpat-" + _some(_URL, 20),
    "slack_bot": "xoxb-" + _some(string.digits, 12) + "-" + _some(string.digits, 12) + "-" + _some(_ALNUM, 24),
    "slack_user": "xoxp-" + _some(string.digits, 12) + "-" + _some(_ALNUM, 24),
    "slack_app": "xapp-1-" + _some(_UPPER, 11) + "-" + _some(string.digits, 13) + "-" + _some(_HEX, 64),
    "slack_webhook": "hooks.slack.com/services/"
    + "T"
    + _some(_UPPER, 8)
    + "/B"
    + _some(_UPPER, 8)
    + "/"
    + _some(_ALNUM, 24),
    "aws_access": "AKIA" + _some(_BASE32, 16),
    "aws_session": "ASIA" + _some(_BASE32, 16),
    "google_api": "AIza" + _some(_URL, 35),
    "google_client": "GOCSPX-" + _some(_URL, 28),
    "google_oauth": "ya29." + _some(_URL, 120),
    "azure_ad": "abc" + "8Q~" + _some(_ALNUM, 34),
    "alibaba": "LTAI" + _some(_ALNUM, 20),
    "tencent": "AKID" + _some(_ALNUM, 32),
    "digitalocean": "dop_v1_" + _some(_HEX, 64),
    "heroku": "HRKU-" + _some(_URL, 60),
    "databricks": "dapi" + _some(_HEX, 32),
    "vault": "hvs." + _some(_URL, 90),
    "terraform": _some(_ALNUM, 14) + ".atlasv1." + _some(_ALNUM, 67),
    "pulumi": "pul-" + _some(_HEX, 40),
    "supabase": "sbp_" + _some(_HEX, 40),
    "netlify": "nfp_" + _some(_ALNUM, 36),
    "planetscale": "pscale_tkn_" + _some(_URL, 43),
    "npm": "npm_" + _some(_ALNUM, 36),
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + _some(_URL, 120),
    "rubygems": "rubygems_" + _some(_HEX, 48),
    "docker": "dckr_pat_" + _some(_URL, 27),
    "artifactory": "AKCp" + _some(_ALNUM, 69),
    "sentry": "sntrys_" + _some(_ALNUM, 90),
    "postman": "PMAK-" + _some(_HEX, 24) + "-" + _some(_HEX, 34),
    "sendgrid": "SG." + _some(_URL, 22) + "." + _some(_URL, 43),
    "mailgun": "key-" + _some(_HEX, 32),
    "brevo": "xkeysib-" + _some(_HEX, 64) + "-" + _some(_ALNUM, 16),
    "resend": "re_" + _some(_ALNUM, 8) + "_" + _some(_ALNUM, 24),
    "twilio": "SK" + _some(_HEX, 32),
    "telegram": _some("123456789", 10) + ":AA" + _some(_URL, 33),
    "linear": "lin_api_" + _some(_ALNUM, 40),
    "notion": "ntn_" + _some(_ALNUM, 46),
    "atlassian": "ATATT3" + _some(_URL, 186),
    "figma": "figd_" + _some(_URL, 40),
    "stripe_live": "sk_live_" + _some(_ALNUM, 24),
    "stripe_restricted": "rk_test_" + _some(_ALNUM, 24),
    "stripe_webhook": "whsec_" + _some(_ALNUM, 32),
    "square": "sq0atp-" + _some(_URL, 22),
    "facebook": "EAAC" + _some(_ALNUM, 120),
    "shopify": "shpat_" + _some(_HEX, 32),
    "razorpay": "rzp_live_" + _some(_ALNUM, 14),
    "easypost": "EZAK" + _some(_ALNUM, 54),
    "flutterwave": "FLWSECK-" + _some(_ALNUM, 32) + "-X",
    "duffel": "duffel_live_" + _some(_URL, 43),
    "doppler": "dp.pt." + _some(_ALNUM, 43),
    "grafana": "glsa_" + _some(_ALNUM, 32) + "_" + _some(_HEX, 8),
    "new_relic": "NRAK-" + _some(_UPPER, 27),
    "posthog": "phx_" + _some(_ALNUM, 43),
    "dynatrace": "dt0c01." + _some(_UPPER, 24) + "." + _some(_UPPER, 64),
    "age": "AGE-SECRET-KEY-1" + _some(_UPPER, 58),
    "assay": "ask_" + _some(_HEX, 12) + "_" + _some(_URL, 43) + "abc123",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + _some(_URL, 60) + "." + _some(_URL, 43),
    "jwe": "eyJhbGciOiJSU0EifQ." + ".".join(_some(_URL, n) for n in (40, 16, 60, 22)),
}


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_a_vendors_key_is_replaced_wherever_it_stands(vendor: str) -> None:
    key = VENDORS[vendor]
    for before, after in (
        ("", ""),
        ("use ", " please"),
        ('{"k": "', '"}'),
        ("curl -H 'X: ", "'"),
        ("line\n", "\nline"),
    ):
        redacted = REDACTOR.text(before + key + after)
        assert redacted == before + "[SECRET]" + after


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_a_vendors_key_is_replaced_in_nested_json(vendor: str) -> None:
    inner = json.dumps({"arguments": {"note": f"first\n{VENDORS[vendor]}\n", "n": 1}})
    outer = json.dumps({"messages": [{"role": "tool", "content": inner}]})
    redacted = REDACTOR.text(outer)
    assert VENDORS[vendor] not in redacted
    content = json.loads(json.loads(redacted)["messages"][0]["content"])
    assert content["arguments"]["note"] == "first\n[SECRET]\n"


def test_more_than_thirty_vendors_are_known() -> None:
    assert len(VENDORS) >= 30


@pytest.mark.parametrize("kind", ["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
@pytest.mark.parametrize("newline", ["\n", "\\n", "\\\\n", "\r\n", " "])
def test_a_private_key_block_is_replaced_as_a_whole(kind: str, newline: str) -> None:
    body = newline.join(_some(_ALNUM + "+/", 64) for _ in range(12))
    block = f"-----BEGIN {kind}-----{newline}{body}{newline}-----END {kind}-----"
    assert REDACTOR.text(f"before {block} after") == "before [SECRET] after"


def test_a_private_key_block_without_its_end_is_replaced_to_where_the_key_stops() -> None:
    assert _some(_ALNUM, 64) not in REDACTOR.text(f"-----BEGIN PRIVATE KEY-----\n{_some(_ALNUM, 64)}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer " + _some(_ALNUM, 40), "Authorization: Bearer [SECRET]"),
        ("authorization: bearer " + _some(_ALNUM, 40), "authorization: bearer [SECRET]"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZDE=", "Authorization: Basic [SECRET]"),
        ('{"Authorization": "Basic dXNlcjpwYXNzd29yZDE="}', '{"Authorization": "Basic [SECRET]"}'),
        ("postgres://app:s3cr3t@db.example.com:5432/x", "postgres://app:[SECRET]@db.example.com:5432/x"),
        ("redis://:p4ss@cache:6379", "redis://:[SECRET]@cache:6379"),
        ("api_key=" + "9f86d081884c7d659a2feaa0c55ad015", "api_key=[SECRET]"),
        ('"apiKey": "9f86d081884c7d659a2feaa0c55ad015"', '"apiKey": "[SECRET]"'),
        ('{\\"client_secret\\": \\"Ab3dEf6hIj9lMn2p\\"}', '{\\"client_secret\\": \\"[SECRET]\\"}'),
        ("AccountKey=" + "Ab3dEf6hIj9lMn2p/+x" * 4 + "==", "AccountKey=[SECRET]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = [SECRET]"),
        ("password: Tr0ub4dor&3", "password: [SECRET]"),
        ("PWD=hunter2x!", "PWD=[SECRET]"),
        ('{"password": "a(b)[c]:D1;<e>|=,{f}"}', '{"password": "[SECRET]"}'),
        ('{\\"pwd\\": \\"Tr0ub4,dor\\"}', '{\\"pwd\\": \\"[SECRET]\\"}'),
        ("password='a1B)2c.', user='x'", "password='[SECRET]', user='x'"),
        ('{"x-api-key": ["a8F3kL9mQ2xT7vB1"]}', '{"x-api-key": ["[SECRET]"]}'),
        (
            '{"x-api-key":["a8F3kL9mQ2xT7vB1","no",\n  "Token b8F3kL9mQ2xT7vB2"], "n": ["c8F3kL9mQ2xT7vB3"]}',
            '{"x-api-key":["[SECRET]","no",\n  "Token [SECRET]"], "n": ["c8F3kL9mQ2xT7vB3"]}',
        ),
        (
            '{\\"password\\": [\\"Tr0ub4dor&3\\", \\"Tr0ub4dor&4\\"]}',
            '{\\"password\\": [\\"[SECRET]\\", \\"[SECRET]\\"]}',
        ),
    ],
)
def test_credentials_are_replaced_where_their_name_says_what_they_are(text: str, expected: str) -> None:
    assert REDACTOR.text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "api_key=os.environ['OPENAI_API_KEY']",
        'api_key = "YOUR_API_KEY"',
        "Bearer token authentication is required",
        "Basic information about the account",
        '{"password": {"type": "string", "description": "the password"}}',
        '{"token": " the", "logprob": -0.5}',
        '{"max_tokens": 4096, "total_tokens": 1234567}',
        '{"idempotency_key": "0d664b27-1006-4461-9a9d-62c991811111"}',
        "next_page_token: abc123def456ghi789jkl",
        "scikit-learn, sk-learn and risk-averse-investments-in-bonds",
        "the secret: patience",
        '{"password": "<your-password>"}',
        '{"password": "{{DB_PASSWORD}}", "pwd": "${DB_PASSWORD_1}"}',
        "the token: [a8F3kL9m] and the secret: [see below, chapter 16]",
        '{"token": ["the", "cat"], "logprobs": [-0.5, -1.25]}',
        "https://example.com:8080/path@version",
        "a key-value-store and a re_sult_of_the_run",
    ],
)
def test_words_that_speak_of_credentials_are_kept(text: str) -> None:
    assert REDACTOR.text(text) == text
