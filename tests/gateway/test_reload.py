"""A changed file is noticed, offered when it is good and whole, and told when it is bad."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.config_file import BadConfig
from gateway.reload import ConfigWatch, first_config

FAST = 'upstreams: {main: {base_url: "http://127.0.0.1:1/v1", keys: ["${file:key}"]}}\n'
MORE = 'upstreams: {main: {base_url: "http://127.0.0.1:2/v1"}}\n'


class Watched:
    """A watch over a file in a folder, with a clock of its own."""

    def __init__(self, folder: Path, text: str | None) -> None:
        self.path = folder / "gateway.yaml"
        (folder / "key").write_text("hunter2-one")
        if text is not None:
            self.path.write_text(text)
        self.now = 0
        first = first_config(self.path, {}, needed=False)
        self.watch = ConfigWatch(self.path, {}, first, lambda: self.now)

    def n_upstreams_after(self, n_looks: int) -> list[int | None]:
        found = [self.watch.look() for _ in range(n_looks)]
        return [None if each is None else len(each.config.upstreams) for each in found]


def test_a_file_that_stays_is_not_read_again(tmp_path: Path) -> None:
    assert Watched(tmp_path, FAST).n_upstreams_after(3) == [None, None, None]


def test_a_change_is_offered_once_when_it_was_the_same_twice(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FAST)
    watched.path.write_text("upst")
    assert watched.n_upstreams_after(1) == [None]
    watched.path.write_text(MORE)
    assert watched.n_upstreams_after(1) == [None]
    assert watched.watch.status()["problems"] == []
    found = watched.watch.look()
    assert found is not None
    watched.now = 10**9
    watched.watch.taken(found)
    assert watched.n_upstreams_after(3) == [None, None, None]
    assert watched.watch.status() == {
        "file": str(watched.path),
        "in_use": str(watched.path),
        "digest": found.digest,
        "since": "1970-01-01T00:00:01Z",
        "problems": [],
    }


def test_a_signal_needs_no_second_look(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FAST)
    watched.path.write_text(MORE)
    assert watched.watch.look(at_once=True) is not None


def test_a_changed_secret_is_a_change(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FAST)
    (tmp_path / "key").write_text("hunter2-two")
    assert watched.n_upstreams_after(2) == [None, 1]


def test_a_bad_file_is_told_once_and_the_old_one_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(tmp_path, FAST)
    before = watched.watch.status()
    watched.path.write_text("upsteams: {}\n")
    with caplog.at_level(logging.ERROR):
        assert watched.n_upstreams_after(4) == [None] * 4
    problem = f"{watched.path}:1: upsteams: is not known; did you mean 'upstreams'?"
    assert [record.getMessage() for record in caplog.records] == [
        problem,
        f"{watched.path} is not used; what was read at 1970-01-01T00:00:00Z stays in use",
    ]
    assert watched.watch.status() == {**before, "problems": [problem]}
    watched.path.write_text(FAST)
    assert watched.n_upstreams_after(2) == [None, None]
    assert watched.watch.status() == before


def test_a_secret_that_was_missing_is_found_when_it_comes(tmp_path: Path) -> None:
    watched = Watched(tmp_path, MORE)
    watched.path.write_text(FAST.replace("file:key", "file:later"))
    assert watched.n_upstreams_after(3) == [None, None, None]
    assert "names the file" in watched.watch.status()["problems"][0]
    (tmp_path / "later").write_text("hunter2-three")
    assert watched.n_upstreams_after(1) == [1]


def test_a_file_that_goes_away_is_told_and_one_that_comes_is_taken(tmp_path: Path) -> None:
    watched = Watched(tmp_path, FAST)
    watched.path.unlink()
    watched.n_upstreams_after(2)
    (problem,) = watched.watch.status()["problems"]
    assert "cannot be read: No such file" in problem
    (tmp_path / "other").mkdir()
    watched = Watched(tmp_path / "other", None)
    assert watched.watch.status()["in_use"] == "built in"
    assert watched.n_upstreams_after(2) == [None, None]
    watched.path.write_text(MORE)
    assert watched.n_upstreams_after(2) == [None, 1]


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    assert first_config(tmp_path / "none.yaml", {}, needed=False).config.models == {}
    with pytest.raises(BadConfig, match="cannot be read"):
        first_config(tmp_path / "none.yaml", {}, needed=True)
