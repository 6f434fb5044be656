"""Reads files as rows: CSV, NDJSON and Parquet, also compressed by gzip."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from streams.errors import FeedError
from streams.feed.mapping.mapping_file import FileMapping
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.templates import Getter
from streams.feed.rows.parquet import parquet_rows

NDJSON_ENDINGS = {".ndjson", ".jsonl"}
_GZIP_MAGIC = b"\x1f\x8b"

Row = list[str] | dict[str, Any]
"""The cells of a CSV file in the order of its columns; the object of a line of NDJSON, or of a row
of Parquet."""
NumberedRow = tuple[int, Row | RowError]
"""The number of the line (of the row, in Parquet), from 1, and its row, or why it can't be read."""


class RowFile(NamedTuple):
    """A file that is open.

    Args:
        names: the columns; None if each row has its own.
        rows: the rows.
        of_cells: whether rows are lists of cells, not objects.
    """

    names: Sequence[str] | None
    rows: Iterator[NumberedRow]
    of_cells: bool = False

    def getter(self, column: str, nulls: frozenset[str]) -> Getter:
        """Return a function that returns a column's value of a row, or None if it is absent.

        White space around texts is left out. In NDJSON, ``user.id`` is the ``id`` of the object
        ``user``, unless there is such a column. A boolean is ``true`` or ``false``.

        Raises:
            LookupError: the file has no such column.
        """
        absent = nulls | {""}
        if self.of_cells and self.names is not None:
            return _cell(self.names.index(column), absent)
        return _member(column, absent)


def _cell(place: int, absent: frozenset[str]) -> Getter:
    def get(row: Any) -> str | None:
        text = row[place].strip()
        return None if text in absent else text

    return get


def _member(column: str, absent: frozenset[str]) -> Getter:
    path = column.split(".")

    def get(row: Any) -> Any:
        found = row.get(column)
        if found is None and len(path) > 1 and column not in row:
            found = row
            for name in path:
                found = found.get(name) if isinstance(found, dict) else None
        if type(found) is str:
            found = found.strip()
            return None if found in absent else found
        return str(found).lower() if isinstance(found, bool) else found

    return get


def has_member(row: dict[str, Any], column: str) -> bool:
    """Return whether an object of NDJSON has a column, if only as null."""
    return column in row or ("." in column and _member(column, frozenset())(row) is not None)


def format_of(path: Path, mapping: FileMapping) -> str:
    """Return the format of a file: ``csv``, ``ndjson`` or ``parquet``."""
    endings = [one.lower() for one in path.suffixes if one.lower() != ".gz"]
    ending = endings[-1] if endings else ""
    if ending in NDJSON_ENDINGS:
        return "ndjson"
    if mapping.format is not None:
        return mapping.format
    return "parquet" if ending == ".parquet" else "csv"


@contextmanager
def opened(path: Path, mapping: FileMapping) -> Iterator[RowFile]:
    """Open a file for reading its rows once.

    Raises:
        FeedError: the file can't be read; also while its rows are read.
    """
    shape = format_of(path, mapping)
    try:
        if shape == "parquet":
            with parquet_rows(path) as (names, rows):
                yield RowFile(names, rows)
            return
        with _text(path, "utf-8" if shape == "ndjson" else mapping.encoding) as lines:
            # A file with the name of NDJSON is one of refused rows, which has no such lines.
            skipped = 0 if _is_ndjson_by_name(path) else mapping.skip_lines
            for _ in range(skipped):
                next(lines, None)
            if shape == "ndjson":
                yield RowFile(None, _of_ndjson(lines, skipped))
            else:
                yield _table(path, mapping, lines)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FeedError(f"{path}: is damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise FeedError(
            f"{path}: is not {mapping.encoding}: {error.reason}; set encoding in the mapping"
        ) from None
    except OSError as error:
        raise FeedError(f"{path}: can't be read: {error.strerror}") from None


def not_in(encoding: str) -> str:
    """Return the message about bytes that are not in the encoding of a file."""
    return f"is not {encoding}; set encoding in the mapping, such as cp1252 or latin-1"


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _is_ndjson_by_name(path: Path) -> bool:
    return any(one.lower() in NDJSON_ENDINGS for one in path.suffixes)


def _text(path: Path, encoding: str) -> IO[str]:
    """Open a text file; bytes that are not in its encoding become surrogates.

    They refuse their row only. ``utf-8`` may begin with a byte order mark.
    """
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    is_utf_8 = encoding.lower().replace("_", "-") in {"utf-8", "utf8"}
    content = gzip.open(path) if compressed else path.open("rb")  # noqa: SIM115 - by the wrapper
    return TextIOWrapper(
        content,
        encoding="utf-8-sig" if is_utf_8 else encoding,
        errors="surrogateescape",
        newline="",
    )


def _table(path: Path, mapping: FileMapping, lines: IO[str]) -> RowFile:
    skipped = mapping.skip_lines
    if mapping.delimiter == "whitespace":
        cells_of = _split(lines)
    else:
        cells_of = _csv_cells(path, lines, mapping.delimiter, skipped)
    names: Sequence[str] = mapping.columns
    if not names:
        first = next(cells_of, None)
        if first is None:
            raise FeedError(f"{path}: line {skipped + 1}: no header line; the file is empty")
        names = [name.strip() for name in first[1]]
    if any(map(_has_surrogates, names)):
        raise FeedError(f"{path}: line {skipped + 1}: {not_in(mapping.encoding)}")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise FeedError(f"{path}: line {skipped + 1}: column {repeated!r} is there twice")
    return RowFile(names, _rows(cells_of, skipped, len(names)), of_cells=True)


def _rows(
    cells_of: Iterator[tuple[int, list[str]]], skipped: int, width: int
) -> Iterator[NumberedRow]:
    for number, cells in cells_of:
        if len(cells) < width:
            cells.extend([""] * (width - len(cells)))
        elif len(cells) > width:
            yield (
                skipped + number,
                RowError(
                    "has more fields than the file has columns",
                    f"has {len(cells)} fields, and the file {width} columns; a delimiter in a "
                    "field needs quotes around it",
                    _cells=cells,
                ),
            )
            continue
        yield skipped + number, cells


def _of_ndjson(lines: IO[str], skipped: int) -> Iterator[NumberedRow]:
    for line, text in enumerate(lines, start=skipped + 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            yield line, RowError("is not JSON", f"is not JSON: {error}", _text=text.rstrip())
            continue
        yield line, row if isinstance(row, dict) else RowError("is no object", _text=text.rstrip())


def _split(lines: IO[str]) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())


def _csv_cells(
    path: Path, lines: IO[str], delimiter: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        line = skipped + reader.line_num
        raise FeedError(f"{path}: line {line}: {error}; set delimiter in the mapping") from None
