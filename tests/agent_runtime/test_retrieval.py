"""Retrieval: the tenant first, the newest valid version, what is grounded, and indexes swapped whole."""

from __future__ import annotations

import asyncio
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Document
from agent_runtime.retrieval.grounding import ground
from agent_runtime.retrieval.index import Edition, Index
from agent_runtime.retrieval.library import Library
from agent_runtime.retrieval.similarity import Similarity
from agent_runtime.retrieval.words import figures, terms
from agent_runtime.simulation import documents as documents_module
from agent_runtime.simulation.documents import current, published
from agent_runtime.simulation.faults.leaked_pii import LEAK
from agent_runtime.simulation.faults.verbose_padding import PADDING
from agent_runtime.telemetry import Telemetry
from tests.thorough import often

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCENARIOS = Path(documents_module.__file__).parent / "scenarios"
WORDS = ["tent", "stove", "refund", "return", "days", "warranty", "free", "shipping", "card", "gift", "30", "watch"]


def document(doc_id: str, text: str, tenant: str = "default", version: int = 1) -> Document:
    """A document."""
    return Document(doc_id=doc_id, title=doc_id.partition("-")[2], text=text, tenant=tenant, version=version)


def edition(doc_id: str, text: str, **more: Any) -> Edition:
    """A version that is always valid."""
    return Edition(document=document(doc_id, text, **more))


def library(**more: Any) -> Library:
    """A library whose clock stands."""
    return Library(Telemetry(TracerProvider()), **{"now": lambda: NOW, **more})


def ids(found: Any) -> list[str]:
    """Ids of documents."""
    return [each.doc_id for each in found]


def shop() -> Library:
    """The shop's documents with their validity."""
    made = library()
    for kind in ("policy", "help"):
        made.fill(
            kind,
            [
                Edition(document=p.document, valid_from=_day(p.valid_from), valid_until=_day(p.valid_until))
                for p in published()
                if p.kind == kind
            ],
        )
    return made


def _day(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- words ----------------------------------------------------------------------------------------------------------


def test_words_meet_in_their_stems_and_figures_in_their_values() -> None:
    assert terms("Returned items") == terms("the returns of an item")[:1] + terms("item")
    assert terms("Can tents be rented?") == terms("rent a tent")[::-1]
    assert figures("$1,200.50, 30 days, 030, 7.0") == {"1200.5", "30", "7"}
    assert terms("Café’s") == terms("cafe")


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=5))
def test_similarity_is_between_none_and_whole_and_knows_itself(query: str, texts: list[str]) -> None:
    alike = Similarity([*texts, query]).to(query)
    assert all(0 <= each <= 1 for each in alike)
    assert alike[-1] == pytest.approx(1.0) or not terms(query)


# --- search ---------------------------------------------------------------------------------------------------------


def _asked() -> list[tuple[str, str, str]]:
    found = []
    for path in sorted(SCENARIOS.glob("*.toml")):
        scenario = tomllib.loads(path.read_text(encoding="utf-8"))
        cites = scenario["goal"].get("cites", [])
        for call in scenario.get("gold", []):
            if call["tool"].startswith("search_") and len(cites) == 1:
                found.append((call["tool"].removeprefix("search_"), call["args"]["query"], cites[0]))
        if len(cites) == 1 and scenario["intent"] == "policy" and len(scenario["requests"]) == 1:
            found += [("policy", opening, cites[0]) for opening in scenario["requests"][0]["openings"]]
    return found


def test_every_question_of_the_scenarios_finds_its_document_first() -> None:
    made, asked = shop(), _asked()
    assert len(asked) > 30
    missed = []
    for index, query, cites in asked:
        found = asyncio.run(made.search(index, query, "default"))
        if ids(found)[:1] != [cites]:
            missed.append((query, cites, ids(found)))
    assert not missed


def test_scores_fall_and_lie_between_0_and_1() -> None:
    found = asyncio.run(shop().search("policy", "free shipping of orders and returns", "default", k=20))
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert len(asyncio.run(shop().search("policy", "free shipping of orders", "default"))) == 4


@pytest.mark.parametrize("query", ["", "???", "the of and", "zzzqqq"])
def test_a_query_that_says_nothing_finds_nothing(query: str) -> None:
    assert asyncio.run(shop().search("policy", query, "default")) == []


_EDITIONS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 4), st.lists(st.sampled_from(WORDS), min_size=1)),
    min_size=1,
    unique_by=lambda each: each[:2],
)


@settings(max_examples=often(150, 37), deadline=None)
@given(_EDITIONS, st.sampled_from(["a", "b", "c"]), st.lists(st.sampled_from(WORDS), min_size=1))
def test_a_tenant_sees_its_own_documents_as_if_there_were_no_other(
    rows: list[tuple[str, int, list[str]]], tenant: str, query: list[str]
) -> None:
    editions = [edition(f"doc-{number}", " ".join(text), tenant=of) for of, number, text in rows]
    own = [each for each in editions if each.document.tenant == tenant]
    found = Index(editions, NOW).search(" ".join(query), tenant, 20)
    assert {each.tenant for each in found} <= {tenant}
    assert found == (Index(own, NOW).search(" ".join(query), tenant, 20) if own else [])


def test_the_newest_version_that_is_valid_wins_and_the_index_notices_when_that_changes() -> None:
    clock = [NOW]
    made = library(now=lambda: clock[0])
    texts = ("returns within 60 days", "returns within 30 days", "returns within 14 days")
    first, second, third = (document("p-returns", text, version=n) for n, text in enumerate(texts, start=1))
    made.fill(
        "policy",
        [
            Edition(document=third, valid_from=NOW + 2 * DAY),
            Edition(document=first),
            Edition(document=second, valid_until=NOW + DAY),
        ],
    )

    def version() -> int:
        (found,) = asyncio.run(made.search("policy", "returns", "default"))
        return found.version

    seen = []
    for days in (0, 1, 2):
        clock[0] = NOW + days * DAY
        seen.append(version())
    assert seen == [2, 1, 3]


def test_a_release_can_be_pinned_to_outdated_documents() -> None:
    slot = ["live"]
    made = library(slot=lambda: slot[0])
    made.fill("policy", [edition("p-returns", "within 30 days", version=2)])
    made.fill("policy", [edition("p-returns", "within 60 days")], slot="stale")
    made.fill("help", [edition("h-stove", "light the stove")])
    slot[0] = "stale"
    assert [d.text for d in asyncio.run(made.search("policy", "within", "default"))] == ["within 60 days"]
    assert ids(asyncio.run(made.search("help", "stove", "default"))) == ["h-stove"]  # none of its own: the live one
    slot[0] = "live"
    assert [d.text for d in asyncio.run(made.search("policy", "within", "default"))] == ["within 30 days"]


def test_no_such_index_is_said() -> None:
    with pytest.raises(InvalidInput, match="no index 'blog'; there are help, policy"):
        asyncio.run(shop().search("blog", "x", "default"))


def test_a_search_is_a_span_with_its_documents() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    telemetry = Telemetry(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = Library(telemetry)
    made.fill("policy", [edition("p-returns", "within 30 days")])
    asyncio.run(made.search("policy", "days", "default"))
    (span,) = exporter.get_finished_spans()
    said = dict(span.attributes or {})
    assert (span.name, said["gen_ai.operation.name"]) == ("retrieve policy", "retrieval")
    assert said["retrieval.documents.0.document.id"] == "p-returns"
    assert said["retrieval.documents.0.document.content"] == "within 30 days"


# --- rebuilding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [edition("p-a", "  ")],
        [edition("", "text")],
        [edition("p-a", "one"), edition("p-a", "two")],
        [Edition(document=document("p-a", "x"), valid_from=datetime(2026, 1, 1))],  # no zone
    ],
)
def test_a_build_that_fails_leaves_the_old_index(bad: list[Edition]) -> None:
    made = library()
    made.fill("policy", [edition("p-old", "old words")])
    with pytest.raises(InvalidInput):
        asyncio.run(made.rebuild("policy", bad))
    assert ids(asyncio.run(made.search("policy", "words", "default"))) == ["p-old"]


def test_searches_during_rebuilds_see_one_whole_index_each() -> None:
    made = library()
    generations = [[edition(f"p-{n}-{g}", f"words {n}") for n in range(30)] for g in range(8)]
    made.fill("policy", generations[0])

    async def go() -> set[str]:
        seen = set()
        rebuilt = asyncio.gather(*(made.rebuild("policy", each) for each in generations[1:]))
        while not rebuilt.done():
            found = await made.search("policy", "words", "default", k=20)
            (generation,) = {doc_id.rpartition("-")[2] for doc_id in ids(found)}
            assert len(found) == 20
            seen.add(generation)
            await asyncio.sleep(0)
        assert await rebuilt == [30] * 7
        return seen

    assert "0" in asyncio.run(go())
    assert all(each.endswith("-7") for each in ids(asyncio.run(made.search("policy", "words", "default"))))


def test_an_old_reader_finishes_on_the_index_it_began_with() -> None:
    made = library()
    made.fill("policy", [edition("p-old", "old words")])
    reader = made.index("policy")
    asyncio.run(made.rebuild("policy", [edition("p-new", "new words")]))
    assert ids(reader.search("words", "default", 4)) == ["p-old"]
    assert ids(made.index("policy").search("words", "default", 4)) == ["p-new"]


# --- grounding ------------------------------------------------------------------------------------------------------

RETURNS = Document(
    doc_id="policy-returns",
    title="Returns",
    text="You can return unused items within 30 days of delivery. Items marked final sale cannot be returned.",
)


@pytest.mark.parametrize(
    ("answer", "grounded"),
    [
        ("You can return unused items within 30 days of delivery. [policy-returns]", True),
        ("Within 30 days of delivery you may return an item that is unused [policy-returns].", True),
        ("[policy-returns] says that unused items can be returned within 30 days.", True),
        ("You can return unused items within 60 days of delivery. [policy-returns]", False),  # another figure
        ("You can return unused items within 30 days of delivery.", False),  # no source
        ("You can return unused items within 30 days of delivery. [policy-pets]", False),  # a source not read
        ("You can return items within 30 days. We give everybody a free pony on Mondays. [policy-returns]", False),
        ("Everybody gets a pony", False),
        ("I'm sorry, I don't know: our documents do not say it.", True),
        ("I don't know, but you can return items within 90 days. [policy-returns]", False),
        ("Which item do you mean?", True),
        ("", True),
    ],
)
def test_an_answer_stands_on_the_documents_it_cites(answer: str, grounded: bool) -> None:
    found = ground(answer, [RETURNS], 0.25)
    assert found.grounded is grounded
    assert 0 <= found.score <= 1


@pytest.mark.parametrize("each", current(), ids=lambda each: each.doc_id)
def test_each_document_supports_itself_even_padded_and_no_leak(each: Document) -> None:
    quoted = f"{each.text} [{each.doc_id}]"
    for answer in (quoted, f"Our rules say: {quoted}", PADDING + quoted):
        assert ground(answer, [each], 0.9).grounded
    assert not ground(LEAK + quoted, [each], 0.25).grounded


def test_an_outdated_version_does_not_stand_on_the_valid_one() -> None:
    valid = {each.doc_id: each for each in current()}
    outdated = [p.document for p in published() if p.valid_until is not None]
    assert outdated
    for each in outdated:
        assert not ground(f"{each.text} [{each.doc_id}]", [valid[each.doc_id]], 0.25).grounded


@given(st.text(max_size=300))
def test_grounding_takes_any_text(answer: str) -> None:
    found = ground(answer, [RETURNS], 0.25)
    assert found.grounded == (found.score >= 0.25 and not found.unknown)
