"""The cold store: bytes by key, on disk."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.aggregates.ingest_report import FacetCell
from models.window import HOUR_MS, PANE_MS
from streams.kpis.storage.disk_cache import DiskCache
from tests.factories.cells import clicks_of
from tests.factories.times import UTC_DAY
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON


def test_cache_holds_the_last_values(tmp_path: Path) -> None:
    """The cache holds the value that was stored last, and is empty when opened."""
    store = DiskCache(tmp_path / "cold")
    store[b"a"] = b"1"
    store[b"a"] = b"2"
    store[b"b"] = b"3"
    assert (store[b"a"], len(store), sorted(store)) == (b"2", 2, [b"a", b"b"])
    assert store.pop(b"a") == b"2"
    with pytest.raises(KeyError):
        store[b"a"]
    with pytest.raises(KeyError):
        del store[b"a"]
    assert list(DiskCache(tmp_path / "cold")) == []


def test_full_disk_keeps_entries_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that can't be written to the disk stay in memory."""

    class Disk(sqlite3.Connection):
        full = False

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if self.full and statement.startswith("INSERT"):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(statement, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Disk))
    store = DiskCache(tmp_path / "cold")
    store[b"old"] = b"0"
    monkeypatch.setattr(Disk, "full", True)
    store[b"a"] = b"1"
    store[b"old"] = b"2"
    assert (store[b"a"], store[b"old"], len(store)) == (b"1", b"2", 2)
    assert store.pop(b"old") == b"2"
    assert b"old" not in store


def test_buckets_are_the_same_from_disk(tmp_path: Path) -> None:
    warm, spill = BucketsAtOnce(UTC_DAY), BucketsAtOnce(UTC_DAY, DiskCache(tmp_path / "cold"))
    for buckets in (warm, spill):
        for number in range(300):
            panes = {NOON + number * 6 * PANE_MS: [FacetCell("c1", "search", clicks_of({number}))]}
            buckets.apply(panes, retracted={}, at_offset=number)
            list(buckets.take_segments())
            buckets.expire(NOON + number * 6 * PANE_MS)
    end = NOON + 5 * HOUR_MS
    one, two = (buckets.totals(end - 4 * HOUR_MS, end) for buckets in (warm, spill))
    assert {scope: total.sums for scope, total in one.items()} == {
        scope: total.sums for scope, total in two.items()
    }
    assert (tmp_path / "cold").stat().st_size > 0
