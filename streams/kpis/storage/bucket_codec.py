"""Encoding of a bucket: MessagePack of its last applied offset and its cells in columns.

The facets of a bucket are numbered from 0 in the order of its own list ``facets``, because the
numbers of a `FacetIndex` differ from worker to worker. So are its custom sums and levels, from
`FIRST_CUSTOM`, in the order of its lists of their names. Integer columns are stored in the smallest
width that holds all their values; HyperLogLog registers are compressed with zlib.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.aggregates.cell import LevelWire
from models.aggregates.hyperloglog import REGISTERS
from models.scope import Facet
from streams.kpis.columnar.cell_columns import CellColumns
from streams.kpis.columnar.custom_index import CustomIndex
from streams.kpis.columnar.facet_index import FacetIndex
from streams.kpis.columnar.user_columns import UserColumns


class _ColumnsWire(msgspec.Struct, array_like=True):
    """Columns; row i is ``facets[i]``. Fields are appended, never reordered or removed.

    ``custom_sums`` and ``custom_levels`` have the names of the custom measures in the bucket.
    """

    facets: list[Facet]
    places: bytes
    values: bytes
    hashes: bytes
    rows: bytes
    sets: bytes
    sketches: bytes
    registers: bytes
    levels: list[tuple[int, int, LevelWire]]
    custom_sums: list[str] = []
    custom_levels: list[str] = []


class _BucketWire(msgspec.Struct, array_like=True):
    """A stored bucket; fields are appended, never reordered or removed."""

    offset: int
    columns: _ColumnsWire


class _Offset(msgspec.Struct, array_like=True):
    """The first field of a stored bucket; the others are not decoded."""

    offset: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BucketWire).decode
_decode_offset = msgspec.msgpack.Decoder(_Offset).decode


def offset_in(data: bytes) -> int:
    """Return the offset of an encoded bucket, without decoding its cells."""
    return _decode_offset(data).offset


def encode(offset: int, columns: CellColumns, facets: FacetIndex) -> bytes:
    """Encode a bucket.

    Args:
        offset: of the last record of reports that the bucket contains.
        columns: its cells by facet, merged.
        facets: the numbering of the rows of ``columns``.
    """
    rows = columns.rows()
    number_of = np.full(int(rows.max(initial=-1)) + 1, -1, np.int32)
    number_of[rows] = np.arange(len(rows))
    custom, known = CustomIndex(), facets.custom
    own = columns.by(number_of).renumbered(known.sums, known.levels, custom=custom)
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
        custom_sums=custom.sums,
        custom_levels=custom.levels,
    )
    return _encode(_BucketWire(offset, wire))


def decode(data: bytes, facets: FacetIndex) -> CellColumns:
    """Decode the cells of a bucket.

    Args:
        data: the encoded bucket.
        facets: the numbering of the rows of the result; unknown facets get a number.
    """
    wire = _decode(data).columns
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
    named = own.renumbered(wire.custom_sums, wire.custom_levels, custom=facets.custom)
    return named.by(facets.numbers(wire.facets))


def _packed(column: npt.NDArray[np.signedinteger[Any]]) -> bytes:
    """Encode integers in the smallest width that holds all of them.

    The first byte is the width in bytes as an ASCII digit (1, 2, 4 or 8). The integers follow,
    signed and little-endian.
    """
    for width in (1, 2, 4):
        bits = 8 * width - 1
        if -1 << bits <= column.min(initial=0) and column.max(initial=0) < 1 << bits:
            return b"%d" % width + column.astype(f"<i{width}").tobytes()
    return b"8" + column.astype("<i8").tobytes()


def _unpacked(data: bytes) -> npt.NDArray[np.signedinteger[Any]]:
    """Decode the integers that `_packed` encoded."""
    return np.frombuffer(data, f"<i{data[:1].decode()}", offset=1)
