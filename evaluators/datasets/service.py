"""Changes of datasets: examples added, replaced and removed, each change a new version; versions compared.

A change reads the newest version, makes the next one of it and writes it if nobody was faster; without `if_version` it
is tried again on what the other one wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal
from evaluators.datasets.likeness import THRESHOLD, Pair, alike, same
from evaluators.datasets.records import Example, example_at, line_of
from store.control.control import Control
from store.control.datasets import MOST_EXAMPLES, Line, VersionRecord

MOST_COMPARED: Final = 50_000  # examples between which near duplicates are looked for
MOST_NOTE: Final = 2_000
_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """How examples are added. `if_version`: only when the newest version is that (0: none). `replace`: one with an id
    that is there takes its place. `near`: also look for near duplicates, from `threshold` on; `dedupe`: leave
    duplicates out. `create`: make the dataset if there is none. `dry_run`: change nothing."""

    note: str = ""
    if_version: int | None = None
    replace: bool = False
    near: bool = False
    threshold: float = THRESHOLD
    dedupe: bool = False
    create: bool = False
    description: str = ""
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """An example that says what an earlier one says. 1: the same but for case, spaces and punctuation."""

    example_id: str
    of: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of examples. `version` is the newest now, 0 when there is none; `n_same` were there already."""

    name: str
    version: int
    content_hash: str | None
    n_examples: int
    splits: dict[str, int]
    n_added: int = 0
    n_replaced: int = 0
    n_same: int = 0
    n_removed: int = 0
    n_duplicates: int = 0
    duplicates: tuple[Duplicate, ...] = ()
    changed: bool
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What lies between two versions, by ids."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    n_same: int


@dataclass(frozen=True, kw_only=True)
class _Plan:
    lines: list[Line]
    n_added: int = 0
    n_replaced: int = 0
    n_same: int = 0
    n_removed: int = 0
    duplicates: tuple[Duplicate, ...] = ()


def add_examples(
    control: Control, tenant: TenantId, name: str, examples: Sequence[Example], options: Options, *, by: Principal
) -> Change:
    """Adds examples. Raises InvalidInput, NotFound when there is no such dataset (unless `create`), Conflict for an id
    that stands for another example (unless `replace`), and when the newest version is not `if_version`."""
    if len(options.note) > MOST_NOTE:
        raise InvalidInput(f"a note has at most {MOST_NOTE:,} characters", field="note")
    new = {one.example_id: line_of(one) for one in examples}
    if len(new) < len(examples):
        seen: set[str] = set()
        twice = next(one.example_id for one in examples if one.example_id in seen or seen.add(one.example_id))  # type: ignore[func-returns-value]
        raise InvalidInput(f"example_id {twice!r} stands twice among the examples", field="example_id")
    _there(control, tenant, name, options, by)
    return _changed(control, tenant, name, options, by, lambda old: _added(old, new, options))


def remove_examples(
    control: Control, tenant: TenantId, name: str, ids: Collection[str], options: Options, *, by: Principal
) -> Change:
    """Takes examples out. Raises NotFound naming an id that is not there, Conflict as `add_examples`."""
    return _changed(control, tenant, name, options, by, lambda old: _removed(old, frozenset(ids)))


def difference(control: Control, tenant: TenantId, name: str, before: int | None, after: int | None) -> Difference:
    """What changed from one version to another; None before is the one before `after`, None after the newest. Raises
    NotFound."""
    newest, lines = control.read_dataset(tenant, name, after)
    old = newest.version - 1 if before is None else before
    earlier = _by_id(control.read_dataset(tenant, name, old)[1]) if old > 0 else {}
    later = _by_id(lines)
    both = earlier.keys() & later.keys()
    changed = sorted(one for one in both if earlier[one] != later[one])
    return Difference(
        added=tuple(one for one in later if one not in earlier),
        removed=tuple(one for one in earlier if one not in later),
        changed=tuple(changed),
        n_same=len(both) - len(changed),
    )


def _there(control: Control, tenant: TenantId, name: str, options: Options, by: Principal) -> None:
    """Makes the dataset when that is wanted and it is missing."""
    try:
        control.dataset(tenant, name)
    except NotFound:
        if not options.create:
            raise
        if not options.dry_run:
            _create(control, tenant, name, options, by)


def _create(control: Control, tenant: TenantId, name: str, options: Options, by: Principal) -> None:
    try:
        control.create_dataset(tenant, name, options.description, by=by)
    except Conflict:
        control.dataset(tenant, name)  # somebody else just made it


def _changed(
    control: Control,
    tenant: TenantId,
    name: str,
    options: Options,
    by: Principal,
    plan_of: Callable[[dict[str, Line]], _Plan],
) -> Change:
    for attempt in range(_TRIES):
        base, lines = _newest(control, tenant, name, missing_ok=options.create)
        there = 0 if base is None else base.version
        if options.if_version is not None and options.if_version != there:
            raise Conflict(
                f"the dataset is at version {there}, not {options.if_version}: look at it again, then decide"
            )
        plan = plan_of(_by_id(lines))
        if len(plan.lines) > MOST_EXAMPLES:
            raise InvalidInput(f"a dataset has at most {MOST_EXAMPLES:,} examples, not {len(plan.lines):,}")
        touched = plan.n_added or plan.n_replaced or plan.n_removed
        if options.dry_run or not touched:
            return _told(name, base, plan, changed=bool(touched), dry_run=options.dry_run)
        try:
            made, new = control.write_dataset(tenant, name, plan.lines, base, options.note, by=by)
        except Conflict:
            if options.if_version is not None or attempt == _TRIES - 1:
                raise
            continue
        return _told(name, made, plan, changed=new, dry_run=False)
    raise AssertionError


def _newest(
    control: Control, tenant: TenantId, name: str, *, missing_ok: bool
) -> tuple[VersionRecord | None, list[Line]]:
    try:
        if not control.dataset(tenant, name)[1]:
            return None, []
    except NotFound:
        if missing_ok:  # a dry run of an import that would make it
            return None, []
        raise
    return control.read_dataset(tenant, name)


def _added(old: dict[str, Line], new: dict[str, Line], options: Options) -> _Plan:
    other = [one for one in new if one in old and old[one] != new[one]]
    if other and not options.replace:
        raise Conflict(
            f"{len(other):,} of the ids stand for other examples already, first {other[0]!r}: give them ids of their "
            "own, or replace what is there"
        )
    fresh = [one for one in new if one not in old]
    duplicates = _duplicates(old, {one: new[one] for one in fresh}, options)
    if options.dedupe:
        gone = {one.example_id for one in duplicates}
        fresh = [one for one in fresh if one not in gone]
    whole = old | {one: new[one] for one in (*other, *fresh)}
    n_same = sum(1 for one in new if old.get(one) == new[one])
    return _Plan(
        lines=list(whole.values()),
        n_added=len(fresh),
        n_replaced=len(other),
        n_same=n_same,
        duplicates=tuple(duplicates),
    )


def _duplicates(old: dict[str, Line], fresh: dict[str, Line], options: Options) -> list[Duplicate]:
    """Those of the new ones that are like one that is there, or like an earlier new one."""
    whole = {**old, **fresh}
    ids, texts = list(whole), [example_at(line).text for line in whole.values()]
    near = options.near and len(ids) <= MOST_COMPARED
    pairs: list[Pair] = alike(texts, options.threshold) if near else same(texts)
    return [
        Duplicate(example_id=ids[pair.second], of=ids[pair.first], similarity=pair.similarity)
        for pair in pairs
        if ids[pair.second] in fresh
    ]


def _removed(old: dict[str, Line], ids: frozenset[str]) -> _Plan:
    missing = sorted(ids - old.keys())
    if missing:
        raise NotFound(
            f"there is no example {missing[0][:120]!r}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        )
    left = [line for one, line in old.items() if one not in ids]
    return _Plan(lines=left, n_removed=len(old) - len(left))


def _by_id(lines: Sequence[Line]) -> dict[str, Line]:
    return {json.loads(line)["example_id"]: line for line in lines}


def _told(name: str, record: VersionRecord | None, plan: _Plan, *, changed: bool, dry_run: bool) -> Change:
    return Change(
        name=name,
        version=0 if record is None else record.version,
        content_hash=None if record is None else record.content_hash,
        n_examples=len(plan.lines),
        splits=_splits(plan.lines),
        n_added=plan.n_added,
        n_replaced=plan.n_replaced,
        n_same=plan.n_same,
        n_removed=plan.n_removed,
        n_duplicates=len(plan.duplicates),
        duplicates=plan.duplicates[:200],
        changed=changed,
        dry_run=dry_run,
    )


def _splits(lines: Sequence[Line]) -> dict[str, int]:
    from store.control.datasets import splits_of

    return splits_of(lines)
