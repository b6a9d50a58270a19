"""An upstream's keys, used in turn. A key that was refused or told to wait rests meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

EVERY_MODEL = ""


class Keyring:
    """Keys are named by their position, from 1. Times are seconds of any clock that never goes back."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys) or ("",)  # a local server often wants none
        self._next = 0
        self._rests: dict[tuple[int, str], float] = {}  # (key, model) -> until when

    def take(self, model: str, now: float) -> tuple[int, str] | None:
        """The next key that does not rest for `model`; None while all do."""
        n_keys = len(self._keys)
        for step in range(n_keys):
            place = (self._next + step) % n_keys
            if self._rests and self._until(place + 1, model) > now:
                continue
            self._next = (place + 1) % n_keys
            return place + 1, self._keys[place]
        return None

    def rest(self, key: int, model: str, until: float) -> None:
        """Leaves the key alone for `model` (`EVERY_MODEL` for all) until then: rate limits are per model, and a key
        that was refused is no good for any."""
        self._rests[(key, model)] = max(until, self._rests.get((key, model), until))

    def wait_s(self, model: str, now: float) -> float:
        """How long until a key is there for `model`; 0: one is."""
        return max(0.0, min(self._until(place, model) for place in range(1, len(self._keys) + 1)) - now)

    def all_refused(self, now: float) -> bool:
        """Whether every key rests for every model: none was accepted."""
        return all(self._rests.get((key, EVERY_MODEL), now) > now for key in range(1, len(self._keys) + 1))

    def n_resting(self, now: float) -> int:
        """How many keys rest for at least one model."""
        return len({key for (key, _), until in self._rests.items() if until > now})

    def _until(self, key: int, model: str) -> float:
        none = float("-inf")
        return max(self._rests.get((key, EVERY_MODEL), none), self._rests.get((key, model), none))
