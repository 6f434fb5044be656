"""A bucket as it is stored: the offset that it last took, and its cells in columns."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.aggregates.cell import LevelWire
from models.aggregates.hyperloglog import REGISTERS
from models.aggregates.ingest_report import FacetCell
from models.scope import Facet
from streams.kpis.columnar.cell_columns import CellColumns, columns_of
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.user_columns import UserColumns


class _ColumnsWire(msgspec.Struct, array_like=True):
    """Columns whose rows are numbered by ``facets``; append only."""

    facets: list[Facet]
    places: bytes
    values: bytes
    hashes: bytes
    rows: bytes
    sets: bytes
    sketches: bytes
    registers: bytes
    levels: list[tuple[int, int, LevelWire]]


class _BucketWire(msgspec.Struct, array_like=True):
    """Versions before 0.2 wrote ``cells``, one by one; append only."""

    offset: int
    cells: list[FacetCell]
    columns: _ColumnsWire | None = None


class _Offset(msgspec.Struct, array_like=True):
    """The head of what is stored of a bucket; the rest is skipped."""

    offset: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BucketWire).decode
_decode_offset = msgspec.msgpack.Decoder(_Offset).decode


def offset_in(data: bytes) -> int:
    """Return the offset of what `encode` wrote."""
    return _decode_offset(data).offset


def encode(offset: int, columns: CellColumns, facets: FacetIndex) -> bytes:
    """Write a bucket."""
    rows = columns.rows()
    number_of = np.full(int(rows.max(initial=-1)) + 1, -1, np.int32)
    number_of[rows] = np.arange(len(rows))
    own = columns.by(number_of)
    wire = _ColumnsWire(
        facets=[facets.named[row] for row in rows.tolist()],
        places=_packed(own.places),
        values=_packed(own.values),
        hashes=own.users.hashes.tobytes(),
        rows=_packed(own.users.rows),
        sets=own.users.sets.tobytes(),
        sketches=_packed(own.users.sketches),
        registers=zlib.compress(own.users.registers.tobytes(), 1),
        levels=[(row, index, level) for (row, index), level in own.levels.items()],
    )
    return _encode(_BucketWire(offset, [], wire))


def decode(data: bytes, facets: FacetIndex) -> CellColumns:
    """Read what `encode`, or an older version, wrote."""
    bucket = _decode(data)
    wire = bucket.columns
    if wire is None:
        return columns_of(bucket.cells, facets.number)
    own = CellColumns(
        _unpacked(wire.places).astype(np.int64),
        _unpacked(wire.values).astype(np.int64),
        UserColumns.of(
            np.frombuffer(wire.hashes, np.uint64),
            _unpacked(wire.rows).astype(np.int32),
            np.frombuffer(wire.sets, np.uint8),
            _unpacked(wire.sketches).astype(np.int64),
            np.frombuffer(zlib.decompress(wire.registers), np.uint8).reshape(-1, REGISTERS),
        ),
        {(row, index): level for row, index, level in wire.levels},
    )
    return own.by(facets.numbers(wire.facets))


def _packed(column: npt.NDArray[np.signedinteger[Any]]) -> bytes:
    """Write whole numbers as narrow as they are: how many bytes each, and the bytes."""
    for width in (1, 2, 4):
        bits = 8 * width - 1
        if -1 << bits <= column.min(initial=0) and column.max(initial=0) < 1 << bits:
            return b"%d" % width + column.astype(f"<i{width}").tobytes()
    return b"8" + column.astype("<i8").tobytes()


def _unpacked(data: bytes) -> npt.NDArray[np.signedinteger[Any]]:
    """Read what `_packed` wrote."""
    return np.frombuffer(data, f"<i{data[:1].decode()}", offset=1)
