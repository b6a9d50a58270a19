"""Spend at the API and on the command line: sums, other prices, a month in FOCUS columns whose sums are the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.focus import COLUMNS, divided
from server.routes.spend import Spend
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import fill
from tests.store.test_gateway_calls import FREE, NONE, call

MONTH = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}
FORMULA = '=HYPERLINK("http://evil")'


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("spend")) as running:
        own: dict[str, Any] = {"tenant": AIRLINE, "model_request": "sim-1", "provider": "openai", "session_id": "s1"}
        team = {"team": "support", "key_id": "k1"}
        odd = {"model_request": "gpt-4o", "cost_usd": Decimal("0.000000007"), "input_tokens": 3, "output_tokens": 3}
        rows = [
            call(1, **own, said=team, release="v1"),
            call(2, **own | {"cost_usd": Decimal("0.000100001"), "cache_read_tokens": 33}, said=team, at_s=90_000),
            call(3, **own | odd, said={"team": FORMULA}, app="@desk"),
            call(4, **own | {"model_request": "nobody-knows", "cost_usd": Decimal("0.5")}),
            call(5, **own | FREE, said={"cache": "exact", "upstream": None}),
            call(6, **own | {"cost_usd": None, "model_request": "nobody-knows"}),
            call(7, **own | NONE, said={"refused": "budget"}),
            call(8, **own | {"input_tokens": None, "output_tokens": None, "cost_usd": Decimal("0.25")}),
            call(9, tenant=SHOP, cost_usd=Decimal(40)),
        ]
        fill(running.services.lake, rows, batches=2)
        outcome = {"evaluator": "task_success", "evaluator_kind": "outcome", "target": "session", "session_id": "s1"}
        sent = running.client.post(
            "/api/v1/scores",
            json={"items": [{**outcome, "value": 1, "at": "2026-09-23T00:00:00Z"}]},
            headers=running.headers(),
        )
        assert sent.status_code == 201, sent.text
        yield running


def spent(shell: Shell, by: str = "", prices: Any = None, **params: Any) -> dict[str, Any]:
    asked = {**MONTH, "by": by, **params}
    headers = shell.headers(Role.VIEWER)
    if prices is None:
        answer = shell.client.get("/api/v1/spend", params=asked, headers=headers)
    else:
        answer = shell.client.post("/api/v1/spend/recompute", json={**asked, "prices": prices}, headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    Spend.model_validate(told)
    return told


def exported(shell: Shell, month: str = "2026-09") -> list[dict[str, str]]:
    answer = shell.client.get("/api/v1/spend/focus", params={"month": month}, headers=shell.headers(Role.VIEWER))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_totals_are_the_sums_of_the_groups(shell: Shell) -> None:
    whole = spent(shell)
    assert whole["items"] == [whole["totals"]]
    totals = whole["totals"]
    assert (totals["n_calls"], totals["cost_usd_exact"]) == (8, "0.751100008")
    assert (totals["n_resolved"], totals["cost_per_resolved_usd"]) == (1, pytest.approx(0.751100008))
    assert (totals["n_unpriced"], totals["n_cache_hits"]) == (1, 1)
    by_model = spent(shell, "model, app")
    assert sum(Decimal(one["cost_usd_exact"]) for one in by_model["items"]) == Decimal(totals["cost_usd_exact"])
    assert by_model["items"][0]["model"] == "nobody-knows"
    assert (by_model["by"], by_model["n_groups"]) == (["model", "app"], 3)
    assert len(spent(shell, "model", limit=1)["items"]) == 1
    assert spent(shell, app="none")["totals"]["cost_per_resolved_usd"] is None


def test_an_unknown_key_and_an_unknown_month_are_refused(shell: Shell) -> None:
    for path, params, field in (
        ("", {"by": "colour", "since": "7d"}, "by"),
        ("/focus", {"month": "2026-13"}, "month"),
        ("/focus", {"month": "26-1"}, "month"),
        ("/focus", {"month": "0001-01"}, "month"),
        ("/focus", {"month": "9999-12"}, "month"),
    ):
        answer = shell.client.get(f"/api/v1/spend{path}", params=params, headers=shell.headers(Role.VIEWER))
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    wrong = {"since": "7d", "prices": {"m": {"input_usd_per_mtok": -1}}}
    answer = shell.client.post("/api/v1/spend/recompute", json=wrong, headers=shell.headers(Role.VIEWER))
    assert answer.status_code == 422


def test_other_prices_stand_beside_what_was_reported(shell: Shell) -> None:
    before = spent(shell, "model")
    told = spent(shell, "model", {"sim-*": {"input_usd_per_mtok": 1000, "output_usd_per_mtok": 0}})
    by_model = {one["model"]: one for one in told["items"]}
    assert by_model["sim-1"]["recomputed_usd"] == pytest.approx(0.2 + 0.25)  # 200 tokens at 0.001, one without tokens
    assert by_model["sim-1"]["n_as_reported"] == 1
    assert by_model["nobody-knows"]["recomputed_usd"] == by_model["nobody-knows"]["cost_usd"] == 0.5
    assert by_model["nobody-knows"]["n_as_reported"] == 2
    assert by_model["gpt-4o"]["recomputed_usd"] == pytest.approx((3 * 2.5 + 3 * 10) / 1e6)  # of the public list
    assert told["totals"]["recomputed_usd"] == pytest.approx(sum(one["recomputed_usd"] for one in told["items"]))
    whole = spent(shell, "", {})["totals"]
    assert whole["recomputed_usd"] == pytest.approx((200 - 33) * 0.4e-6 + 20 * 1.6e-6 + 33 * 0.4e-6 + 0.75 + 37.5e-6)
    assert spent(shell, "model") == before


def test_a_month_in_focus_columns_sums_to_the_same_amounts_and_tokens(shell: Shell) -> None:
    rows = exported(shell)
    totals = spent(shell)["totals"]
    assert tuple(rows[0]) == COLUMNS
    assert sum(Decimal(one["BilledCost"]) for one in rows) == Decimal(totals["cost_usd_exact"])
    by_team = {one["team"]: one["cost_usd_exact"] for one in spent(shell, "team")["items"]}
    support = [one for one in rows if one["SubAccountId"] == "support"]
    assert sum(Decimal(one["BilledCost"]) for one in support) == Decimal(by_team["support"])
    tokens = {kind: sum(int(r["ConsumedQuantity"]) for r in rows if r["x_TokenKind"] == kind) for kind in
              ("input", "cached input", "output")}  # fmt: skip
    assert tokens["input"] + tokens["cached input"] == totals["input_tokens"]
    assert (tokens["cached input"], tokens["output"]) == (33, totals["output_tokens"])
    assert sum(int(one["x_UnpricedCallCount"]) for one in rows) == 1
    assert exported(shell, "2026-10") == []


def test_focus_rows_hold_what_the_specification_asks_for(shell: Shell) -> None:
    for one in exported(shell):
        assert (one["BillingCurrency"], one["ChargeCategory"], one["ChargeClass"]) == ("USD", "Usage", "")
        assert (one["ServiceCategory"], one["ChargeFrequency"]) == ("AI and Machine Learning", "Usage-Based")
        assert (one["BillingPeriodStart"], one["BillingPeriodEnd"]) == ("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z")
        assert one["BillingPeriodStart"] <= one["ChargePeriodStart"] < one["ChargePeriodEnd"] <= one["BillingPeriodEnd"]
        assert one["PricingQuantity"] == one["ConsumedQuantity"]
        assert all(one[name] for name in ("ProviderName", "PublisherName", "InvoiceIssuerName", "BillingAccountId"))
        assert set(json.loads(one["Tags"])) <= {"team", "app", "release", "upstream"}
        if one["ListUnitPrice"]:
            assert Decimal(one["ListCost"]) == Decimal(one["ListUnitPrice"]) * int(one["PricingQuantity"])
            assert one["SkuPriceId"]


def test_no_cell_is_a_formula(shell: Shell) -> None:
    rows = exported(shell)
    assert any(one["SubAccountId"] == "'" + FORMULA for one in rows)
    assert any(one["x_App"] == "'@desk" for one in rows)
    assert not [cell for one in rows for cell in one.values() if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("nano", [0, 1, 7, 10**15 + 1])
@pytest.mark.parametrize("quantities", [[1, 1, 1], [3, 0, 4], [0, 0, 1], [10**12, 1, 7]])
@pytest.mark.parametrize("prices", [[1, 1, 1], [0, 0, 0], [400_000, 100_000, 1_600_000]])
def test_parts_of_a_cost_sum_to_it(nano: int, quantities: list[int], prices: list[int]) -> None:
    parts = divided(nano, quantities, prices)
    assert sum(parts) == nano
    assert min(parts) >= 0
    assert all(part == 0 for part, quantity in zip(parts, quantities, strict=True) if not quantity)


def test_the_command_prints_prices_again_and_exports(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(shell.services) as url:

        def said(*words: str, ends: ExitCode = ExitCode.OK) -> tuple[str, str]:
            assert main(["spend", *words, "--url", url, "--key", shell.keys[AIRLINE, Role.VIEWER]]) == ends, words
            told = capsys.readouterr()
            return told.out, told.err

        window = ("--start", MONTH["start"], "--end", MONTH["end"])
        out, err = said("--by", "team,model", *window)
        assert "nobody-knows" in out
        assert "1 of 1" in out
        assert out.splitlines()[-1].startswith("all")
        assert err == ""
        prices = tmp_path / "prices.yaml"
        prices.write_text('"sim-*": {input_usd_per_mtok: 1000}\n')
        out, err = said(*window, "--prices", str(prices))
        assert "at these prices" in out
        assert "stay at what was reported" in err
        prices.write_text("upstreams: {}\nprices: {nobody-*: {input_usd_per_mtok: 5}}\n")
        told = json.loads(said(*window, "--by", "", "--prices", str(prices), "--json")[0])
        assert told["totals"]["n_as_reported"] == 1
        for head in ("", "version: 1\n"):
            prices.write_text(head + 'prices:\n  "nobody-*": {input_usd_per_mtok: 5}\n')
            assert json.loads(said(*window, "--by", "", "--prices", str(prices), "--json")[0]) == told
        days = [line.split()[0] for line in said("--by", "day", *window)[0].splitlines()[1:-1]]
        assert days == sorted(days)
        assert len(days) == 2
        file = tmp_path / "out.csv"
        assert "FOCUS 1.2" in said("export", "--month", "2026-09", "--out", str(file))[1]
        assert file.read_text() == said("export", "--month", "2026-09")[0]
        assert "no model calls" in said("--since", "1s")[1]
        for words, named in (
            (("--by", "colour"), "'colour' is not one of team"),
            (("export",), "--month 2026-11"),
            (("--month", "2026-09"), "belong to assay spend export"),
            (("--prices", str(tmp_path / "none.yaml")), "cannot be read"),
            (("export", "--month", "september"), "is no month"),
        ):
            assert named in said(*words, ends=ExitCode.USAGE)[1]
        prices.write_text("- 4\n")
        assert "holds no prices" in said("--prices", str(prices), ends=ExitCode.USAGE)[1]
        prices.write_text("a: {b: [\n")
        assert "is no YAML" in said("--prices", str(prices), ends=ExitCode.USAGE)[1]
