"""Who was given which release is remembered: within bounds, for a time, and over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.clock import NS_PER_S
from gateway.sticky import Sticky, session_key


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.ns = 1_790_000_000 * NS_PER_S

    def __call__(self) -> int:
        return self.ns

    def on(self, seconds: int) -> None:
        """Lets time pass."""
        self.ns += seconds * NS_PER_S


def key(n: int) -> bytes:
    return session_key("acme", "shop", f"s{n}")


def release_of(sticky: Sticky, session: bytes) -> str:
    """The release that a session was given; empty when it is not known."""
    kept = sticky.of(session)
    return "" if kept is None else kept.release


def test_a_session_is_remembered_over_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    first = Sticky(tmp_path, clock)
    first.keep(key(1), "v1")
    first.keep(key(1), "v 2\n")
    assert release_of(first, key(1)) == "v 2\n"
    again = Sticky(tmp_path, clock)  # the first was killed: it was never closed
    assert (release_of(again, key(1)), release_of(again, key(2))) == ("v 2\n", "")


def test_it_is_forgotten_when_it_was_not_used_for_long_and_kept_when_it_was(tmp_path: Path) -> None:
    clock = Clock()
    sticky = Sticky(tmp_path, clock, ttl_s=100)
    sticky.keep(key(1), "v1")
    sticky.keep(key(2), "v2")
    for _ in range(6):
        clock.on(40)
        assert release_of(sticky, key(1)) == "v1"
    assert sticky.of(key(2)) is None
    again = Sticky(tmp_path, clock, ttl_s=100)
    assert (release_of(again, key(1)), release_of(again, key(2))) == ("v1", "")


def test_memory_and_files_are_bounded_and_who_is_used_stays(tmp_path: Path) -> None:
    clock = Clock()
    sticky = Sticky(tmp_path, clock, most=100)
    sticky.keep(key(-1), "v1")
    for n in range(5_000):
        sticky.keep(key(n), "v2")
        assert release_of(sticky, key(-1)) == "v1"
    assert len(sticky) == 100
    assert sticky.of(key(0)) is None
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 2 * 100 * 100
    sticky.close()
    again = Sticky(tmp_path, clock, most=100)
    assert (release_of(again, key(-1)), release_of(again, key(4_999)), len(again)) == ("v1", "v2", 100)


@pytest.mark.parametrize("garbage", [b"[", b"nonsense\n", b'["zz", 1, "v"]\n', b"[1, 2, 3]\n", b"\xff\xfe\n", b"{}\n"])
def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path, garbage: bytes) -> None:
    clock = Clock()
    first = Sticky(tmp_path, clock)
    first.keep(key(1), "v1")
    first.close()
    with (tmp_path / "sessions").open("ab") as file:
        file.write(garbage)
    second = Sticky(tmp_path, clock)
    second.keep(key(2), "v2")
    second.close()
    third = Sticky(tmp_path, clock)
    assert (release_of(third, key(1)), release_of(third, key(2))) == ("v1", "v2")


def test_no_session_is_named_in_the_file_and_tenants_are_apart(tmp_path: Path) -> None:
    sticky = Sticky(tmp_path, Clock())
    sticky.keep(session_key("acme", "shop", "a-very-private-id"), "v1")
    assert b"private" not in (tmp_path / "sessions").read_bytes()
    assert (tmp_path / "sessions").stat().st_mode & 0o077 == 0
    for other in (("other", "shop"), ("acme", "shop2")):
        assert sticky.of(session_key(*other, "a-very-private-id")) is None


def test_without_a_file_it_remembers_until_the_process_ends(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    sticky = Sticky(tmp_path / "taken", Clock())
    sticky.keep(key(1), "v1")
    assert release_of(sticky, key(1)) == "v1"


def test_the_arm_of_an_experiment_is_remembered_with_it(tmp_path: Path) -> None:
    clock = Clock()
    first = Sticky(tmp_path, clock)
    first.keep(key(1), "v2", "refund-prompt:1/treatment")
    first.keep(key(2), "")
    again = Sticky(tmp_path, clock)
    kept = again.of(key(1))
    assert kept is not None
    assert (kept.release, kept.arm) == ("v2", "refund-prompt:1/treatment")
    seen = again.of(key(2))
    assert seen is not None, "it was seen, and nobody decided where it goes"
    assert (seen.release, seen.arm) == ("", "")
