"""Protobuf in plain Python, for the rare signals: messages split without decoding them, values as JSON values."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from core.errors import TooLarge, Undecodable

MOST_FIELDS: Final = 1_500_000  # of one request, those of log records and data points not counted


def plain(value: AnyValue) -> Any:
    """A value as JSON values: NaN and infinities as words, bytes as {"$bytes": base64}, an empty value as None."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            number = value.double_value
            if math.isfinite(number):
                return number
            return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
        case "bytes_value":
            return {"$bytes": base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return _object(value.kvlist_value.values)
        case _:
            return None


def _object(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: plain(each.value) for each in pairs}


class Walk:
    """Splits the messages of one request without decoding them; it gives up beyond a number of fields, because this is
    plain Python: half a second per million."""

    def __init__(self, most: int = MOST_FIELDS) -> None:
        """`most` fields and messages in all."""
        self._most = most
        self._left = most

    def fields(self, body: bytes, *wanted: int) -> list[bytes]:
        """The payloads of the length-delimited fields numbered `wanted` of a protobuf message; others are skipped.

        Raises Undecodable where `body` is not a protobuf message, TooLarge where the request has too many fields.
        """
        found, at, left = [], 0, self._left
        while at < len(body):
            left -= 1
            if left <= 0:
                raise TooLarge(f"the request holds more than {self._most} fields to walk through; send smaller batches")
            key, at = _varint(body, at)
            match key & 7:
                case 0:
                    _, at = _varint(body, at)
                case 1:
                    at += 8
                case 2:
                    length, at = _varint(body, at)
                    if key >> 3 in wanted:
                        found.append(body[at : at + length])
                    at += length
                case 5:
                    at += 4
                case _:
                    at = len(body) + 1
            if at > len(body) or key >> 3 == 0:
                raise Undecodable("not a valid protobuf request: a field is malformed or runs past the end")
        self._left = left - 1
        return found


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise Undecodable("not a valid protobuf request: a number is cut or too long")
