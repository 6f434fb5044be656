"""The cold store: bytes by key, on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from models.window import HOUR_MS, PANE_MS, BusinessDay
from streams.kpis.storage.disk_cache import DiskCache
from tests.support.at_once import BucketsAtOnce
from tests.support.offline import NOON
from tests.unit.test_bucket_store import FacetCell, cell


def test_it_holds_what_was_put_last_and_begins_empty(tmp_path: Path) -> None:
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


def test_what_the_disk_does_not_take_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def execute(self, statement: str, *_: object) -> object:
            if statement.startswith("INSERT"):
                raise sqlite3.OperationalError("database or disk is full")
            return real.execute(statement, *_)

    store = DiskCache(tmp_path / "cold")
    store[b"old"] = b"0"
    real = store._file
    monkeypatch.setattr(store, "_file", Full())
    store[b"a"] = b"1"
    store[b"old"] = b"2"
    assert (store[b"a"], store[b"old"], len(store)) == (b"1", b"2", 2)
    assert store.pop(b"old") == b"2"
    assert b"old" not in store


def test_buckets_are_the_same_from_disk(tmp_path: Path) -> None:
    day = BusinessDay(ZoneInfo("UTC"))
    warm, spill = BucketsAtOnce(day), BucketsAtOnce(day, DiskCache(tmp_path / "cold"))
    for buckets in (warm, spill):
        for number in range(300):
            panes = {NOON + number * 6 * PANE_MS: [FacetCell("c1", "search", cell({number}))]}
            buckets.apply(panes, retracted={}, at_offset=number)
            list(buckets.take_segments())
            buckets.expire(NOON + number * 6 * PANE_MS)
    end = NOON + 5 * HOUR_MS
    one, two = (buckets.totals(end - 4 * HOUR_MS, end) for buckets in (warm, spill))
    assert {scope: total.sums for scope, total in one.items()} == {
        scope: total.sums for scope, total in two.items()
    }
    assert (tmp_path / "cold").stat().st_size > 0
