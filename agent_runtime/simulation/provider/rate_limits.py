"""Requests and tokens a minute per API key: two buckets that fill steadily, and the headers that tell their level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agent_runtime.simulation.provider.asked import RequestRefused

MOST_KEYS = 10_000


@dataclass(kw_only=True)
class _Bucket:
    per_minute: int
    level: float
    filled_at: float

    def fill(self, now: float) -> None:
        gained = max(0.0, now - self.filled_at) * self.per_minute / 60.0
        self.level = min(float(self.per_minute), self.level + gained)
        self.filled_at = max(now, self.filled_at)

    def wait_s(self, amount: int) -> float:
        """Seconds until `amount` is there; a request larger than the bucket waits for a full one."""
        lacking = min(amount, self.per_minute) - self.level
        return max(0.0, lacking * 60.0 / self.per_minute)


@dataclass(kw_only=True)
class RateLimits:
    """What one API key may ask for. None is no limit; `now` is in Unix seconds everywhere."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    _keys: dict[str, dict[str, _Bucket]] = field(default_factory=dict)

    def take(self, key: str, tokens: int, now: float) -> dict[str, _Bucket]:
        """Takes a request of `tokens` from the key's buckets. Raises RequestRefused(429) with Retry-After."""
        buckets = self._buckets(key, now)
        amounts = {"requests": 1, "tokens": tokens}
        for bucket in buckets.values():
            bucket.fill(now)
        name, wait_s = max(
            ((n, b.wait_s(amounts[n])) for n, b in buckets.items()), key=lambda w: w[1], default=("", 0.0)
        )
        if wait_s > 0:
            limit = buckets[name].per_minute
            raise RequestRefused(
                f"Rate limit reached on {name} per minute: limit {limit}, try again in {wait_s:.3f}s (simulated).",
                status=429,
                kind=name,
                code="rate_limit_exceeded",
                headers={"retry-after": str(math.ceil(wait_s)), "retry-after-ms": str(math.ceil(wait_s * 1000))},
            )
        for bucket_name, bucket in buckets.items():
            bucket.level -= amounts[bucket_name]
        return buckets

    def _buckets(self, key: str, now: float) -> dict[str, _Bucket]:
        if key not in self._keys:
            if len(self._keys) >= MOST_KEYS:
                self._keys.pop(next(iter(self._keys)))
            limits = {"requests": self.requests_per_minute, "tokens": self.tokens_per_minute}
            self._keys[key] = {
                name: _Bucket(per_minute=limit, level=float(limit), filled_at=now)
                for name, limit in limits.items()
                if limit is not None
            }
        return self._keys[key]

    def headers(self, key: str, now: float, *, anthropic: bool) -> dict[str, str]:
        """Gives the rate-limit headers of the provider's dialect; none without limits."""
        told: dict[str, str] = {}
        for name, bucket in self._keys.get(key, {}).items():
            full_in_s = (bucket.per_minute - bucket.level) * 60.0 / bucket.per_minute
            remaining = str(max(0, int(bucket.level)))
            if anthropic:
                reset = datetime.fromtimestamp(now, UTC) + timedelta(seconds=full_in_s)
                prefix = f"anthropic-ratelimit-{name}"
                told |= {f"{prefix}-limit": str(bucket.per_minute), f"{prefix}-remaining": remaining}
                told[f"{prefix}-reset"] = reset.isoformat(timespec="seconds").replace("+00:00", "Z")
            else:
                told |= {f"x-ratelimit-limit-{name}": str(bucket.per_minute)}
                told |= {f"x-ratelimit-remaining-{name}": remaining, f"x-ratelimit-reset-{name}": f"{full_in_s:.3f}s"}
        return told
