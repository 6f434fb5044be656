"""Looks at a file: its format, encoding, delimiter, columns, and first rows."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from streams.errors import FeedError
from streams.feed.mapping.mapping_file import FileMapping
from streams.feed.mapping.row_errors import RowError
from streams.feed.rows.readers import format_of, opened

SAMPLE_ROWS = 20_000
"""Rows that are looked at; the whole file is read once a mapping is made."""
_FIRST_LINES = 60
_MOST_SKIPPED = 20
_DELIMITERS = ",;\t|"
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_NOT_A_NAME = re.compile(r"[-+]?[\d.,:/\s]*\d[\d.,:/\s]*|[^@\s]+@[^@\s]+\.\w+|")
"""Cells that are no names of columns: numbers, times, e-mail addresses, and nothing."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The look of a file.

    Args:
        path: the file.
        layout: the keys of its mapping that say how it is read, such as ``delimiter``.
        names: its columns; in NDJSON those of nested objects have points.
        rows: the texts of its first rows by column; absent values are left out.
        in_json: whether numbers are written with a decimal point in any case.
        notes: what is not sure.
        is_whole: whether `rows` are all rows.
    """

    path: Path
    layout: dict[str, Any]
    names: tuple[str, ...]
    rows: list[dict[str, str]]
    in_json: bool
    notes: list[str] = field(default_factory=list)
    is_whole: bool = True


def probe(path: Path) -> Probe:
    """Look at a file.

    Raises:
        FeedError: it can't be read, or has no rows.
    """
    layout: dict[str, Any] = {}
    notes: list[str] = []
    names: tuple[str, ...] = ()
    shape = format_of(path, FileMapping.model_construct())
    try:
        if shape == "csv":
            names = _probe_text(path, layout, notes)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FeedError(f"{path}: is damaged: {error}") from None
    except csv.Error as error:
        raise FeedError(f"{path}: is no table: {error}") from None
    except OSError as error:
        raise FeedError(f"{path}: can't be read: {error.strerror}") from None
    mapping = FileMapping.model_construct(**layout)
    rows: list[dict[str, str]] = []
    with opened(path, mapping) as file:
        is_table = file.of_cells
        names = names or tuple(file.names or ())
        taken = [one for _, one in islice(file.rows, SAMPLE_ROWS + 1)]
    for row in taken[:SAMPLE_ROWS]:
        if isinstance(row, RowError):
            continue
        pairs = zip(names, row, strict=True) if isinstance(row, list) else _flat(row)
        rows.append({name: text for name, value in pairs if (text := _text(value))})
    if not rows:
        raise FeedError(f"{path}: has no rows")
    if not is_table:
        names = tuple(dict.fromkeys((*names, *(name for row in rows for name in row))))
    return Probe(path, layout, names, rows, not is_table, notes, len(taken) <= SAMPLE_ROWS)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value).strip()


def _flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _content(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    return cast("BinaryIO", gzip.open(path) if compressed else path.open("rb"))


def _probe_text(path: Path, layout: dict[str, Any], notes: list[str]) -> tuple[str, ...]:
    """Find encoding, delimiter and header of a text file, and return its columns."""
    encoding = _encoding(path)
    if encoding != "utf-8":
        layout["encoding"] = encoding
        if encoding in {"cp1252", "latin-1"}:
            notes.append(f"encoding: it is not UTF-8; {encoding} is a guess, look at its umlauts")
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    with TextIOWrapper(_content(path), codec, errors="replace", newline="") as reader:
        lines = list(islice(reader, _FIRST_LINES))
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("{"):
        layout["format"] = "ndjson"
        layout.pop("encoding", None)
        return ()
    if first.startswith("["):
        raise FeedError(
            f"{path}: is a list of JSON; write a line for each object, such as with jq -c '.[]'"
        )
    delimiter, width = _delimiter(lines)
    if delimiter != ",":
        layout["delimiter"] = delimiter
    numbered = [*_cells(lines, delimiter)]
    place = next((at for at, (_, cells) in enumerate(numbered) if len(cells) == width), 0)
    if not numbered:
        raise FeedError(f"{path}: is empty")
    before = numbered[place - 1][0] if 0 < place <= _MOST_SKIPPED else 0
    cells = [cell.strip() for cell in numbered[place][1]]
    has_header = not any(map(_NOT_A_NAME.fullmatch, cells)) or (
        sum(map(bool, map(_NOT_A_NAME.fullmatch, cells))) <= len(cells) // 3
        and not any(re.search(r"\d", cell) for cell in cells)
    )
    usable = has_header and len({*cells}) == len(cells) and all(map(_is_usable, cells))
    if not usable:
        named = [re.sub(r"[{}!:]", "", cell) if has_header and cell else "" for cell in cells]
        cells = [
            name if name and named.count(name) == 1 else f"{name or 'column'}_{number}"
            for number, name in enumerate(named, start=1)
        ]
        layout["columns"] = cells
        if has_header:
            before = numbered[place][0]
            notes.append("columns: the header has empty, repeated or unusual names; renamed here")
        else:
            notes.append("columns: the file has no header line; give the columns their names here")
    if before:
        layout["skip_lines"] = before
    return tuple(cells)


def _is_usable(name: str) -> bool:
    return bool(name) and not re.search(r"[{}!:]", name)


def _encoding(path: Path) -> str:
    """Return the encoding of a file, of which all bytes are read."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _content(path) as content:
        first = content.read(_CHUNK)
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        other = "latin-1" if re.search(rb"[\x81\x8d\x8f\x90\x9d]", first) else "cp1252"
        chunk = first
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = content.read(_CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return other
    return "utf-8"


def _cells(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    if delimiter == "whitespace":
        yield from ((at, line.split()) for at, line in enumerate(lines, start=1) if line.strip())
        return
    reader = csv.reader(lines, delimiter=delimiter)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _delimiter(lines: list[str]) -> tuple[str, int]:
    """Return the delimiter with which most lines have the same number of cells, and that number."""
    best, found = 0.0, (",", 1)
    for delimiter in (*_DELIMITERS, "whitespace"):
        widths = Counter(len(cells) for _, cells in _cells(lines, delimiter))
        if not widths:
            continue
        (width, count), *_ = widths.most_common(1)
        share = count / widths.total()
        # A comma within numbers splits rows, but not the header: it fits fewer lines.
        if width > 1 and share > best + 0.01 and (delimiter != "whitespace" or best < 0.5):
            best, found = share, (delimiter, width)
    return found
