"""Whole runs over input that nobody would choose: each ends in a defined way, and says what it found."""

from __future__ import annotations

import base64
import json
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import polars as pl
import pytest

from clustering.embedders.protocol import DimensionChanged, Endpoint
from clustering.facets import facets
from clustering.records import Cancelled
from clustering.service_run import carry_out
from store.control.run_records import RunStatus
from store.embeddings import known_embeddings
from tests.clustering.sittings import APP, TENANT, WEEK, Sitting, Talk, sitting
from tests.loopback import listening

# One wish in twelve languages, with a place for what it is about.
TWELVE = {
    "English": "I want my money back for the {}, it arrived broken",
    "German": "Ich möchte mein Geld für {} zurück, es kam kaputt an",
    "French": "Je veux être remboursé pour {}, il est arrivé cassé",
    "Spanish": "Quiero que me devuelvan el dinero de {}, llegó roto",
    "Portuguese": "Quero o meu dinheiro de volta por {}, chegou partido",
    "Polish": "Chcę zwrotu pieniędzy za {}, przyszło zepsute",
    "Turkish": "{} kırık geldi, paramı geri istiyorum",
    "Russian": "Верните мне деньги за {}, он пришёл сломанным",
    "Arabic": "أريد استعادة نقودي مقابل {} لأنه وصل مكسورا",
    "Hindi": "मुझे {} के पैसे वापस चाहिए, वह टूटा हुआ आया",
    "Chinese": "我要{}的退款，它到的时候已经坏了",
    "Japanese": "{}が壊れて届いたので返金してください",
}
THINGS = ("tent", "lamp", "jacket", "boots", "stove", "watch", "rope", "pack", "mat", "filter", "cup", "axe")


def wishes(n: int, seed: int = 1) -> list[Talk]:
    """Three kinds of session, each with words and tools of its own, one of which fails."""
    chance = Random(seed)
    kinds = (
        ("Please refund the {} of my order", "I have refunded the {}", ("get_order", "refund_order"), False),
        ("How do I wash the {} at home", "Wash the {} by hand with soap", ("search_help",), False),
        ("My parcel with the {} is late, where is it", "I am sorry, the carrier does not answer", ("track",), True),
    )
    made = []
    for number in range(n):
        user, agent, tools, failed = kinds[number % 3]
        thing = THINGS[chance.randrange(len(THINGS))]
        made.append(Talk(user=user.format(thing), agent=agent.format(thing), tools=tools, failed=failed))
    return made


def placed(one: Sitting) -> Counter[str | None]:
    """Sessions by cluster; None: in none."""
    return Counter(one.members()["cluster_id"].to_list())


def test_ten_sessions_are_too_few_to_be_clusters_and_are_said_to_be(tmp_path: Path) -> None:
    with sitting(tmp_path, wishes(10)) as one:
        run = one.done({"min_cluster_size": 10})
        assert (run.status, run.n_sessions, run.n_clusters, run.n_noise) == (RunStatus.DONE, 10, 0, 10)
        assert run.used["why"] == "few"
        assert placed(one) == {None: 10}
        assert one.clusters() == []


def test_no_session_at_all_is_a_run_that_found_nothing(tmp_path: Path) -> None:
    with sitting(tmp_path, []) as one:
        run = one.done()
        assert (run.status, run.n_sessions, run.n_clusters) == (RunStatus.DONE, 0, 0)


def test_one_session_a_thousand_times_is_one_cluster(tmp_path: Path) -> None:
    with sitting(tmp_path, [Talk(user="Where is my tent?", agent="On its way.", failed=True)] * 1_000) as one:
        run = one.done()
        assert (run.status, run.n_clusters, run.n_noise) == (RunStatus.DONE, 1, 0)
        (only,) = one.clusters()
        assert (only.n_sessions, only.n_failed) == (1_000, 1_000)
        assert placed(one) == {only.cluster_id: 1_000}


def test_sessions_that_say_nothing_are_in_no_cluster(tmp_path: Path) -> None:
    with sitting(tmp_path, [Talk()] * 30 + wishes(60)) as one:
        run = one.done()
        assert run.status is RunStatus.DONE
        silent = one.members().filter(pl.col("session_id").is_in([f"s{n}" for n in range(30)]))
        spoke = one.members().filter(~pl.col("session_id").is_in(silent["session_id"].to_list()))
        together = set(silent["cluster_id"].to_list()) & set(spoke["cluster_id"].drop_nulls().to_list())
        assert silent.height == 30
        assert together == set()  # nothing is said of them, least of all that they are like others


def test_a_megabyte_of_base64_is_cut_out_and_the_wish_beside_it_counts(tmp_path: Path) -> None:
    raw = Random(5).randbytes(750_000)
    blob = base64.b64encode(raw).decode()
    assert len(blob) == 1_000_000
    talks = wishes(60)
    talks[3] = Talk(user=f"{talks[3].user}\n{blob}", agent=talks[3].agent, tools=talks[3].tools)
    with sitting(tmp_path, talks) as one:
        frame = facets(one.store, APP, WEEK)
        longest = max(len(text) for name in ("intent", "actions", "outcome") for text in frame[name])
        assert longest <= 2_000
        assert not any(blob[at : at + 60] in text for text in frame["intent"] for at in range(0, 3_000, 60))
        one.done()
        where = dict(one.members().select("session_id", "cluster_id").iter_rows())
        assert where["s3"] == where["s0"] is not None  # the refunds


def test_twelve_languages_are_clustered_as_they_are_and_named_in_their_words(tmp_path: Path) -> None:
    talks = [Talk(user=text.format(thing), agent="…") for thing in THINGS for text in TWELVE.values()]
    with sitting(tmp_path, talks) as one:
        assert min(len(text) for text in facets(one.store, APP, WEEK)["intent"]) >= 10
        run = one.done()
        assert run.status is RunStatus.DONE
        language = {f"s{n}": list(TWELVE)[n % 12] for n in range(len(talks))}
        where: dict[str, Counter[str]] = {}
        for session, cluster in one.members().select("session_id", "cluster_id").drop_nulls().iter_rows():
            where.setdefault(cluster, Counter())[language[session]] += 1
        assert sum(found.total() for found in where.values()) >= len(talks) / 2
        # Without a model, words are all there is: who shares none is not put together.
        for apart in ("Russian", "Arabic", "Hindi", "Chinese", "Japanese"):
            assert all(len(found) == 1 for found in where.values() if apart in found)
        titles = " ".join(found.title for found in one.clusters())
        assert any(ord(char) > 0x370 for char in titles)


def test_sessions_without_anything_in_common_stay_noise(tmp_path: Path) -> None:
    chance = Random(3)

    def nonsense() -> str:
        return " ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(12))

    with sitting(tmp_path, [Talk(user=nonsense(), agent=nonsense()) for _ in range(90)]) as one:
        run = one.done()
        assert run.status is RunStatus.DONE
        assert run.noise_share is not None
        assert run.noise_share >= 0.3
        assert max((found.n_sessions for found in one.clusters()), default=0) <= 0.3 * 90
        assert placed(one)[None] == run.n_noise  # nobody was put anywhere to look better


def test_one_giant_cluster_is_split_once_more_or_kept_and_told(tmp_path: Path) -> None:
    pairs = [f"the {one} and the {other}" for one in THINGS for other in THINGS if one != other]
    giant = [Talk(user=f"Please refund {pair}", agent=f"I refunded {pair}", tools=("refund",)) for pair in pairs]
    with sitting(tmp_path, giant + wishes(20, seed=9)) as one:
        run = one.done()
        assert run.status is RunStatus.DONE
        assert run.n_sessions is not None
        largest = max(one.clusters(), key=lambda found: found.n_sessions)
        assert run.used.get("giant") in ("split", "kept") or largest.n_sessions <= 0.6 * run.n_sessions


class Door(BaseHTTPRequestHandler):
    """An OpenAI-compatible door: a text is the sum of the directions that its words name by hash; counts its texts."""

    dims = 32
    n_texts = 0

    def do_POST(self) -> None:
        """Answers POST /v1/embeddings."""
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        type(self).n_texts += len(texts)
        found = [{"index": number, "embedding": self.vector(text)} for number, text in enumerate(texts)]
        body = json.dumps({"data": found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def vector(self, text: str) -> list[float]:
        """Of length 1."""
        chances = [np.random.default_rng(crc32(word.encode())) for word in text.split() or [""]]
        whole = np.sum([chance.normal(size=self.dims) for chance in chances], axis=0)
        return [float(value) for value in whole / np.linalg.norm(whole)]

    def log_message(self, *args: object) -> None:
        """Is silent."""


class Changing(Door):
    """Another model stands behind the name from the second request on."""

    n_texts = 0

    def vector(self, text: str) -> list[float]:
        """Longer by half then."""
        self.dims = 32 if type(self).n_texts <= 1 else 48
        return super().vector(text)


class Counting(Door):
    """A door of one test."""

    n_texts = 0


def test_a_run_that_died_goes_on_behind_the_embeddings_it_made(tmp_path: Path) -> None:
    with listening(Counting) as url, sitting(tmp_path, wishes(90), Endpoint(url=f"{url}/v1", model="m")) as one:
        run = one.begun({"embedder": "endpoint"})

        def dies_behind_the_embeddings() -> bool:
            stages = [stage.name for stage in one.control.cluster_run(TENANT, run.run_id).stages]
            return "embed" in stages[:-1]

        with pytest.raises(Cancelled):
            carry_out(run, one.means(dies_behind_the_embeddings))
        assert one.control.cluster_run(TENANT, run.run_id).status is RunStatus.RUNNING
        assert one.members().is_empty()  # nothing of half a run is to be seen
        told = facets(one.store, APP, WEEK).select("intent", "actions", "outcome").unpivot()["value"]
        texts = len(set(told.to_list()) - {""})
        assert Counting.n_texts == texts + 1  # each once, and the question how long vectors are
        again = one.taken("second")
        assert (again.run_id, again.n_tries) == (run.run_id, 2)
        ended = carry_out(again, one.means())
        assert (ended.status, ended.n_sessions, one.members().height) == (RunStatus.DONE, 90, 90)
        assert Counting.n_texts == texts + 2  # nothing was embedded again
        whole = sorted(placed(one).values())
    with listening(Door) as url, sitting(tmp_path / "other", wishes(90), Endpoint(url=f"{url}/v1", model="m")) as one:
        one.done({"embedder": "endpoint"})
        assert sorted(placed(one).values()) == whole  # as if nothing had happened


def test_an_embedder_that_changes_its_dimension_ends_the_run_and_nothing_is_mixed(tmp_path: Path) -> None:
    with listening(Changing) as url, sitting(tmp_path, wishes(90), Endpoint(url=f"{url}/v1", model="m")) as one:
        run = one.begun({"embedder": "endpoint"})
        with pytest.raises(DimensionChanged, match="another model is behind the name"):
            carry_out(run, one.means())
        assert known_embeddings(one.store, APP, "endpoint/m/32", WEEK).is_empty()
        one.control.end_cluster_run(TENANT, run.run_id, RunStatus.FAILED, error="another model")
        next_one = one.done({"embedder": "endpoint"})
        assert (next_one.status, next_one.embedder) == (RunStatus.DONE, "endpoint/m/48")
        assert known_embeddings(one.store, APP, "endpoint/m/48", WEEK).height == 90
