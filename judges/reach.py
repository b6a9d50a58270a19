"""Which models a judge may ask, how they are reached, and which family they are of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from core.errors import InvalidInput
from judges.records import JudgeSpec, ModelRef, OwnFamily

PROVIDERS: Final = ("openai", "anthropic", "simulated")
KEY_PREFIX: Final = "ASSAY_JUDGE_KEY_"
HOSTS_PREFIX: Final = "ASSAY_JUDGE_HOSTS_"  # and the rest of the key's name: who may see that key
_KEY_ENV: Final = re.compile(rf"{KEY_PREFIX}[A-Z0-9_]{{1,60}}")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_MOST_URL: Final = 500
# A model's name may have its host's or maker's before it, as in us.anthropic.claude-sonnet or openai/gpt-5-mini.
FAMILIES: Final[dict[str, re.Pattern[str]]] = {
    name: re.compile(rf"(?:^|[^a-z0-9])(?:{words})", re.IGNORECASE)
    for name, words in {
        "gpt": r"(?:chat)?gpt|o[1-9](?![a-z0-9])|text-davinci|codex",
        "claude": r"claude",
        "gemini": r"gemini|gemma|palm",
        "llama": r"(?:code|meta-?)?llama",
        "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral|pixtral",
        "qwen": r"qwen|qwq",
        "deepseek": r"deepseek",
        "grok": r"grok",
        "command": r"command",
        "nova": r"nova-(?:micro|lite|pro|premier|2)",
        "phi": r"phi-?\d",
        "sim": r"sim-",
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the providers are and which keys open them. `environment` is the server's: keys are read from it when a
    model is first asked, and go nowhere else. `simulated_url` is the base URL of the simulated provider."""

    environment: Mapping[str, str]
    simulated_url: str | None = None

    def base_url(self, ref: ModelRef) -> str | None:
        """The address of a model's server; None is the provider's own. Raises InvalidInput."""
        if ref.url is not None:
            return ref.url
        match ref.provider:
            case "openai":
                return self.environment.get("OPENAI_BASE_URL") or None
            case "anthropic":
                return self.environment.get("ANTHROPIC_BASE_URL") or None
            case "simulated" if self.simulated_url:
                return self.simulated_url
            case "simulated":
                raise InvalidInput("there is no simulated provider here; start it, or name another model", "model")
            case _:
                raise InvalidInput(
                    f"unknown provider {ref.provider[:40]!r}; use one of {', '.join(PROVIDERS)}", "model"
                )

    def key(self, ref: ModelRef) -> str:
        """The key for a model's server. Raises InvalidInput that names the variable that lacks."""
        if ref.key_env is not None:
            key = self.environment.get(ref.key_env, "") if _KEY_ENV.fullmatch(ref.key_env) else ""
            if not key:
                raise InvalidInput(f"the server's environment has no {ref.key_env[:80]}; set it to the key", "key_env")
            self._check_host(ref, ref.key_env)
            return key
        if ref.provider == "simulated" or ref.url is not None:
            return "none"  # the server's own keys go to their own providers only
        name = "OPENAI_API_KEY" if ref.provider == "openai" else "ANTHROPIC_API_KEY"
        key = self.environment.get(name, "")
        if not key and self.base_url(ref) is None:
            raise InvalidInput(f"{ref.text} needs a key: set {name} in the server's environment", "model")
        return key or "none"

    def _check_host(self, ref: ModelRef, key_env: str) -> None:
        """Raises InvalidInput where the server's operator named the hosts that may see this key, and this is none."""
        allowed = self.environment.get(HOSTS_PREFIX + key_env.removeprefix(KEY_PREFIX), "").lower()
        hosts = [one.strip() for one in allowed.split(",") if one.strip()]
        host = urlsplit(self.base_url(ref) or f"https://api.{ref.provider}.com").netloc.lower()
        if hosts and host not in hosts:
            raise InvalidInput(f"{key_env} may be sent to {', '.join(hosts)[:200]}, not to {host[:100]}", "key_env")


def model_ref(text: str, url: str | None = None, key_env: str | None = None) -> ModelRef:
    """Reads `provider:model`. Raises InvalidInput that says what is wrong."""
    provider, colon, model = text.strip().partition(":")
    if not colon or provider not in PROVIDERS:
        listed = ", ".join(f"{one}:NAME" for one in PROVIDERS)
        raise InvalidInput(f"{text[:80]!r} names no model; write one of {listed}", field="model")
    if not _MODEL.fullmatch(model):
        raise InvalidInput(f"{model[:80]!r} is no name of a model; use letters, digits and . _ : / @ + -", "model")
    if url is not None:
        _check_url(provider, url)
    if key_env is not None and not _KEY_ENV.fullmatch(key_env):
        said = f"{key_env[:80]!r} is no variable that a judge may read; its name begins with {KEY_PREFIX}"
        raise InvalidInput(said, field="key_env")
    return ModelRef(provider=provider, model=model, url=url, key_env=key_env)


def families(model: str) -> frozenset[str]:
    """The families that a model's name tells; of an unknown one its name itself."""
    found = frozenset(name for name, pattern in FAMILIES.items() if pattern.search(model))
    return found or frozenset({model.strip().lower()})


def same_family(judge_model: str, product_models: Iterable[str]) -> tuple[str, ...]:
    """Those of the product's models that are of the judge's family, each once, in order."""
    own = families(judge_model)
    return tuple(dict.fromkeys(one for one in product_models if one and own & families(one)))


def check_family(spec: JudgeSpec, product_models: Iterable[str]) -> list[str]:
    """Warnings where a judge grades models of its own family. Raises InvalidInput where its spec refuses that."""
    graded = tuple(product_models)
    said = []
    for one in spec.models:
        own = same_family(one.model, graded)
        if own:
            said.append(f"{one.text} grades models of its own family ({', '.join(own[:5])}), which it may prefer")
    if said and spec.own_family is OwnFamily.REFUSE:
        raise InvalidInput(f"{said[0]}; name a model of another family, or let the judge only warn", field="model")
    return said


def _check_url(provider: str, url: str) -> None:
    if provider != "openai":
        raise InvalidInput("a URL names an OpenAI-compatible server: write the model as openai:NAME", field="url")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or len(url) > _MOST_URL or not url.isascii() or any(char.isspace() for char in url):
        raise InvalidInput(f"{url[:80]!r} is no base URL; write it as https://host/v1", field="url")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput("the base URL holds more than an address; keys belong in a variable of --key-env", "url")
