"""Looks: late data, clocks, doubled minutes and silences neither lose an alert nor tell one twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitors.alert_records import AlertStatus, Cause, Event, EventKind, NoData, Rules, Seen, Severity, Verdict
from monitors.alerting import lived
from monitors.looking import Book, Moment, Spell, closed, look, needs_look
from tests.monitors.test_alerting import LETTERS, STEP, rules_of

LAG = 5  # buckets for which late points are waited for
NOW = 1_790_000_000 * 10**9 // STEP * STEP  # looks have a clock like ours, buckets begin near it


def at(i: int) -> int:
    return NOW + i * STEP


def points(letters: Sequence[str], first: int = 0) -> list[Seen]:
    return [
        Seen(at_ns=at(first + i), verdict=LETTERS[c], value=None if c == " " else 0.7)
        for i, c in enumerate(letters)
        if c != "?"
    ]


def moment(i: int, **kw: object) -> Moment:
    """The look after bucket i."""
    plain = Moment(from_ns=at(i - LAG), settle_ns=at(i - LAG + 1), until_ns=at(i + 1), now_ns=at(i + 1))
    return replace(plain, **kw)  # type: ignore[arg-type]


class Told:
    """A book and all that was told of it, look by look."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.book = rules, Book()
        self.events: list[Event] = []
        self.spells: dict[int, Spell] = {}

    def look(self, seens: Sequence[Seen], when: Moment) -> tuple[Event, ...]:
        inside = [one for one in seens if when.from_ns <= one.at_ns < when.until_ns]
        self.book, events = look(self.book, inside, self.rules, when)
        again, nothing = look(self.book, [*reversed(inside), *inside], self.rules, when)
        assert nothing == ()
        assert again.spells == self.book.spells
        self.events += events
        for one in events:
            self._begun_and_over(one)
        self.spells |= {one.episode: one for one in self.book.spells}
        return events

    def _begun_and_over(self, one: Event) -> None:
        """A firing that one look found, ended and left behind is in no book, only in what was told."""
        if one.kind is EventKind.FIRED and one.episode not in self.spells:
            self.spells[one.episode] = Spell(
                episode=one.episode, from_ns=one.at_ns, severity=one.severity, told_ns=one.told_ns
            )
        elif one.kind is EventKind.RESOLVED and one.episode in self.spells:
            self.spells[one.episode] = replace(self.spells[one.episode], until_ns=one.at_ns)

    def said(self) -> list[tuple[str, str, int, bool]]:
        return [(one.kind.value, one.cause.value, one.episode, one.tells) for one in self.events]


def run(text: str, rules: Rules, **kw: object) -> Told:
    told = Told(rules)
    for i in range(len(text)):
        told.look(points(text), moment(i, **kw))
    return told


def firings(letters: Sequence[str], rules: Rules, until: int) -> list[tuple[int, int | None]]:
    """When it fired by all that is known in the end."""
    found: list[tuple[int, int | None]] = []
    was = False
    for state in lived(None, points(letters), rules, at(until)):
        fires = state.status is AlertStatus.FIRING
        if fires and not was:
            found.append((state.at_ns, None))
        elif was and not fires:
            found[-1] = (found[-1][0], state.at_ns)
        was = fires
    return found


def overlap(a: tuple[int, int | None], b: tuple[int, int | None], slack: int) -> bool:
    return (a[1] is None or b[0] - a[1] < slack) and (b[1] is None or a[0] - b[1] < slack)


def legal(events: Sequence[Event]) -> None:
    open_episodes: set[int] = set()
    newest = 0
    for one in events:
        if one.kind is EventKind.FIRED:
            assert one.episode not in open_episodes
            assert one.episode == newest + 1 or one.cause is Cause.REOPENED
            newest = max(newest, one.episode)
            open_episodes.add(one.episode)
        elif one.kind is EventKind.RESOLVED:
            open_episodes.remove(one.episode)
        elif one.kind is EventKind.NOTED:
            assert not one.tells
        else:
            assert one.episode in open_episodes


whole_rules = st.builds(
    Rules,
    step_s=st.just(60), for_points=st.integers(1, 3), clear_points=st.integers(1, 3), no_data=st.sampled_from(NoData),
    flap_limit=st.just(50),
)  # fmt: skip
late_points = st.lists(
    st.tuples(st.sampled_from(" x.-"), st.sampled_from("xx..-"), st.integers(0, LAG)), min_size=1, max_size=24
)


def agrees(told: Told, letters: Sequence[str], until: int) -> None:
    """What was told and not withdrawn is what happened, by all that is known in the end."""
    wanted, slack = firings(letters, told.rules, until), told.rules.slack_ns
    kept = [(one.from_ns, one.until_ns) for one in told.spells.values() if not one.withdrawn]
    for one in wanted:
        assert any(overlap(one, spell, slack) for spell in kept), "lost"
    for spell in kept:
        assert any(overlap(one, spell, slack) for one in wanted), "made up"
    assert (told.book.open is not None) == bool(wanted and wanted[-1][1] is None)
    legal(told.events)


@settings(max_examples=80)
@given(late_points, whole_rules)
@example(  # the points in which it was told to begin became calm, then those in which it went on
    [(" ", "x", 0), ("x", ".", 3), ("-", ".", 3), (" ", "x", 0), ("x", ".", 3)],
    Rules(step_s=60, for_points=2, clear_points=1, no_data=NoData.OK, flap_limit=50),
)
@example(  # two firings of what was told as one; of those the second is none, too
    [(" ", "x", 2), (".", "x", 1), ("-", ".", 3), ("x", "-", 3)],
    Rules(step_s=60, clear_points=1, no_data=NoData.OK, flap_limit=50),
)
@example(  # what goes on in what was told as one is none, when its first half is settled
    [(".", "-", 3), (".", ".", 1), (" ", "x", 1), ("-", "x", 3), ("x", ".", 2), ("x", ".", 5)],
    Rules(step_s=60, clear_points=1, flap_limit=50),
)
def test_late_data_loses_no_alert_makes_none_up_and_doubles_none(
    some: list[tuple[str, str, int]], rules: Rules
) -> None:
    """And the same looks again, by books that are kept as JSON, give the same events."""
    told, replayed, n = Told(rules), Told(rules), len(some)
    for i in range(n + LAG + 1):
        now = [final if i >= j + delay else early for j, (early, final, delay) in enumerate(some)]
        events = told.look(points(now), moment(i))
        replayed.book = Book.from_json(json.loads(json.dumps(replayed.book.as_json())))
        assert replayed.look(points(now), moment(i)) == events
    agrees(told, [final for _, final, _ in some], n + LAG + 1)


@settings(max_examples=50)
@given(st.text("x.-", min_size=2, max_size=24), whole_rules, st.integers(1, 12))
@example("x.x.xxxxx", Rules(step_s=60, clear_points=1, flap_limit=50), 9)  # of which one look leaves two behind
def test_many_buckets_at_once_tell_what_one_by_one_tells(text: str, rules: Rules, every: int) -> None:
    """After the server was away the looks are fewer; what is over by then is told as over."""
    slowly, fast = run(text, rules), Told(rules)
    settle = 0
    for i in [*range(every - 1, len(text), every), len(text) - 1]:
        fast.look(points(text), moment(i, from_ns=at(settle)))
        settle = max(0, i - LAG + 1)
    agrees(fast, text, len(text))
    agrees(slowly, text, len(text))
    quiet = [one for one in fast.events if one.kind is EventKind.FIRED and not one.tells]
    ended = {one.episode for one in fast.events if one.kind is EventKind.RESOLVED}
    assert {one.episode for one in quiet} <= ended


@settings(max_examples=50)
@given(st.text("x.-", min_size=3, max_size=20), whole_rules, st.integers(0, 19), st.integers(1, 9))
def test_a_clock_set_back_tells_nothing_and_loses_nothing(text: str, rules: Rules, when: int, back: int) -> None:
    told = Told(rules)
    for i in range(len(text)):
        told.look(points(text), moment(i))
        if i == when:
            before = told.book
            assert told.look(points(text), moment(i - min(back, i + 1))) == ()
            assert told.book == before
    agrees(told, text, len(text))
    assert told.said() == run(text, rules).said()


@settings(max_examples=50)
@given(st.text("x.-", min_size=3, max_size=20), whole_rules, st.integers(0, 19), st.integers(10, 500_000))
def test_a_clock_that_ran_ahead_and_was_set_right_loses_nothing(text: str, rules: Rules, when: int, far: int) -> None:
    told = Told(rules)
    for i in range(len(text)):
        told.look(points(text), moment(i))
        if i == when and i + 1 < len(text):  # a bucket that comes afterwards says what the missing ones were
            told.look(points(text[: i + 1]), moment(i + far, from_ns=at(i - LAG)))
    told.look(points(text), moment(len(text) - 1))
    agrees(told, text, len(text))


@settings(max_examples=40)
@given(st.text("x.-", min_size=3, max_size=24), whole_rules, st.lists(st.booleans(), min_size=41, max_size=41))
def test_nothing_is_told_in_a_silence_and_what_outlasts_it_is(text: str, rules: Rules, silent: list[bool]) -> None:
    told, heard = Told(rules), set[int]()
    for i in range(len(text)):
        for one in told.look(points(text), moment(i, silence="deploy" if silent[i] else None)):
            if one.kind is EventKind.RESOLVED:
                assert one.tells == (one.episode in heard)
                heard.discard(one.episode)
            elif one.tells:
                assert not silent[i]
                heard.add(one.episode)
        now = told.book.open
        assert now is None or silent[i] or now.episode in heard
    agrees(told, text, len(text))


# --- one by one -----------------------------------------------------------------------------------------------------


def test_an_alert_fires_once_and_resolves_once() -> None:
    assert run("..xxxx....", rules_of()).said() == [("fired", "breach", 1, True), ("resolved", "calm", 1, True)]


def test_late_data_that_takes_an_alert_back_says_so() -> None:
    told = Told(rules_of())
    for i in range(4):
        told.look(points("..xx"), moment(i))
    events = told.look(points("....."), moment(4))
    assert [(one.kind, one.cause, one.late, one.tells) for one in events] == [("resolved", "late_data", True, True)]
    assert events[0].text.startswith("late data: ")
    assert told.book.open is None


def test_late_data_that_takes_back_what_is_over_is_noted_once() -> None:
    told = run("..xx..", rules_of())
    for i in (6, 7):
        told.look(points("........"), moment(i))
    assert told.said()[2:] == [("noted", "late_data", 1, False)]


def test_late_data_that_shows_what_is_over_is_recorded_and_calls_nobody() -> None:
    told = run("......", rules_of())
    events = told.look(points("..xx..."), moment(6))
    assert [(one.kind, one.tells, one.late) for one in events] == [("fired", False, True), ("resolved", False, True)]
    assert "over by now" in events[0].text


def test_what_fires_again_at_once_is_the_same_alert() -> None:
    told = run("xx..xx...", rules_of(clear_points=2, for_points=1))
    assert told.said() == [
        ("fired", "breach", 1, True),
        ("resolved", "calm", 1, True),
        ("fired", "reopened", 1, True),
        ("resolved", "calm", 1, True),
    ]


def test_it_is_told_again_by_the_interval_unless_somebody_is_at_work_on_it() -> None:
    rules = rules_of(for_points=1, renotify_s=120)
    assert [one.kind for one in run("xxxxxx", rules).events] == ["fired", "renotified", "renotified"]
    assert len(run("xxxxxx", rules, acknowledged=True).events) == 1
    assert len(run("xxxxxx", replace(rules, renotify_s=None)).events) == 1


def test_a_clock_set_back_delays_a_reminder_by_one_interval_at_most() -> None:
    rules = rules_of(for_points=1, renotify_s=120)
    told = run("x", rules, now_ns=at(10_000))
    kinds = [told.look(points("xxxxxx"), moment(i)) for i in range(1, 5)]
    assert [len(one) for one in kinds] == [0, 0, 1, 0]


def test_a_silence_of_too_long_does_not_keep_an_alert_unheard() -> None:
    told = run("xxxxxx", rules_of(for_points=1, silent_most_s=180), silence="broken since May")
    assert told.said() == [("fired", "breach", 1, False), ("renotified", "still", 1, True)]
    assert "silenced all the time (broken since May)" in told.events[1].text
    assert "(silenced: broken since May)" in told.events[0].text


def test_a_louder_breach_is_told_as_such() -> None:
    rules, told = rules_of(for_points=1, severity=Severity.TICKET), Told(rules_of(for_points=1))
    told.rules = rules
    seens = [replace(one, severity=Severity.PAGE if i else Severity.TICKET) for i, one in enumerate(points("xxx"))]
    for i in range(3):
        told.look(seens, moment(i))
    assert told.said() == [("fired", "breach", 1, True), ("raised", "worse", 1, True)]
    assert told.events[1].severity is Severity.PAGE


def test_an_adopted_shift_is_announced_once_and_is_no_recovery() -> None:
    told = run("xxxaa..", rules_of())
    assert told.said()[1] == ("resolved", "adopted", 1, True)
    assert "no recovery" in told.events[1].text
    assert run("..a....", rules_of()).said() == [("noted", "adopted", 0, False)]


def test_a_metric_that_vanished_resolves_after_a_day_and_says_that_nobody_knows() -> None:
    rules, told = rules_of(), run("..xx", rules_of())
    told.look(points("..xx"), moment(3 + 1439, from_ns=at(-2)))
    assert told.book.open is not None
    told.look([], moment(3 + 1441))
    assert told.events[-1].cause is Cause.VANISHED
    assert "without anybody knowing" in told.events[-1].text
    assert rules.vanish_s == 86_400


def test_a_series_that_was_passed_over_at_rest_was_not_without_data() -> None:
    told = run("." * 8, rules_of(no_data=NoData.ALERT))
    assert not needs_look(told.book, breaches=False, missing=False, rules=told.rules)
    told.look(points("." * 300), moment(299))
    assert told.events == []


@pytest.mark.parametrize(
    ("text", "breaches", "missing", "mode", "wanted"),
    [
        ("", False, False, NoData.KEEP, False), ("", True, False, NoData.KEEP, True),
        ("", False, True, NoData.KEEP, False), ("", False, True, NoData.ALERT, True),
        ("...x", False, False, NoData.KEEP, True), ("..xx", False, False, NoData.KEEP, True),
        ("xx..", False, False, NoData.KEEP, True), ("xx...........", False, False, NoData.KEEP, False),
    ],
)  # fmt: skip
def test_series_at_rest_need_no_look(text: str, breaches: bool, missing: bool, mode: NoData, wanted: bool) -> None:
    rules = rules_of(no_data=mode)
    book = run(text, rules).book if text else None
    assert needs_look(book, breaches, missing, rules) is wanted


def test_a_changed_monitor_ends_its_alert_and_counts_on() -> None:
    told = run("..xx", rules_of())
    book, events = closed(told.book, "monitor changed by ann", at(9))
    assert [(one.kind, one.cause, one.text) for one in events] == [("resolved", "closed", "monitor changed by ann")]
    assert closed(book, "again", at(9))[1] == ()
    assert look(book, points("xx"), told.rules, moment(1))[1][0].episode == 2


def test_a_look_without_a_point_is_none() -> None:
    assert look(None, [], rules_of(), moment(0)) == (Book(), ())
    missing = [Seen(at_ns=at(0), verdict=Verdict.MISSING)]
    assert look(None, missing, rules_of(), moment(0))[1] == ()
