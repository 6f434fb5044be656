"""Reads Parquet files as rows, by DuckDB, which is an extra: ``pip install '.[parquet]'``.

DuckDB takes 70 MB, pyarrow 170 MB, and both read row groups one after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from streams.errors import FeedError

_FETCHED = 5_000
"""Rows that are fetched at once."""


@contextmanager
def parquet_rows(
    path: Path,
) -> Iterator[tuple[Sequence[str], Iterator[tuple[int, dict[str, Any]]]]]:
    """Open a Parquet file: its columns, and its rows with their numbers from 1.

    Times with a zone become text with its offset, times without and dates text without one.

    Raises:
        FeedError: the extra is not installed, or the file is no Parquet; also while it is read.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise FeedError(
            f"{path}: Parquet needs the extra parquet: pip install '.[parquet]', or duckdb"
        ) from None
    with tempfile.TemporaryDirectory(prefix="kpi-feed-") as folder, duckdb.connect() as database:
        # DuckDB takes * and ? in the name of a file for a pattern.
        link = Path(folder) / "rows.parquet"
        link.symlink_to(path.resolve())
        source = f"read_parquet('{link}')"
        try:
            database.execute("SET threads = 1")
            described = database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
            names = [str(one[0]) for one in described]
            columns = ", ".join(_selected(name, str(kind)) for name, kind, *_ in described)
            cursor = database.execute(f"SELECT {columns} FROM {source}")  # noqa: S608
            yield names, _numbered(cursor, names)
        except duckdb.Error as error:
            raise FeedError(f"{path}: can't be read as Parquet: {error}") from None


def _selected(name: str, kind: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({column}))::VARCHAR || 'Z'"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"{column}::VARCHAR"
    return column


def _numbered(cursor: Any, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while rows := cursor.fetchmany(_FETCHED):
        for row in rows:
            number += 1
            yield number, dict(zip(names, map(_plain, row), strict=True))


def _plain(value: Any) -> Any:
    """Return a value as NDJSON would have it: numbers with a point as decimals."""
    if isinstance(value, float):
        return Decimal(str(value)) if isfinite(value) else None
    return value
