"""From the bytes of export requests to rows of the lake's `spans` table, one Arrow column at a time.

`decode` takes the requests of one tenant, concatenated (joined protobuf messages are one message), and answers the
rows in the order sent, with the spans that cannot be kept beside them. Redaction, deduplication and the question
which model spans are leaves come after (collector.mask, collector.dedup, collector.leaves).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector import columns as kernel
from collector.arrow_text import (
    Buffers,
    Ints,
    MadeText,
    Slices,
    frozen,
    hex_strings,
    money,
    numbers,
    renamed,
    string_array,
)
from collector.columns import Attr
from collector.dialects import EXCLUSIVE_CACHE, PROVIDER_ALIASES
from collector.key_table import COST, KINDS, MOVED_BY_COLUMN, N_COLUMNS, N_TEXT, NO_KIND, TTFT, KeyTable, key_table
from collector.refused_spans import Refused, refused_spans
from collector.render import T_STRING
from collector.repair import repaired_request
from collector.resources import ResourceText, ScopeText, resource_text, scope_text
from collector.scan import PARENT_INVALID, UTF8_BROKEN, Col, Scan, scan
from collector.scan import joined as join_scans
from collector.unflatten import fill
from collector.usage import Tokens, computed_cost, is_exclusive, milliseconds, nano_usd, price_of
from core.records import MODEL_KINDS
from store import schema
from store.lake import partition_date

YEAR_2000_NS: Final = 946_684_800 * 10**9
NS_PER_DAY: Final = 86_400 * 10**9
AHEAD_NS: Final = 600 * 10**9

# In the order in which they stand in `issues`; the bit is their place.
ISSUES: Final = (
    "time_invalid",
    "utf8_repaired",
    "parent_invalid",
    "duplicate_key",
    "usage_invalid",
    "usage_inconsistent",
    "attributes_truncated",
    "index_bounded",
    "clock_ahead",
)
_EXCLUSIVE_SCOPES: Final = frozenset(rule.scope for rule in EXCLUSIVE_CACHE)
_BIT: Final = {name: 1 << i for i, name in enumerate(ISSUES)}


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Rows of schema.SPANS, the refused spans, and which carry an evaluation: event or annotation (bool, one each)."""

    rows: pa.Table
    refused: list[Refused]
    has_evaluation: npt.NDArray[np.bool_]


def decode(
    parts: Sequence[tuple[int, bytes]], *, tenant: str, ingested_at_us: int, scans: Sequence[Scan] | None = None
) -> Decoded:
    """Decodes requests, each with its journal position; `scans` are theirs, where the door kept them.

    Raises Undecodable when one is no request at all.
    """
    joined = parts[0][1] if len(parts) == 1 else b"".join(body for _, body in parts)
    if scans is None:
        found = scan(joined)
    else:
        found = join_scans(scans, [len(body) for _, body in parts], frozen(np.frombuffer(joined, np.uint8)))
    ends = list(accumulate(len(body) for _, body in parts))
    seqs = np.array([seq for seq, _ in parts], np.int64)
    lengths_at = found.spans[:, Col.START] - 1  # of an empty span at the end of a request, the next one begins at START
    seq = seqs[np.searchsorted(ends, lengths_at, side="right")]
    usable = found.spans[:, Col.REFUSAL] == 0
    refused = refused_spans(found, seq, ~usable)
    broken = usable & (found.spans[:, Col.ISSUES] & UTF8_BROKEN != 0)
    whole = usable & ~broken
    tables = [_Batch(found, found.spans[whole], seq[whole]).rows(tenant, ingested_at_us)]
    for i in np.flatnonzero(broken):
        mended = scan(_mended(joined, found, i))
        tables.append(_Batch(mended, mended.spans, seq[i : i + 1], "utf8_repaired").rows(tenant, ingested_at_us))
    return Decoded(
        rows=pa.concat_tables([t for t, _ in tables]),
        refused=refused,
        has_evaluation=np.concatenate([flags for _, flags in tables]),
    )


def _mended(joined: bytes, found: Scan, i: int | np.integer[Any]) -> bytes:
    row = found.spans[i]
    resource = found.resources[row[Col.RESOURCE]]
    scope = found.scopes[row[Col.SCOPE]]
    return repaired_request(
        joined[resource[0] : resource[1]], joined[scope[0] : scope[1]], joined[row[Col.START] : row[Col.END]]
    )


class _Batch:
    """One pass over the spans of a scanned buffer."""

    def __init__(self, found: Scan, spans: Ints, seq: Ints, issue: str | None = None) -> None:
        self.body = found.buffer
        self.spans = np.ascontiguousarray(spans)
        self.seq = seq
        self.n = len(spans)
        self.keys: KeyTable = key_table()
        self.issues = np.full(self.n, _BIT[issue] if issue else 0, np.int64)
        self.made = MadeText()
        self._winners()
        raw = self.body
        self.resources = [resource_text(raw[a:b].tobytes()) for a, b in found.resources]
        self.scopes = [scope_text(raw[a:b].tobytes()) for a, b in found.scopes]
        self.resource_of = self.spans[:, Col.RESOURCE]
        self.scope_of = self.spans[:, Col.SCOPE]

    # -- attributes ------------------------------------------------------------------------------------------------

    def _winners(self) -> None:
        k, n = self.keys, self.n
        per_span = np.minimum(self.spans[:, Col.N_ATTRIBUTES], kernel.MAX_ATTRIBUTES)
        self.first = np.zeros(n + 1, np.int64)
        np.cumsum(per_span, out=self.first[1:])
        self.table = np.zeros((int(self.first[-1]), kernel.ATTR_WIDTH), np.int64)
        self.best = np.full((n, N_COLUMNS), -1, np.int64)
        self.notes = np.zeros(n, np.int64)
        self.kind = np.full(n, NO_KIND, np.int64)
        kinds = (
            *(k.kind_rank, k.present_kind, k.value_rank, k.value_hash, k.value_kind, k.prefix_rank, k.prefix_kind),
            *(k.prefix_first, k.prefix_text, k.family_first, k.family_text, self.kind),
        )
        needed = kernel.attribute_table(
            *(self.body, self.spans, k.slot_hash, k.slot_key, k.first, k.action_column, k.action_rank, k.marks),
            *(kinds, self.best, self.table, self.notes, kernel.scratch_for(N_COLUMNS)),
        )
        rendered = np.empty(needed, np.uint8)
        kernel.render_values(self.body, self.table, rendered, kernel.number_room())
        self.rendered = frozen(rendered)

    def _texts_of(self, row: int | np.integer[Any]) -> list[tuple[str, str]]:
        """(key, canonical text) of a span's attributes, in order."""
        found = []
        for a in self.table[self.first[row] : self.first[row + 1]]:
            source = self.body if a[Attr.SOURCE] == 0 else self.rendered
            key = self.body[a[Attr.KEY] : a[Attr.KEY] + a[Attr.KEY_LEN]].tobytes().decode()
            text = source[a[Attr.TEXT] : a[Attr.TEXT] + a[Attr.TEXT_LEN]].tobytes().decode()
            found.append((key, text))
        return found

    def _winning_text(self, row: int | np.integer[Any], column: int) -> str:
        a = self.table[self.best[row, column]]
        source = self.body if a[Attr.SOURCE] == 0 else self.rendered
        return source[a[Attr.TEXT] : a[Attr.TEXT] + a[Attr.TEXT_LEN]].tobytes().decode()

    def _filled(self) -> dict[int, dict[str, str]]:
        """What collector.unflatten says of the flagged spans."""
        found = {}
        for row in np.flatnonzero(self.notes & kernel.FLAGGED):
            answer = fill(self._texts_of(row), start_ns=int(self.spans[row, Col.START_NS]) & (2**64 - 1))
            if "issues" in answer:
                self.issues[row] |= _BIT[answer["issues"]]
            found[int(row)] = answer
        return found

    def _slices(self, column: int) -> Slices:
        best = self.best[:, column]
        won = best >= 0
        at = np.where(won, best, 0)
        if not len(self.table):
            return Slices.nothing(self.n)
        return Slices(
            source=np.where(won, self.table[at, Attr.SOURCE], -1),
            start=self.table[at, Attr.TEXT],
            length=np.where(won, self.table[at, Attr.TEXT_LEN], 0),
        )

    def _text_slices(self, filled: dict[int, dict[str, str]]) -> dict[str, Slices]:
        by_resource = [dict(resource.columns) for resource in self.resources]
        found = {}
        for number, name in enumerate(schema.DIALECT_TEXT):
            slices = self._slices(number)
            self._from_resource(slices, [columns.get(name) for columns in by_resource])
            for row, answer in filled.items():
                if name in answer:
                    slices.put(row, self.made.add(answer[name]))
            found[name] = slices
        message = Slices.of_body(self.spans[:, Col.MESSAGE], self.spans[:, Col.MESSAGE_LEN])
        for row, answer in filled.items():
            if "status_message" in answer and message.length[row] == 0:
                message.put(row, self.made.add(answer["status_message"]))
        return found | {"status_message": message}

    def _from_resource(self, slices: Slices, texts: Sequence[str | None]) -> None:
        if not any(texts):
            return
        places = np.array([self.made.add(text) if text else (0, 0) for text in texts], np.int64).reshape(-1, 2)
        use = (slices.source < 0) & (places[self.resource_of, 1] > 0)
        slices.source[use] = 2
        slices.start[use] = places[self.resource_of[use], 0]
        slices.length[use] = places[self.resource_of[use], 1]

    def _moved(self) -> pa.Array:
        """Takes attributes that live in a column out of the map, and writes down which: `moved_attributes`."""
        lines = np.full((self.n, N_TEXT), -1, np.int64)
        free = self.notes & kernel.FLAGGED == 0
        for column in np.flatnonzero(MOVED_BY_COLUMN):
            rows = np.flatnonzero((self.best[:, column] >= 0) & free)
            winners = self.best[rows, column]
            strings = self.table[winners, Attr.TYPE] == T_STRING
            rows, winners = rows[strings], winners[strings]
            self.table[winners, Attr.KEPT] = 0
            lines[rows, column] = self.table[winners, Attr.KEY_ID]
        used = np.flatnonzero((lines >= 0).any(axis=0))
        if not len(used):
            return pa.nulls(self.n, pa.string())
        combinations, codes = np.unique(lines[:, used], axis=0, return_inverse=True)
        texts = []
        for combination in combinations:
            parts = [
                f"{self.keys.keys[key]}={schema.DIALECT_TEXT[column]}"
                for column, key in zip(used, combination, strict=True)
                if key >= 0
            ]
            texts.append("\n".join(parts) or None)
        return pa.array(texts, pa.string()).take(pa.array(codes.reshape(-1)))

    def _attribute_map(self, buffers: Buffers) -> tuple[pa.MapArray, pa.StringArray]:
        kept = self.table[:, Attr.KEPT] == 1
        counted = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(kept, out=counted[1:])
        offsets = counted[self.first]
        table = self.table[kept]
        keys = Slices.of_body(table[:, Attr.KEY], table[:, Attr.KEY_LEN], empty_is_null=False)
        texts = Slices(source=table[:, Attr.SOURCE], start=table[:, Attr.TEXT], length=table[:, Attr.TEXT_LEN])
        letters = table[:, Attr.TYPE].astype(np.uint8)
        entries = pa.MapArray.from_arrays(
            pa.array(offsets.astype(np.int32)), buffers.strings(keys), buffers.strings(texts)
        )
        return entries, string_array(offsets, letters)

    # -- numbers ---------------------------------------------------------------------------------------------------

    def _tokens(self, filled: dict[int, dict[str, str]], body: Buffers) -> tuple[Tokens, npt.NDArray[np.bool_]]:
        values, known = {}, {}
        bad = np.zeros(self.n, bool)
        for number, name in enumerate(schema.DIALECT_TOKENS):
            value, state = np.zeros(self.n, np.int64), np.zeros(self.n, np.int64)
            kernel.token_counts(body.body, body.made, self.table, self.best, N_TEXT + number, value, state)
            for row, answer in filled.items():
                if answer.get(name):
                    text = answer[name].split(".")[0]
                    good = text.isdecimal() and int(text) <= kernel.MOST_TOKENS
                    value[row], state[row] = (int(text), 1) if good else (0, 2)
            values[name], known[name] = value, state == 1
            bad |= state == 2
        self.issues[bad] |= _BIT["usage_invalid"]
        return Tokens(values=values, known=known), bad

    def _reported_cost(self, filled: dict[int, dict[str, str]]) -> tuple[Ints, npt.NDArray[np.bool_]]:
        amounts, known = np.zeros(self.n, np.int64), np.zeros(self.n, bool)
        texts = {int(row): self._winning_text(row, COST) for row in np.flatnonzero(self.best[:, COST] >= 0)}
        texts |= {row: a["cost_reported_usd"] for row, a in filled.items() if "cost_reported_usd" in a}
        for row, text in texts.items():
            amount = nano_usd(text)
            if amount is None:
                self.issues[row] |= _BIT["usage_invalid"]
            else:
                amounts[row], known[row] = amount, True
        return amounts, known

    def _first_token_ms(self, filled: dict[int, dict[str, str]]) -> pa.Array:
        values, known = np.zeros(self.n), np.zeros(self.n, bool)
        for row in np.flatnonzero(self.best[:, TTFT] >= 0):
            key = self.table[self.best[row, TTFT], Attr.KEY_ID]
            value = milliseconds(self._winning_text(row, TTFT), self.keys.ttft_factor[key])
            if value is not None:
                values[row], known[row] = value, True
        for flagged, answer in filled.items():
            if "ttft_ms" in answer:
                values[flagged], known[flagged] = float(answer["ttft_ms"]), True
        return numbers(values, known, pa.float64())

    def _cost(
        self, tokens: Tokens, models: pa.Array, provider: pa.Array, reported: tuple[Ints, npt.NDArray[np.bool_]]
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Reported cost, or tokens times price for model spans of a known model."""
        amounts, known = reported[0].copy(), reported[1].copy()
        priced = ~known & (tokens.known["input_tokens"] | tokens.known["output_tokens"]) & self._is_model()
        if not priced.any():
            return amounts, known
        codes = pc.dictionary_encode(
            pc.binary_join_element_wise(models, provider, "\x00", null_handling="replace", null_replacement="")
        )
        known_tokens = {name: np.where(tokens.known[name], tokens.values[name], 0) for name in tokens.values}
        indices = codes.indices.to_numpy(zero_copy_only=False)
        for code, text in enumerate(codes.dictionary.to_pylist()):
            model, _, maker = text.partition("\x00")
            price = price_of(maker or None, model) if model else None
            rows = priced & (indices == code)
            if price is None or not rows.any():
                continue
            amounts[rows] = computed_cost(price, {name: value[rows] for name, value in known_tokens.items()})
            known[rows] = True
        return amounts, known

    def _is_model(self) -> npt.NDArray[np.bool_]:
        return np.isin(self.kind, [KINDS.index(kind) for kind in MODEL_KINDS])

    # -- the table -------------------------------------------------------------------------------------------------

    def rows(self, tenant: str, ingested_at_us: int) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
        """The rows of schema.SPANS, and which carry an evaluation."""
        filled = self._filled()
        slices = self._text_slices(filled)
        buffers = Buffers(body=self.body, rendered=self.rendered, made=self.made.buffer())
        text = {name: buffers.strings(where) for name, where in slices.items()}
        text["provider"] = renamed(text["provider"], PROVIDER_ALIASES)
        tokens, _ = self._tokens(filled, buffers)
        wrong = tokens.settle(self._exclusive(text["provider"], filled))
        self.issues[wrong] |= _BIT["usage_inconsistent"]
        reported = self._reported_cost(filled)
        models = pc.coalesce(text["model_response"], text["model_request"])
        cost = self._cost(tokens, models, text["provider"], reported)
        moved = self._moved()
        entries, letters = self._attribute_map(buffers)
        found: dict[str, pa.Array] = {
            **self._identity(tenant, ingested_at_us, buffers),
            **self._times(ingested_at_us),
            **text,
            **{n: numbers(tokens.values[n], tokens.known[n], pa.int64()) for n in schema.DIALECT_TOKENS},
            "cost_reported_usd": money(*reported),
            "cost_usd": money(*cost),
            "usage_counted": pa.array(self._is_model()),
            "ttft_ms": self._first_token_ms(filled),
            "attributes": entries,
            "attribute_types": letters,
            "moved_attributes": moved,
            "events": self._json(kernel.put_events, self.spans[:, Col.N_EVENTS]),
            "links": self._json(kernel.put_links, self.spans[:, Col.N_LINKS]),
            **self._origin(),
        }
        found["issues"] = self._issue_texts()
        table = pa.Table.from_arrays([found[f.name].cast(f.type) for f in schema.SPANS], schema=schema.SPANS)
        evaluated = self.notes & kernel.EVALUATION_EVENT != 0
        evaluated[[row for row, answer in filled.items() if "annotations" in answer]] = True
        return table, evaluated

    def _exclusive(self, provider: pa.Array, filled: dict[int, dict[str, str]]) -> npt.NDArray[np.bool_]:
        flags = np.zeros(self.n, bool)
        if any(scope.name in _EXCLUSIVE_SCOPES for scope in self.scopes):
            makers = provider.to_pylist()
            flags = np.array([is_exclusive(self.scopes[s].name, makers[i]) for i, s in enumerate(self.scope_of)])
        for row, answer in filled.items():
            if "input_tokens" in answer:
                flags[row] = False
        return flags

    def _identity(self, tenant: str, ingested_at_us: int, buffers: Buffers) -> dict[str, pa.Array]:
        s, n = self.spans, self.n
        return {
            "tenant": pa.repeat(pa.scalar(tenant), n),
            "seq": pa.array(self.seq),
            "ingested_at": pa.repeat(pa.scalar(ingested_at_us, schema.AT), n),
            "trace_id": hex_strings(self.body, s[:, Col.TRACE_ID], 16),
            "span_id": hex_strings(self.body, s[:, Col.SPAN_ID], 8),
            "parent_span_id": hex_strings(self.body, s[:, Col.PARENT], 8),
            "content_hash": pa.array(s[:, Col.HASH]),
            "name": buffers.strings(Slices.of_body(s[:, Col.NAME], s[:, Col.NAME_LEN], empty_is_null=False)),
            "kind": pa.array([str(kind) for kind in KINDS]).take(pa.array(self.kind)),
            "otel_kind": pa.array(s[:, Col.KIND]),
            "status_code": pa.array(s[:, Col.STATUS]),
            "trace_state": buffers.strings(Slices.of_body(s[:, Col.STATE], s[:, Col.STATE_LEN])),
            "flags": pa.array(s[:, Col.FLAGS]),
            "dropped": pa.array(np.minimum(self._dropped(), 2**31 - 1)),
        }

    def _dropped(self) -> Ints:
        cut = np.maximum(self.spans[:, Col.N_ATTRIBUTES] - kernel.MAX_ATTRIBUTES, 0)
        dropped: Ints = self.spans[:, Col.DROPPED] + cut
        return dropped

    def _times(self, ingested_at_us: int) -> dict[str, pa.Array]:
        start, end = self.spans[:, Col.START_NS], self.spans[:, Col.END_NS]
        sound = (start >= YEAR_2000_NS) & (end >= start)
        self.issues[~sound] |= _BIT["time_invalid"]
        self.issues[sound & (start > ingested_at_us * 1000 + AHEAD_NS)] |= _BIT["clock_ahead"]
        days, codes = np.unique(start // NS_PER_DAY, return_inverse=True)
        dates = pa.array([partition_date(int(day) * NS_PER_DAY) for day in days], pa.string())
        return {
            "start_ns": pa.array(start),
            "end_ns": pa.array(end),
            "duration_ns": numbers(np.where(sound, end - start, 0), sound, pa.int64()),
            "date": dates.take(pa.array(codes)) if len(days) else pa.array([], pa.string()),
        }

    def _json(self, put: object, counts: Ints) -> pa.StringArray:
        if not counts.any():
            return pa.nulls(self.n, pa.string())
        assert callable(put)
        offsets = np.zeros(self.n + 1, np.int64)
        room = kernel.number_room()
        size = put(self.body, self.spans, offsets, np.zeros(0, np.uint8), room)
        out = np.empty(size, np.uint8)
        put(self.body, self.spans, offsets, out, room)
        return string_array(offsets, out, counts > 0)

    def _origin(self) -> dict[str, pa.Array]:
        def column(items: Sequence[ResourceText] | Sequence[ScopeText], name: str, of: Ints) -> pa.Array:
            return pa.array([getattr(item, name) for item in items], pa.string()).take(pa.array(of))

        return {
            "resource": column(self.resources, "json", self.resource_of),
            "service_name": column(self.resources, "service_name", self.resource_of),
            "service_version": column(self.resources, "service_version", self.resource_of),
            "scope_name": column(self.scopes, "name", self.scope_of),
            "scope_version": column(self.scopes, "version", self.scope_of),
        }

    def _issue_texts(self) -> pa.Array:
        self.issues[self.spans[:, Col.ISSUES] & PARENT_INVALID != 0] |= _BIT["parent_invalid"]
        self.issues[self.notes & kernel.DUPLICATE_KEY != 0] |= _BIT["duplicate_key"]
        self.issues[self.notes & kernel.TRUNCATED != 0] |= _BIT["attributes_truncated"]
        patterns, codes = np.unique(self.issues, return_inverse=True)
        texts = [",".join(name for name in ISSUES if int(p) & _BIT[name]) or None for p in patterns]
        return pa.array(texts, pa.string()).take(pa.array(codes)) if self.n else pa.array([], pa.string())
