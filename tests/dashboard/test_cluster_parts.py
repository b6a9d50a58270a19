"""Parts of the pages of clusters, drawn without a server: what they say where little is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.parts import cluster_map


def drawn(page: Callable[..., None], **given: Any) -> str:
    """All texts of a page that is one function."""
    shown = AppTest.from_function(page, kwargs=given, default_timeout=60).run()
    assert not shown.exception
    elements = [*shown.subheader, *shown.markdown, *shown.text, *shown.caption]
    return "\n".join(str(one.value) for one in elements)


def emerging(told: dict[str, object]) -> None:
    from dashboard.views import emerging

    emerging.nothing(told, "7d")


def test_that_nothing_could_be_tested_is_not_that_nothing_emerged() -> None:
    said = drawn(emerging, told={"n_tested": 0, "says": ["no session from before is there to compare with"]})
    assert "Nothing could be tested" in said
    assert "no session from before" in said
    assert "Nothing emerged in" not in said
    assert "Nothing emerged in the last 7 days" in drawn(emerging, told={"n_tested": 3, "says": []})


def watched(cluster: dict[str, object]) -> None:
    from dashboard.parts import cluster_watch

    cluster_watch.show(cluster)


def test_a_watch_says_what_is_watched_from_when_on_and_what_was_told() -> None:
    alert = {"at": "2026-11-20T10:00:00Z", "state": "told", "text": "C-0001 grew: 30 of 90 sessions"}
    watch = {
        "min_ratio": 2.0, "rate": 0.125, "host": "hooks.example.org", "made_by": "ann",
        "made_at": "2026-11-01T10:00:00Z", "alerts": [alert],
    }  # fmt: skip
    said = drawn(watched, cluster={"watch": watch})
    for words in ("12.5%", "×2.0 that", "hooks.example.org", "ann", "C-0001 grew", "alert sent"):
        assert words in said, words
    assert "none yet" in drawn(watched, cluster={"watch": {**watch, "alerts": []}})
    assert drawn(watched, cluster={"watch": None}) == ""


def levels(cluster: dict[str, object]) -> None:
    from dashboard.parts import cluster_profile

    cluster_profile.show(cluster)


def test_that_no_span_fails_more_than_elsewhere_is_not_that_none_failed() -> None:
    level = {
        "attribute": "tool", "level": "refund", "n": 2, "n_known": 2, "share": 1.0, "share_rest": 0.1, "ratio": 9.5,
        "low": 1.5, "high": 15.0, "q_value": 0.3, "differs": False,
    }  # fmt: skip
    figure = {"name": "resolution (judge)", "unit": "share", "value": 0.5, "note": "said by a judge, as it is stored"}
    said = drawn(levels, cluster={"figures": [figure], "profile": [level], "wrong_at": []})
    assert "surely more often in it than elsewhere" in said
    assert "A sign is what a trace shows without any error" in said
    assert "failed." not in said
    assert "resolution (judge): said by a judge" in said


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("refund", ["refund"]),
        ("refund of the broken lamp, book_refund failed", ["refund of the broken", "lamp, book_refund"]),
        ("donaudampfschifffahrtsgesellschaft", ["donaudampfschifffahrts…"]),
        ("", []),
    ],
)
def test_a_title_on_the_map_is_whole_words(title: str, lines: list[str]) -> None:
    assert cluster_map.in_lines(title) == lines
