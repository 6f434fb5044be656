"""Every closed window of two real data sets equals an independent calculation.

The input goes through real Kafka at full speed, with one and with three workers, which
keep customers in a real Valkey. CI plays a part; `make proof` plays everything.
The calculation is tests/support/oracle.py, in SQL, and shares no code with the
monitor. Integers and money are equal exactly, ratios to 12 digits; all distinct
counts here are below the sketch's limit and therefore exact too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from models.window import DAY_MS, MINUTE_MS
from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from tests.support import oracle
from tests.support.attribution_sql import Customers
from tests.support.cluster import Cluster
from tests.support.compare import Published, differences, published_once_closed

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Cluster]:
    settings = {"KPI_PUBLISH_VALUES": "true", "KPI_REDIS": valkey.url}
    made = Cluster(kafka.address, tmp_path, settings)
    yield made
    made.stop()


def prove(
    cluster: Cluster,
    events: pl.DataFrame,
    *,
    file: Path,
    mapping: Path,
    workers: int,
    timeout_s: float,
) -> Published:
    """Compare every closed window, and return what was published."""
    cluster.command("topics", "--create")
    cluster.command("feed", str(file), "--mapping", str(mapping), "--speed", "max")
    for _ in range(workers):
        cluster.start()
    # What is read to its end goes on at the pace of the clock: to the next end of a day so far.
    newest_ms = int(events["event_time_ms"].max())
    last_end = (newest_ms // MINUTE_MS + 1) * MINUTE_MS
    picture = cluster.until(
        lambda live: (
            live["health"].get("events") == len(events) and (live["frontier"] or 0) >= last_end
        ),
        timeout_s=timeout_s,
        why=f"{len(events)} events counted up to {last_end}",
    )
    assert picture["health"]["counted"] == len(events)
    assert picture["health"]["dead_letters"] == picture["health"]["duplicates"] == 0

    required = {end for end in oracle.required_ends(events, "UTC") if end[2] <= picture["frontier"]}
    told = published_once_closed(lambda: cluster.read("values"), required)
    got, ends = told.values, told.ends
    missing = sorted(required - ends, key=lambda end: end[2])
    assert not missing, f"{len(missing)} windows were never closed: {missing[:3]} … {missing[-3:]}"
    expected = oracle.values(
        events,
        ends,
        "UTC",
        customers=Customers(),
        compared=told.compared,
        pasts=told.pasts,
    )
    wrong = differences(got, expected, in_order=workers == 1)
    assert not wrong, f"{len(wrong)} of {len(expected)} differ:\n" + "\n".join(sorted(wrong)[:10])
    print(f"\n{len(expected)} values' rows of {len(ends)} closed windows are equal")
    return got


@pytest.mark.parametrize(
    ("workers", "before"),
    [
        (3, "2019-12"),
        pytest.param(1, "2019-12", marks=pytest.mark.full),
        pytest.param(3, "2021", marks=pytest.mark.full),
    ],
)
def test_shop_log_equals_the_calculation(
    cluster: Cluster, shop_log: Path, repository: Path, tmp_path: Path, workers: int, before: str
) -> None:
    """Every window of the shop's log equals the calculation in SQL.

    Played are the first month, 1,004 of 18,911 events, and the whole log.
    """
    head, *lines = shop_log.read_text(encoding="utf-8").splitlines()
    part = tmp_path / "log.csv"
    kept = [line for line in lines if line.rpartition(",")[2] < before]
    part.write_text("\n".join([head, *kept, ""]), encoding="utf-8")
    prove(
        cluster,
        oracle.shop_events(part),
        file=part,
        mapping=repository / "config" / "shop-log.yaml",
        workers=workers,
        timeout_s=1_200 if len(kept) == len(lines) else 450,
    )


@pytest.mark.parametrize(
    ("workers", "of_every", "before"),
    [
        (1, 8, "199707"),
        *(pytest.param(workers, 1, "9999", marks=pytest.mark.full) for workers in (1, 3)),
    ],
)
def test_every_window_of_cdnow_equals_the_calculation(
    cluster: Cluster,
    cdnow_file: Path,
    repository: Path,
    tmp_path: Path,
    workers: int,
    of_every: int,
    before: str,
) -> None:
    """Every eighth customer's first half-year; and all of all."""
    whole = oracle.cdnow_events(cdnow_file)
    assert (len(whole), whole["user_id"].n_unique()) == (69_659, 23_570)
    head, *lines = cdnow_file.read_text(encoding="ascii").splitlines()
    part = tmp_path / "cdnow.txt"
    kept = [
        line for line in lines if int(line.split()[0]) % of_every == 0 and line.split()[1] < before
    ]
    part.write_text("\n".join([head, *kept, ""]), encoding="ascii")
    events = oracle.cdnow_events(part)
    got = prove(
        cluster,
        events,
        file=part,
        mapping=repository / "config" / "cdnow.yaml",
        workers=workers,
        timeout_s=1_200 if of_every == 1 else 450,
    )
    # All orders are at midnight: the first window of each day has them all.
    days = [
        kpis
        for (window, end, scope, *_), kpis in got.items()
        if (window, end % DAY_MS, scope) == ("day", MINUTE_MS, "all")
    ]
    assert sum(kpis["orders"][0] for kpis in days) == len(events)
    assert sum(kpis["new_customers"][0] for kpis in days) == events["user_id"].n_unique()
    retained = {key[0] for key, kpis in got.items() if "retention_rate" in kpis}
    assert retained == {"day", "week", "month"}
