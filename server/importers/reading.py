"""Lines of JSONL files, plain or gzip, with every fault named as file:line.

Nothing here trusts a file: it may be empty, binary, cut off, in another encoding, or one endless line.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import InvalidInput

LONGEST_LINE: Final = 64 * 1024 * 1024  # bytes; the collector refuses a larger request anyway
LARGEST_WHOLE_FILE: Final = 512 * 1024 * 1024  # bytes after decompression, where a file must be read whole
_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class BadLine(InvalidInput):
    """A part of a file that cannot be imported. `line` counts from 1; 0 means the file as a whole."""

    code = "bad_line"

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line that is not blank: its file, its number from 1, its bytes without the line end and without a BOM."""

    path: Path
    number: int
    content: bytes


def lines(path: Path) -> Iterator[Line]:
    """The lines of a text file, decompressed where its first bytes say gzip, whatever it is called.

    Raises BadLine: the file is missing, a folder, unreadable, empty, binary, not UTF-8, or has a line over
    LONGEST_LINE; or its compression ends early or is damaged (the lines before were already given).
    """
    number = 0
    with closing(open_decompressed(path)) as stream:
        try:
            while content := stream.readline(LONGEST_LINE + 1):
                number += 1
                if number == 1:
                    content = _without_bom(path, content)
                if len(content) > LONGEST_LINE:
                    raise BadLine(path, number, f"the line is longer than {LONGEST_LINE // 2**20} MiB; is it JSONL?")
                content = content.strip()
                if content:
                    yield Line(path=path, number=number, content=_text(path, number, content))
        except EOFError:
            raise BadLine(path, number + 1, "the gzip data ends early: the file was cut off; fetch it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadLine(path, number + 1, f"the gzip data is damaged ({error}); fetch the file again") from None
        except OSError as error:
            raise BadLine(path, number + 1, f"cannot be read: {error.strerror or error}") from None
    if number == 0:
        raise BadLine(path, 0, "is empty")


def whole(path: Path) -> bytes:
    """All bytes of a file, decompressed where its first bytes say gzip. Raises BadLine like `lines`."""
    with closing(open_decompressed(path)) as stream:
        try:
            content = stream.read(LARGEST_WHOLE_FILE + 1)
        except EOFError:
            raise BadLine(path, 0, "the gzip data ends early: the file was cut off; fetch it again") from None
        except (OSError, zlib.error) as error:
            raise BadLine(path, 0, f"cannot be read: {error}") from None
    if len(content) > LARGEST_WHOLE_FILE:
        raise BadLine(path, 0, f"holds more than {LARGEST_WHOLE_FILE // 2**20} MiB in one piece; split it into lines")
    if not content:
        raise BadLine(path, 0, "is empty")
    return content


def open_decompressed(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """The file's bytes as a stream, through gzip where its first two bytes say so. Raises BadLine if it cannot open."""
    try:
        raw = path.open("rb")
        is_gzip = raw.peek(2)[:2] == _GZIP_MAGIC
    except FileNotFoundError:
        raise BadLine(path, 0, "there is no such file") from None
    except IsADirectoryError:
        raise BadLine(path, 0, "is a folder; name the files in it") from None
    except (OSError, ValueError) as error:
        raise BadLine(path, 0, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not is_gzip:
        return raw
    raw.close()
    return gzip.open(path, "rb")


def _without_bom(path: Path, content: bytes) -> bytes:
    if content.startswith(_UTF16_BOMS):
        raise BadLine(path, 1, "is UTF-16 text; save it as UTF-8")
    return content.removeprefix(_UTF8_BOM)


def _text(path: Path, number: int, content: bytes) -> bytes:
    if b"\x00" in content:
        raise BadLine(path, number, "holds zero bytes: this is not a text file")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise BadLine(
            path, number, f"is not UTF-8 text (byte {error.start} of the line is 0x{content[error.start]:02x})"
        ) from None
    return content
