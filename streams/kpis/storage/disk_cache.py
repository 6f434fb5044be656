"""Where buckets are kept that are seldom looked at: on disk, out of memory.

The truth is in the changelog; this is a copy that is made anew whenever the stage
is opened, so it needs neither to be synced nor to survive.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path


class DiskCache(MutableMapping[bytes, bytes]):
    """Bytes by key in an SQLite file that begins empty.

    Should the disk take no more, what is put stays in memory: the worker ends by
    its own table store anyway, and not by this.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # The stage is reopened, and may be closed, from another thread than it was made in.
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("PRAGMA cache_size = -4096")  # KiB
        self._file.execute("CREATE TABLE cold (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._kept: dict[bytes, bytes] = {}

    def __setitem__(self, key: bytes, value: bytes) -> None:
        """Put bytes, in place of what was there."""
        try:
            self._file.execute("INSERT OR REPLACE INTO cold VALUES (?, ?)", (key, value))
        except sqlite3.Error:
            self._kept[key] = value
        else:
            self._kept.pop(key, None)

    def __getitem__(self, key: bytes) -> bytes:
        """Return what was put last."""
        if key in self._kept:
            return self._kept[key]
        row = self._file.execute("SELECT value FROM cold WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __delitem__(self, key: bytes) -> None:
        """Remove what was put."""
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
        """Return how many there are."""
        return sum(1 for _ in self)
