"""Disk cache for spilled buckets.

The changelog is the source of truth. The file is a copy, rebuilt each time the stage is opened, so
it is neither synced nor expected to survive a crash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path


class DiskCache(MutableMapping[bytes, bytes]):
    """Bytes by key in an SQLite file; an existing file is deleted first.

    If SQLite can't write, for example because the disk is full, new entries stay in memory. This
    cache does not end the worker: its table store does, when its own writes fail.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # The stage may be reopened or closed in another thread than the one that created it.
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("PRAGMA cache_size = -4096")  # KiB
        self._file.execute("CREATE TABLE cold (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._kept: dict[bytes, bytes] = {}

    def __setitem__(self, key: bytes, value: bytes) -> None:
        """Store a value, in place of any earlier one; in memory if the file can't be written."""
        try:
            self._file.execute("INSERT OR REPLACE INTO cold VALUES (?, ?)", (key, value))
        except sqlite3.Error:
            self._kept[key] = value
        else:
            self._kept.pop(key, None)

    def __getitem__(self, key: bytes) -> bytes:
        """Return the value that was stored last."""
        if key in self._kept:
            return self._kept[key]
        row = self._file.execute("SELECT value FROM cold WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __delitem__(self, key: bytes) -> None:
        """Remove a value."""
        found = self._file.execute("DELETE FROM cold WHERE key = ?", (key,)).rowcount
        if self._kept.pop(key, None) is None and not found:
            raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the keys."""
        yield from self._kept
        for (key,) in self._file.execute("SELECT key FROM cold"):
            if key not in self._kept:
                yield key

    def __len__(self) -> int:
        """Return the number of keys. This iterates over all of them."""
        return sum(1 for _ in self)
