"""Rubric files: those of the repository, what is refused and in which words, and what a file survives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput, TooLarge
from core.records import TargetKind
from judges.records import ScaleKind
from judges.rubrics import MOST_BYTES, read_rubric, rubric_text

OURS = sorted((Path(__file__).resolve().parents[2] / "rubrics").glob("*/v*.md"))
SOUND = """---
name: tone
version: 2
kind: pass_fail
labels: [no, yes]
passing: [yes]
anchors: {yes: it is polite}
aliases: {Polite Enough: yes}
---
Is it polite?
"""


def test_there_are_rubrics_of_every_kind() -> None:
    assert len(OURS) >= 7
    assert {read_rubric(one.read_text()).kind for one in OURS} == set(ScaleKind)


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_our_rubrics_are_what_their_names_say_and_survive_being_written(path: Path) -> None:
    rubric = read_rubric(path.read_text())
    assert (rubric.name, f"v{rubric.version}") == (path.parent.name, path.stem)
    assert read_rubric(rubric_text(rubric)) == rubric
    assert rubric.kind is ScaleKind.PAIRWISE or set(rubric.anchors) == set(rubric.labels)


def test_versions_of_one_name_differ_in_what_a_verdict_depends_on() -> None:
    rubrics = [read_rubric(one.read_text()) for one in OURS]
    assert len({one.digest for one in rubrics}) == len(rubrics)
    assert len({(one.name, one.version) for one in rubrics}) == len(rubrics)


def test_words_that_yaml_takes_for_something_else_stay_words() -> None:
    rubric = read_rubric(SOUND)
    assert rubric.labels == ("no", "yes")
    assert rubric.passing == {"yes"}
    assert rubric.aliases == {"polite enough": "yes"}
    assert rubric.target is TargetKind.SESSION
    numbers = SOUND.replace("[no, yes]", "[1, 2, 3]").replace("pass_fail", "ordinal").replace("[yes]", "2")
    numbers = numbers.replace("anchors: {yes: it is polite}\n", "").replace("aliases: {Polite Enough: yes}\n", "")
    assert read_rubric(numbers).passing == {"2", "3"}


def test_defaults_of_pass_fail_and_pairwise() -> None:
    plain = read_rubric("---\nname: a\nversion: 1\nkind: pass_fail\n---\nGood?")
    assert plain.labels == ("fail", "pass")
    assert plain.passing == {"pass"}
    pair = read_rubric("---\nname: a\nversion: v1\nkind: pairwise\nlabels: [X, Y]\n---\nWhich?")
    assert pair.passing == {"X"}
    assert pair.tie is None
    assert pair.value_of("Y") == 0.0


def test_a_tie_is_worth_one_half() -> None:
    pair = read_rubric("---\nname: a\nversion: 1\nkind: pairwise\nlabels: [A, B, tie]\n---\nWhich?")
    assert [pair.value_of(one) for one in pair.labels] == [1.0, 0.0, 0.5]


REFUSED = {
    "no front matter": ("Is it polite?", "does not begin with front matter"),
    "not closed": ("---\nname: a\n", "does not begin with front matter"),
    "no text": (SOUND.replace("Is it polite?", ""), "no text below"),
    "no mapping": ("---\n- a\n---\ntext", "no mapping"),
    "no yaml": ("---\nname: [a\n---\ntext", "no YAML that can be read"),
    "a key twice": (SOUND.replace("version: 2", "version: 2\nversion: 3"), "'version' stands twice"),
    "an unknown field": (SOUND.replace("version: 2", "version: 2\nauthor: me"), "no field 'author'; its fields are"),
    "no name": (SOUND.replace("name: tone\n", ""), "needs `name`"),
    "a strange name": (SOUND.replace("tone", "../tone"), "is no name of a rubric"),
    "version zero": (SOUND.replace("version: 2", "version: 0"), "is no version"),
    "a version in words": (SOUND.replace("version: 2", "version: two"), "is no version"),
    "an unknown kind": (SOUND.replace("pass_fail", "likert"), "is no kind of a rubric; use one of pass_fail"),
    "an unknown target": (SOUND.replace("kind:", "target: span\nkind:"), "is no target"),
    "one label": (SOUND.replace("[no, yes]", "[yes]"), "2 to 2 labels, not 1"),
    "three labels of two": (SOUND.replace("[no, yes]", "[no, maybe, yes]"), "2 to 2 labels, not 3"),
    "labels that differ in capitals": (SOUND.replace("[no, yes]", "[Yes, yes]"), "nothing but capitals"),
    "a label with a comma": (SOUND.replace("[no, yes]", '["no, never", yes]'), "is no label"),
    "a label of nothing": (SOUND.replace("[no, yes]", '["", yes]'), "no list of words"),
    "labels that are objects": (SOUND.replace("[no, yes]", "[{a: b}, yes]"), "no list of words"),
    "passing that is no label": (SOUND.replace("[yes]", "[good]"), "names 'good', which is none of the labels"),
    "all pass": (SOUND.replace("passing: [yes]", "passing: [no, yes]"), "every label of the rubric passes"),
    "no passing": (SOUND.replace("passing: [yes]\n", ""), "needs `passing`"),
    "an anchor of no label": (SOUND.replace("{yes: it", "{good: it"), "`anchors` names 'good'"),
    "an alias for no label": (SOUND.replace("Enough: yes", "Enough: good"), "stands for 'good'"),
    "an alias that is another label": (SOUND.replace("Polite Enough: yes", "no: yes"), "is a label itself"),
    "aliases in a list": (SOUND.replace("{Polite Enough: yes}", "[yes]"), "no mapping from words"),
    "a nul": (SOUND + "\0", "no text"),
    "deep nesting": ("---\nname: " + "[" * 20_000 + "\n---\ntext", "no YAML that can be read"),
    "itself inside": ("---\nname: &a [*a]\nversion: 1\nkind: pass_fail\n---\ntext", "needs `name`"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_rubric_is_said(name: str) -> None:
    text, said = REFUSED[name]
    with pytest.raises(InvalidInput) as raised:
        read_rubric(text)
    assert said in str(raised.value)
    assert raised.value.field


def test_an_ordinal_scale_passes_from_a_label_on() -> None:
    text = SOUND.replace("pass_fail", "ordinal").replace("[no, yes]", "[no, so so, yes]")
    with pytest.raises(InvalidInput, match="all labels from one on pass"):
        read_rubric(text.replace("passing: [yes]", "passing: [no, yes]"))
    assert read_rubric(text.replace("passing: [yes]", "passing: [so so, yes]")).passing == {"so so", "yes"}


def test_a_rubric_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge, match=f"{MOST_BYTES:,}"):
        read_rubric(SOUND + "x" * MOST_BYTES)


@given(st.text(max_size=400))
def test_any_text_is_a_rubric_or_refused(text: str) -> None:
    for whole in (text, f"---\n{text}\n---\nbody", SOUND.replace("tone", text)):
        try:
            rubric = read_rubric(whole)
        except InvalidInput:
            continue
        assert read_rubric(rubric_text(rubric)) == rubric
