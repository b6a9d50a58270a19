"""Where in a column anything personal can stand at all: 64 bytes at a time, before `pii_scan` looks byte by byte.

Each block of 64 bytes becomes one 64-bit mask per class of bytes (which bytes are digits, colons, an '@', ...), as
simdjson does it (Langdale and Lemire 2019, doi:10.1007/s00778-019-00578-5, section 3.1); ands of the masks of
neighbouring places then ask what several bytes are at once. A block with an answer, and REACH bytes on either side of
it, is a region that `pii_scan.scan` reads; what lies outside every region holds no candidate.

Each question here is implied by a rule of `pii_scan`, and looks back from the byte in question, over at most one block.
That one row's end and the next row's beginning stand side by side in a column can only make a region too many.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils, types

from collector.native import compiled, compiled_into_caller, native
from core.pii.tables import IBAN_LENGTHS, PREFIXES, SEPARATORS

BLOCK: Final = 64
REACH: Final = 64  # at least as long as what a candidate can be from its first byte to the one that is asked about

# Bytes by falling frequency in English text and JSON (digits first: a run of them is read as one number).
_FREQUENT: Final = "0123456789 etaoinshrdlcumwfgypb.v_-/k"

_u: Any = np.uint64


def packed(words: tuple[str, ...]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """All words end to end, and where each starts (one more entry: the end)."""
    flat = np.frombuffer("".join(words).encode(), dtype=np.uint8).copy()
    starts = np.cumsum([0, *[len(w) for w in words]], dtype=np.int64)
    return flat, starts


def _rarest(prefix: str) -> int:
    """The position of the prefix's rarest byte: there the scan looks for the whole prefix."""
    return max(range(len(prefix)), key=lambda k: (_FREQUENT.find(prefix[k]) % 99, k))


def _prefix_index() -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(first, chain, anchor): buckets by (byte before the anchor or 0, byte at the anchor) as linked lists."""
    first = np.full(65536, -1, dtype=np.int16)
    chain = np.full(len(PREFIXES), -1, dtype=np.int64)
    anchor = np.array([_rarest(p) for p in PREFIXES], dtype=np.int64)
    for n, prefix in enumerate(PREFIXES):
        k = int(anchor[n])
        bucket = (ord(prefix[k - 1]) if k else 0) * 256 + ord(prefix[k])
        chain[n] = first[bucket]
        first[bucket] = n
    return first, chain, anchor


def _iban_table() -> npt.NDArray[np.int8]:
    table = np.zeros(26 * 26, dtype=np.int8)
    for country, length in IBAN_LENGTHS.items():
        table[(ord(country[0]) - 65) * 26 + ord(country[1]) - 65] = length
    return table


PREFIX_BYTES, PREFIX_STARTS = packed(PREFIXES)
FIRST, CHAIN, ANCHOR = _prefix_index()
# One bit per bucket that is not empty: 8 KiB that stay in the nearest cache, where the buckets do not.
PAIRS: Final = np.packbits(FIRST >= 0, bitorder="little")
IBAN_LENGTH: Final = _iban_table()
# Which bytes may stand before one that is some prefix's rarest, where that is not its first: `_rare_pairs` asks.
_BEFORE: Final = {
    ord(rare): bytes({ord(p[int(k) - 1]) for p, k in zip(PREFIXES, ANCHOR, strict=True) if k and p[int(k)] == rare})
    for rare in sorted({p[int(k)] for p, k in zip(PREFIXES, ANCHOR, strict=True) if k})
}
# The ends of the many prefixes whose rarest byte is an underscore: `_snakes` asks.
_SNAKES: Final = tuple(
    sorted({p[max(0, int(k) - 2) : int(k) + 1] for p, k in zip(PREFIXES, ANCHOR, strict=True) if p[int(k)] == "_"})
)
# Prefixes whose first byte is the rarest: `_secrets` asks for their first four letters, in any case.
INITIAL: Final = frozenset(p[:4].lower() for p, k in zip(PREFIXES, ANCHOR, strict=True) if not k)
if {"bear", "basi", "key-", "xai-", "xapp", "xkey"} != INITIAL:
    raise ValueError(f"the prefixes that begin with their rarest byte changed, and _secrets with them: {INITIAL}")


def _lanes() -> Any:
    return ir.VectorType(ir.IntType(8), BLOCK)


def _loaded(context: Any, builder: Any, signature: Any, args: Any, back: int) -> Any:
    """The BLOCK bytes that begin `back` before the place asked about."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    place = builder.sub(args[1], ir.Constant(args[1].type, back))
    return builder.load(builder.bitcast(builder.gep(array.data, [place]), _lanes().as_pointer()), align=1)


def _between(builder: Any, block: Any, low: int, high: int) -> Any:
    """Which bytes of a block are at least `low` and at most `high`."""
    if low == high:
        return builder.icmp_unsigned("==", block, ir.Constant(_lanes(), [low] * BLOCK))
    above = builder.sub(block, ir.Constant(_lanes(), [low] * BLOCK))
    return builder.icmp_unsigned("<=", above, ir.Constant(_lanes(), [high - low] * BLOCK))


def _any(builder: Any, hits: list[Any]) -> Any:
    return reduce(builder.or_, hits)


def _mask_of(members: bytes = b"", *, ranges: tuple[tuple[int, int], ...] = (), fold: int = 0, back: int = 0) -> Any:
    """A native function of (uint8 array, place): bit k of its answer says that byte place-back+k is one of `members`,
    or in one of `ranges` (both ends included), once its bits of `fold` are set."""
    spans = [(c, c) for c in members] + list(ranges)

    @native
    def mask(typingctx: Any, data: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _loaded(context, builder, signature, args, back)
            if fold:
                block = builder.or_(block, ir.Constant(_lanes(), [fold] * BLOCK))
            hits = _any(builder, [_between(builder, block, low, high) for low, high in spans])
            return builder.bitcast(hits, ir.IntType(64))

        return types.uint64(data, types.intp), codegen

    return mask


def _phrases(*phrases: tuple[bytes, ...], fold: int = 0) -> Any:
    """A native function of (uint8 array, place): bit k of its answer says that at byte place+k one of `phrases` ends.

    A phrase is one set of bytes for each of its places, an empty one for "any".
    """

    @native
    def mask(typingctx: Any, data: Any, at: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            longest = max(len(phrase) for phrase in phrases)
            blocks = [_loaded(context, builder, signature, args, back) for back in range(longest)]
            blocks = [builder.or_(b, ir.Constant(_lanes(), [fold] * BLOCK)) if fold else b for b in blocks]
            hits = [
                reduce(
                    builder.and_,
                    [
                        _any(builder, [_between(builder, block, c, c) for c in members])
                        for block, members in zip(blocks, reversed(phrase), strict=False)
                        if members
                    ],
                )
                for phrase in phrases
            ]
            return builder.bitcast(_any(builder, hits), ir.IntType(64))

        return types.uint64(data, types.intp), codegen

    return mask


@native
def _rare_pairs(typingctx: Any, data: Any, at: Any) -> Any:
    """Bit k of the answer: bytes at+k-1 and at+k may be a pair of _BEFORE, the underscore's left out."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        here, before = (_loaded(context, builder, signature, args, back) for back in (0, 1))
        capitals = [_between(builder, block, 65, 90) for block in (here, before)]
        hits = [builder.and_(*capitals)]
        for rare, companions in _BEFORE.items():
            known = [c for c in companions if not (chr(c).isupper() and chr(rare).isupper())]
            if known and rare != ord("_"):
                hit = _between(builder, here, rare, rare)
                hits.append(builder.and_(hit, _any(builder, [_between(builder, before, c, c) for c in known])))
        return builder.bitcast(_any(builder, hits), ir.IntType(64))

    return types.uint64(data, types.intp), codegen


@native
def _n_set(typingctx: Any, mask: Any) -> Any:
    """How many bits of an uint64 are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.ctpop(args[0]), cgutils.intp_t)

    return types.intp(types.uint64), codegen


@native
def _lowest(typingctx: Any, mask: Any) -> Any:
    """The place of the lowest set bit of an uint64 that is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.true_bit)

    return types.uint64(types.uint64), codegen


_digits = _mask_of(ranges=((48, 57),))
_digits_before = _mask_of(ranges=((48, 57),), back=BLOCK)
_runs = _mask_of(SEPARATORS, ranges=((48, 57),))
_runs_before = _mask_of(SEPARATORS, ranges=((48, 57),), back=BLOCK)
_dots, _dots_before = _mask_of(b"."), _mask_of(b".", back=BLOCK)
_colons, _colons_before = _mask_of(b":"), _mask_of(b":", back=BLOCK)
_hexes = _mask_of(b":", ranges=((48, 57), (65, 70), (97, 102)))
_hexes_before = _mask_of(b":", ranges=((48, 57), (65, 70), (97, 102)), back=BLOCK)
_named, _quoted = _mask_of(b":="), _mask_of(b"\"'\\ ]")
_mails = _phrases((b"@",), (b"%", b"4", b"0"))
_escapes = _phrases((b"\\", b"u", b"0", b"0", b"234567"))
_initials = _phrases(*[tuple(bytes([c]) for c in word.encode()) for word in sorted(INITIAL)], fold=32)
_name_ends = _phrases(
    *[tuple(bytes([c]) for c in word) for word in (b"key", b"ken", b"ret", b"ord", b"swd", b"pwd", b"sig", b"als")],
    (b"a", *[b""] * 9, b"i", b"o", b"n"),
    fold=32,
)
_underscores = _mask_of(b"_")
_snakes = _phrases(*[tuple(bytes([c]) for c in end.encode()) for end in _SNAKES])
_letters_2, _letters_3 = (_mask_of(ranges=((97, 122),), fold=32, back=back) for back in (2, 3))


@compiled_into_caller
def _back(now: Any, was: Any, by: int) -> Any:
    """Bit k says what bit k-by of a class said, over the border to the block before."""
    return now << _u(by) | was >> _u(BLOCK - by)


@compiled_into_caller
def _within(now: Any, was: Any, width: int, least: int, ends: Any) -> Any:
    """Whether, of the `width` bytes up to one of `ends`, at least `least` are of a class."""
    while ends:
        bit = _lowest(ends)
        back = now << (_u(63) - bit)
        if bit < _u(63):
            back |= was >> (bit + _u(1))
        if _n_set(back >> _u(BLOCK - width)) >= least:
            return True
        ends &= ends - _u(1)
    return False


@compiled_into_caller
def _number(data: Any, at: int, digits: Any, earlier: Any) -> Any:
    """Seven digits within 19 bytes of digits and separators: the least a phone, card or security number has."""
    if _n_set(digits) + _n_set(earlier >> _u(45)) < 7:
        return False
    one, was = _runs(data, at), _runs_before(data, at)
    two, was_two = one & _back(one, was, 1), was & was << _u(1)
    four, was_four = two & _back(two, was_two, 2), was_two & was_two << _u(2)
    return _within(digits, earlier, 19, 7, four & _back(four, was_four, 3) & digits)


@compiled_into_caller
def _near(now: Any, was: Any) -> Any:
    return _back(now, was, 2) | _back(now, was, 3) | _back(now, was, 4) | _back(now, was, 5)


@compiled_into_caller
def _ipv4(data: Any, at: int, digits: Any, earlier: Any) -> bool:
    """The third dot of four groups of digits, each dot two to five bytes after the one before."""
    dots = _dots(data, at) & _back(digits, earlier, 1)
    if dots == 0:
        return False
    was = _dots_before(data, at) & earlier << _u(1)
    second, was_second = dots & _near(dots, was), was & (was << _u(2) | was << _u(3) | was << _u(4) | was << _u(5))
    return bool(dots & _near(second, was_second))


@compiled_into_caller
def _ipv6(data: Any, at: int, colons: Any) -> Any:
    """'::', or the third colon within 24 bytes that a hexadecimal digit or colon follows."""
    earlier = _colons_before(data, at)
    if _n_set(colons) + _n_set(earlier >> _u(40)) < 2:
        return False
    if colons & _back(colons, earlier, 1):
        return True
    after, was = _hexes(data, at) & _back(colons, earlier, 1), _hexes_before(data, at) & earlier << _u(1)
    return _within(after, was, 24, 3, after)


@compiled_into_caller
def _assigned(data: Any, at: int, named: Any) -> bool:
    """A ':' or '=' after the last letters of a word for a secret, with nothing but quotes and blanks between (what
    stands before the block counts as such a word)."""
    names, quoted = _name_ends(data, at), _quoted(data, at)
    begins = (names << _u(1) | _u(1)) & quoted
    held = names | quoted & ~(quoted + begins) | begins
    return bool((held << _u(1) | _u(1)) & named)


@compiled_into_caller
def _account(data: Any, at: int, src: Any, place: int, digits: Any, earlier: Any) -> bool:
    """Two letters of a country that has IBANs, then two digits."""
    ends = digits & _back(digits, earlier, 1)
    if ends:
        ends &= _letters_2(src, place) & _letters_3(src, place)
    while ends:
        i = at + np.int64(_lowest(ends))
        a, b = np.int64(data[i - 3] | 32) - 97, np.int64(data[i - 2] | 32) - 97
        if IBAN_LENGTH[a * 26 + b]:
            return True
        ends &= ends - _u(1)
    return False


@compiled_into_caller
def _secret(data: Any, at: int, pairs: Any) -> bool:
    """A prefix by which a key or token is known, around one of the `pairs`."""
    while pairs:
        i = at + np.int64(_lowest(pairs))
        pairs &= pairs - _u(1)
        p = np.int64(FIRST[np.int64(data[i - 1]) << 8 | np.int64(data[i])])
        while p >= 0:
            s, e = PREFIX_STARTS[p], PREFIX_STARTS[p + 1]
            first = i - ANCHOR[p]
            k = s
            while k < e and first >= 0 and first + k - s < len(data) and data[first + k - s] == PREFIX_BYTES[k]:
                k += 1
            if k == e:
                return True
            p = CHAIN[p]
    return False


@compiled_into_caller
def _holds(data: Any, at: int, src: Any, place: int) -> Any:
    """Whether the block at `at` of `data`, which stands at `place` of `src`, has an answer to any question."""
    if _mails(src, place) | _initials(src, place):
        return True
    digits, earlier = _digits(src, place), _digits_before(src, place)
    if digits | earlier >> _u(45) and (
        _number(src, place, digits, earlier)
        or _ipv4(src, place, digits, earlier)
        or _account(data, at, src, place, digits, earlier)
    ):
        return True
    named = _named(src, place)
    if named and _assigned(src, place, named):
        return True
    colons = _colons(src, place)
    if colons and _ipv6(src, place, colons):
        return True
    pairs = _rare_pairs(src, place)
    if _underscores(src, place):
        pairs |= _snakes(src, place)
    return _secret(data, at, pairs)


@compiled
def _blocks(data: Any, edges: Any, regions: Any, escaped: Any) -> tuple[int, int]:
    """(number of regions, number of escaped blocks).

    `edges` holds zeros and the first block, then the last whole block, what follows it, and zeros.
    """
    n, n_escaped = 0, 0
    n_whole = len(data) // BLOCK
    for block in range(n_whole + (len(data) % BLOCK > 0)):
        at = block * BLOCK
        if 0 < block < n_whole:
            hit, escape = _holds(data, at, data, at), _escapes(data, at)
        else:
            place = BLOCK if block < n_whole else 3 * BLOCK
            hit, escape = _holds(data, at, edges, place), _escapes(edges, place)
        if hit:
            if n and regions[n - 1, 1] >= at - REACH:
                regions[n - 1, 1] = at + BLOCK + REACH
            else:
                regions[n, 0], regions[n, 1] = at - REACH, at + BLOCK + REACH
                n += 1
        if escape:
            escaped[n_escaped] = block
            n_escaped += 1
    return n, n_escaped


def regions(data: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(regions, escapes) of a column's bytes.

    Regions are (n, 2): ranges of bytes in order, apart from each other, outside which `pii_scan` has no candidate.
    Escapes are the numbers of the blocks of 64 bytes in which a JSON escape of printable ASCII has its fifth byte.
    """
    data = data.view()
    data.flags.writeable = False  # one kind of array, so that one compilation serves all
    n_blocks = -(-len(data) // BLOCK)
    edges = np.zeros(4 * BLOCK, np.uint8)
    n_whole = len(data) // BLOCK * BLOCK
    edges[BLOCK : BLOCK + min(BLOCK, n_whole)] = data[: min(BLOCK, n_whole)]
    end = data[max(0, n_whole - BLOCK) :]
    start = 3 * BLOCK - min(BLOCK, n_whole)
    edges[start : start + len(end)] = end
    edges.flags.writeable = False
    found, escaped = np.empty((n_blocks, 2), np.int64), np.empty(n_blocks, np.int64)
    n, n_escaped = _blocks(data, edges, found, escaped)
    return found[:n], escaped[:n_escaped]
