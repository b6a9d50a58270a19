"""What a search for personal information looks for: prefixes of keys, words beside phone numbers, lengths of IBANs."""

from __future__ import annotations

from typing import Final

# What a candidate may be, as bits.
EMAIL: Final = 1
NUMBER_PHONE: Final = 2
NUMBER_CARD: Final = 4
NUMBER_SSN: Final = 8
NUMBER_IP: Final = 16
IPV6: Final = 32
IBAN: Final = 64
SECRET: Final = 128  # a known key prefix starts at the range's start
ASSIGNED: Final = 256  # a ':' or '=' after a word such as api_key or password

LABEL_REACH: Final = 72  # bytes before a number in which its label is looked for
LIMIT: Final = 4096  # bytes after a ':' or '=' in which its values are looked for
WORDS: Final = 64  # a key that begins with so many bytes of words is made of words
# Bytes that may stand between the digit groups of one number; the last two are a no-break space in UTF-8.
SEPARATORS: Final = b" -.()/\xc2\xa0"

# Prefixes by which a vendor's key, a token, a header or a key block is recognised (confirmed in patterns.py).
PREFIXES: Final = (
    *("sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_", "pk-lf-", "gsk_", "csk-", "pcsk_", "pplx-", "xai-"),
    *("r8_", "fw_", "tvly-", "tgp_v1_", "nvapi-", "hf_", "api_org_", "lsv2_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    *("github_pat_", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "xoxb-", "xoxp-", "xoxa-"),
    *("xoxr-", "xoxs-", "xoxo-", "xoxe-", "xoxe.", "xapp-", "hooks.slack.com/", "AKIA", "ASIA", "ABIA", "ACCA", "LTAI"),
    *("AKID", "AIza", "GOCSPX-", "ya29.", "npm_", "pypi-", "rubygems_", "dckr_pat_", "SG.", "key-", "re_"),
    *("xkeysib-", "whsec_", "sq0atp-", "sq0csp-", "EAAA", "EAAC", "shpat_", "shpca_", "shppa_", "shpss_", "rzp_live_"),
    *("rzp_test_", "dop_v1_", "doo_v1_", "dor_v1_", "HRKU-", "lin_api_", "secret_", "ntn_", "ATATT3", "ATCTT3"),
    *("figd_", "dapi", "dp.pt.", "dp.st.", "hvs.", "hvb.", "hvr.", ".atlasv1.", "pul-", "glsa_", "glc_", "sntrys_"),
    *("sntryu_", "NRAK-", "NRII-", "phx_", "sbp_", "nfp_", "pscale_", "PMAK-", "pnu_", "tfp_", "AKCp", "dt0c01."),
    *("AGE-SECRET-KEY-1", "EZAK", "FLWSECK", "duffel_", "ops_eyJ", "eyJ", "ask_", ":AA", "-----BEGIN ", "8Q~"),
    *("Bearer ", "bearer ", "BEARER ", "Basic ", "basic ", "wandb_v1_", "SK", "xoxd-", "sl."),
)

# A number that only a word nearby makes a phone (or social security) number needs one of these before or after it.
LABELS: Final = (
    *("phone", "hone", "tel", "mobil", "cell", "fax", "whatsapp", "sms", "pager", "line", "msisdn", "voice", "call"),
    *(
        "text",
        "messag",
        "dial",
        "ring",
        "reach",
        "contact",
        "office",
        "home",
        "work",
        "direct",
        "ssn",
        "social",
        "itin",
        "tax",
        "tin",
    ),
)

# Total length of an IBAN by country (ISO 13616 registry, release 99).
IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
