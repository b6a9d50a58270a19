"""How long a simulated model takes: a lognormal time to the first token and a lognormal rate, decided by hash."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

MODEL_PREFIX: Final = "sim-"


@dataclass(frozen=True, kw_only=True)
class LatencyProfile:
    """Medians and spreads (sigma of the logarithm) of one model."""

    first_token_ms: float = 350.0
    first_token_sigma: float = 0.45
    tokens_per_s: float = 90.0
    tokens_per_s_sigma: float = 0.20


PROFILES: Final[Mapping[str, LatencyProfile]] = {
    "sim-1": LatencyProfile(),
    "sim-1-mini": LatencyProfile(first_token_ms=180.0, tokens_per_s=180.0),
    "sim-1-large": LatencyProfile(first_token_ms=900.0, first_token_sigma=0.55, tokens_per_s=45.0),
    "sim-2": LatencyProfile(first_token_ms=420.0, tokens_per_s=75.0),
    "sim-judge": LatencyProfile(first_token_ms=450.0, tokens_per_s=90.0),
    "sim-judge-weak": LatencyProfile(first_token_ms=200.0, tokens_per_s=180.0),
    "sim-embed": LatencyProfile(first_token_ms=60.0, first_token_sigma=0.3),
}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of one answer, before any speed factor."""

    first_token_ms: float
    per_token_ms: float

    def total_ms(self, output_tokens: int) -> float:
        """Gives the whole duration in milliseconds."""
        return self.first_token_ms + self.per_token_ms * output_tokens


def timing(model: str, seed: int, digest: str) -> Timing:
    """Draws the timing of the answer to the request `digest`; equal arguments give equal timings."""
    profile = PROFILES.get(model, PROFILES["sim-1"])
    drawn = hashlib.blake2b(f"{seed}\0latency\0{model}\0{digest}".encode(), digest_size=12).digest()
    first, rate = _normal(drawn[:6]), _normal(drawn[6:])
    return Timing(
        first_token_ms=profile.first_token_ms * math.exp(profile.first_token_sigma * first),
        per_token_ms=1000.0 / (profile.tokens_per_s * math.exp(profile.tokens_per_s_sigma * rate)),
    )


_NORMAL = NormalDist()


def _normal(raw: bytes) -> float:
    return _NORMAL.inv_cdf((int.from_bytes(raw, "big") + 0.5) / 2**48)
