"""OTLP/JSON values as protobuf wire bytes, field by field, from tables.

An encoder takes a JSON value and a `Notes` and answers the field's bytes, tag included. A value that does not fit
raises `BadField`, which gathers the path to it as it rises. `null` means absent. Unknown names are ignored; one that is
a known name in snake_case leaves a hint in the notes.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_DEPTH: Final = 64

Encoder = Callable[[Any, "Notes"], bytes]
Table = Mapping[str, Encoder]

_SMALL: Final = tuple(
    bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7]) for value in range(16_384)
)
_DIGITS: Final = re.compile(r"-?[0-9]{1,20}\Z")
_NUMBER: Final = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,5})?\Z")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_BASE64_ID: Final = re.compile(r"[A-Za-z0-9+/_-]{11,12}=?\Z|[A-Za-z0-9+/_-]{22,24}(?:==)?\Z")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class BadField(Exception):
    """A JSON value that its field cannot hold. `reason` is a short code; `path` leads to the field."""

    def __init__(self, message: str, reason: str = "invalid_field") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.path: list[str] = []

    @property
    def field(self) -> str:
        """The path as text, for example attributes[3].value.intValue."""
        return "".join(f".{step}" if not step.startswith("[") else step for step in self.path).removeprefix(".")


@dataclass(kw_only=True)
class Notes:
    """What is worth telling the sender, gathered while encoding. `bad_text` stands for each lone surrogate."""

    bad_text: bytes
    hints: dict[str, str] = field(default_factory=dict)
    enum_names: set[str] = field(default_factory=set)

    def unknown(self, name: str, known: Table) -> None:
        """Remembers an unknown name if it is a known one in another spelling."""
        meant = camel(name)
        if meant != name and meant in known and len(self.hints) < 16:
            self.hints[name] = meant


def camel(name: str) -> str:
    """trace_id -> traceId."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def varint(value: int) -> bytes:
    """A non-negative number below 2^64 as a varint."""
    if value < 16_384:
        return _SMALL[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """A field's tag."""
    return varint(number << 3 | wire_type)


def framed(head: bytes, payload: bytes) -> bytes:
    """A length-delimited field: tag, length, payload."""
    return head + varint(len(payload)) + payload


def utf8(value: Any, notes: Notes) -> bytes:
    """A JSON string as UTF-8. Lone surrogates become `notes.bad_text` each. Raises BadField for another type."""
    if type(value) is not str:
        raise BadField(f"must be a string, not {kind_of(value)}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        pieces = _SURROGATES.split(value)
        return notes.bad_text.join(piece.encode() for piece in pieces)


def kind_of(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def whole(value: Any, low: int, high: int) -> int:
    """An integer given as a number or as decimal text, exact. Raises BadField outside [low, high]."""
    is_text = type(value) is str and _DIGITS.match(value)
    if is_text or (type(value) is float and value.is_integer() and abs(value) <= 1 << 53):
        value = int(value)
    if type(value) is not int:
        shown = repr(value)[:40] if isinstance(value, str | float) else kind_of(value)
        raise BadField(f"must be an integer in range, as a number or as decimal text, not {shown}")
    if not low <= value <= high:
        raise BadField(f"{str(value)[:40]} is outside {low} to {high}")
    return value


def real(value: Any) -> float:
    """A double: a finite number, its text, "NaN", "Infinity" or "-Infinity". Raises BadField otherwise."""
    if type(value) is str:
        if value in _WORDS:
            return _WORDS[value]
        if not _NUMBER.match(value):
            raise BadField(f"{value[:40]!r} is not a number")
        number = float(value)
    elif type(value) in (int, float):
        number = float(value)
    else:
        raise BadField(f"must be a number, not {kind_of(value)}")
    if number - number != 0:
        raise BadField('is beyond the range of a double; write "NaN", "Infinity" or "-Infinity" for those values')
    return number


def base64_bytes(value: Any) -> bytes:
    """Standard or URL-safe base64, with or without padding. Raises BadField otherwise."""
    if type(value) is not str:
        raise BadField(f"must be base64 text, not {kind_of(value)}")
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadField("is not base64") from None


def hex_bytes(value: Any, name: str) -> bytes:
    """An id in hexadecimal, either case. Raises BadField with a hint at the usual mistakes."""
    if type(value) is not str:
        raise BadField(f"must be hexadecimal text, not {kind_of(value)}", f"invalid_{name}")
    try:
        if value.isalnum() or not value:
            return bytes.fromhex(value)
    except ValueError:
        pass
    shown = repr(value[:48])
    if _UUID.match(value):
        raise BadField(f"{shown} is a UUID with dashes; OTLP/JSON uses 32 hex digits without them", f"invalid_{name}")
    if _BASE64_ID.match(value):
        raise BadField(f"{shown} looks like base64; OTLP/JSON uses hex for ids", f"invalid_{name}")
    raise BadField(f"{shown} is not hexadecimal", f"invalid_{name}")


# -- encoders of one field ---------------------------------------------------------------------------------------


def string(number: int) -> Encoder:
    """A string field."""
    head = tag(number, 2)
    return lambda value, notes: framed(head, utf8(value, notes))


def unsigned(number: int, bits: int = 64) -> Encoder:
    """A varint of an unsigned number, or of an enum given as a number."""
    head, high = tag(number, 0), (1 << bits) - 1
    return lambda value, notes: head + varint(whole(value, 0, high))


def fixed64(number: int) -> Encoder:
    """A fixed64 field: times."""
    head = tag(number, 1)
    return lambda value, notes: head + struct.pack("<Q", whole(value, 0, (1 << 64) - 1))


def fixed32(number: int) -> Encoder:
    """A fixed32 field: flags."""
    head = tag(number, 5)
    return lambda value, notes: head + struct.pack("<I", whole(value, 0, (1 << 32) - 1))


def sfixed64(number: int) -> Encoder:
    """A signed fixed64 field."""
    head = tag(number, 1)
    return lambda value, notes: head + struct.pack("<q", whole(value, -(1 << 63), (1 << 63) - 1))


def double(number: int) -> Encoder:
    """A double field."""
    head = tag(number, 1)
    return lambda value, notes: head + struct.pack("<d", real(value))


def enum(number: int, names: Mapping[str, int]) -> Encoder:
    """An enum: an integer. A name is accepted too, and noted, since senders must not use it (O-48)."""
    head = tag(number, 0)

    def encode(value: Any, notes: Notes) -> bytes:
        if type(value) is str and not _DIGITS.match(value):
            if value not in names:
                raise BadField(f"{value[:60]!r} is not a value of this enum; OTLP/JSON uses its number")
            notes.enum_names.add(value)
            return head + varint(names[value])
        return head + varint(whole(value, -(1 << 31), (1 << 31) - 1) & ((1 << 64) - 1))

    return encode


def identifier(number: int, name: str) -> Encoder:
    """A trace or span id; the empty text is an empty id."""
    head = tag(number, 2)
    return lambda value, notes: framed(head, hex_bytes(value, name))


def lenient_identifier(number: int, wrong: bytes) -> Encoder:
    """An id that must not cost its span: what is not hexadecimal is sent on as `wrong`, for the scanner to flag."""
    head = tag(number, 2)

    def encode(value: Any, notes: Notes) -> bytes:
        try:
            return framed(head, hex_bytes(value, "id"))
        except BadField:
            return framed(head, wrong)

    return encode


def one(number: int, table: Table) -> Encoder:
    """A message field."""
    head = tag(number, 2)
    return lambda value, notes: framed(head, message(value, table, notes))


def many(number: int, table: Table) -> Encoder:
    """A repeated message field."""
    head = tag(number, 2)

    def encode(value: Any, notes: Notes) -> bytes:
        out = []
        for position, each in enumerate(elements(value)):
            try:
                out.append(framed(head, message(each, table, notes)))
            except BadField as bad:
                bad.path.insert(0, f"[{position}]")
                raise
        return b"".join(out)

    return encode


def elements(value: Any) -> list[Any]:
    """A JSON array. Raises BadField for anything else."""
    if type(value) is not list:
        raise BadField(f"must be an array, not {kind_of(value)}")
    return value


def message(value: Any, table: Table, notes: Notes) -> bytes:
    """The fields of a JSON object. Raises BadField where it is none, or a field is bad."""
    if type(value) is not dict:
        raise BadField(f"must be an object, not {kind_of(value)}")
    out = []
    for name, each in value.items():
        if each is None:
            continue
        encode = table.get(name)
        if encode is None:
            notes.unknown(name, table)
            continue
        try:
            out.append(encode(each, notes))
        except BadField as bad:
            bad.path.insert(0, name)
            raise
    return b"".join(out)


# -- attributes --------------------------------------------------------------------------------------------------

_KEY_VALUE: Final[Table] = {"key": string(1), "value": string(2)}


def attributes(number: int) -> Encoder:
    """A repeated KeyValue field."""
    head = tag(number, 2)
    return lambda value, notes: key_values(value, head, notes, 1)


def any_value(number: int) -> Encoder:
    """An AnyValue field."""
    head = tag(number, 2)
    return lambda value, notes: framed(head, value_of(value, notes, 1))


def key_values(value: Any, head: bytes, notes: Notes, depth: int) -> bytes:
    """Every KeyValue of a JSON array, each with tag `head`."""
    if type(value) is not list:
        raise BadField(
            f'must be an array of {{"key": ..., "value": {{"stringValue": ...}}}} pairs (KeyValue), '
            f"not {kind_of(value)}"
        )
    out = []
    for position, each in enumerate(value):
        try:
            out.append(framed(head, _key_value(each, notes, depth)))
        except BadField as bad:
            bad.path.insert(0, f"[{position}]")
            raise
    return b"".join(out)


def _key_value(pair: Any, notes: Notes, depth: int) -> bytes:
    if type(pair) is not dict:
        raise BadField(f"must be an object with key and value, not {kind_of(pair)}")
    key, value = pair.get("key"), pair.get("value")
    out = framed(b"\x0a", utf8(key, notes)) if key is not None else b""
    if len(pair) > 2:
        for name in pair.keys() - _KEY_VALUE.keys():
            notes.unknown(name, _KEY_VALUE)
    if value is None:
        return out
    try:
        return out + framed(b"\x12", value_of(value, notes, depth))
    except BadField as bad:
        bad.path.insert(0, "value")
        raise


def value_of(value: Any, notes: Notes, depth: int) -> bytes:
    """The one field of an AnyValue; of several the last counts, as on the wire. Empty where there is none."""
    if type(value) is not dict:
        raise BadField(f'must be an object such as {{"stringValue": "..."}}, not {kind_of(value)}')
    if depth > MAX_DEPTH:
        raise BadField(f"nesting deeper than {MAX_DEPTH}", "too_deep")
    out = b""
    for name, each in value.items():
        if each is None:
            continue
        encode = _VALUES.get(name)
        try:
            if encode is not None:
                out = encode(each, notes)
            elif name == "arrayValue":
                out = framed(b"\x2a", _array(each, notes, depth))
            elif name == "kvlistValue":
                out = framed(b"\x32", _kvlist(each, notes, depth))
            else:
                notes.unknown(name, _VALUE_NAMES)
        except BadField as bad:
            bad.path.insert(0, name)
            raise
    return out


def _members(value: Any, notes: Notes) -> Any:
    if type(value) is not dict:
        raise BadField(f'must be an object {{"values": [...]}}, not {kind_of(value)}')
    return value.get("values")


def _array(value: Any, notes: Notes, depth: int) -> bytes:
    members = _members(value, notes)
    if members is None:
        return b""
    out = []
    for position, each in enumerate(elements(members)):
        try:
            out.append(framed(b"\x0a", value_of(each if each is not None else {}, notes, depth + 1)))
        except BadField as bad:
            bad.path[:0] = ["values", f"[{position}]"]
            raise
    return b"".join(out)


def _kvlist(value: Any, notes: Notes, depth: int) -> bytes:
    members = _members(value, notes)
    return b"" if members is None else key_values(members, b"\x0a", notes, depth + 1)


def _boolean(value: Any, notes: Notes) -> bytes:
    if type(value) is not bool:
        raise BadField(f"must be true or false, not {kind_of(value)}")
    return b"\x10\x01" if value else b"\x10\x00"


def _integer(value: Any, notes: Notes) -> bytes:
    return b"\x18" + varint(whole(value, -(1 << 63), (1 << 63) - 1) & ((1 << 64) - 1))


_VALUES: Final[Table] = {
    "stringValue": string(1),
    "boolValue": _boolean,
    "intValue": _integer,
    "doubleValue": double(4),
    "bytesValue": lambda value, notes: framed(b"\x3a", base64_bytes(value)),
}
_VALUE_NAMES: Final[Table] = {**_VALUES, "arrayValue": _boolean, "kvlistValue": _boolean}
