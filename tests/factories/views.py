"""Views of a worker, and the text of /metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from models.events import SOURCE_KINDS
from streams.engine.runtime.running_job import EngineStats
from streams.export.metrics.text_format import MetricsText
from streams.export.report_queries import ReportQueries
from streams.export.web import WebServer
from streams.export.worker_view import WorkerView
from streams.ingest.job import IngestJob
from streams.kpis.view import KpiView
from streams.operations import synthetic
from tests.factories.times import UTC_DAY
from tests.support.customers import context
from tests.support.offline import NOON, UNUSED_POSITION, Path, Record, ingest_job


def worker(kpis: KpiView | None) -> WorkerView:
    """Return the view of a worker that runs; without ``kpis`` it is not the owner."""
    return WorkerView(
        worker="w",
        now_ms=NOON,
        phase="running",
        clock_skew_s=0.0,
        recovery=None,
        engine=EngineStats(),
        sources=3,
        kpis=kpis,
        alerts_delivered=0,
        delivery_failures=0,
    )


def synthetic_view() -> WorkerView:
    """Return the view of a worker that read a minute of the synthetic campaign.

    The last customer orders once more: in a minute hardly any returns by chance.
    """
    oddities = synthetic.Oddities(duplicates=0, late=0, broken=0)
    feed = synthetic.Synthetic(seed=11, clicks_per_second=40, oddities=oddities)
    path, customers = Path(now_ms=NOON), context()
    path.sources = {
        (kind, 0): ingest_job(kind, campaigns=synthetic.CAMPAIGNS, customers=customers)
        for kind in SOURCE_KINDS
    }
    by_topic: dict[str, IngestJob] = {kind: job for (kind, _), job in path.sources.items()}
    records = list(feed.records(NOON, NOON + 60_000))
    order = next(one for one in reversed(records) if b'"order_placed"' in one.value)
    again = json.loads(order.value) | {"event_id": "again", "order_id": "again"}
    records.append(order._replace(value=json.dumps(again).encode()))
    for offset, record in enumerate(records):
        by_topic[record.topic].apply([Record(offset, record.due_ms, record.key, record.value)])
    path.report()
    path.now_ms = NOON + 20 * 60_000  # past a quarter of an hour, at which weeks close
    path.finish()
    path.kpis.tick(UNUSED_POSITION, now_ms=path.now_ms + 60_000)
    return worker(path.kpis.view)


def queries(**options: Any) -> ReportQueries:
    """Return the queries of a deployment in UTC and yuan; ``options`` are those of the class."""
    return ReportQueries(day=UTC_DAY, currency="CNY", **options)


def metrics(view: WorkerView, exports: ReportQueries) -> str:
    """Return what a scrape of a worker with that view gets, in the plain format."""
    return MetricsText(lambda: view, exports).answer(accept="", accept_encoding="").body.decode()


@contextmanager
def served(kpis: KpiView, exports: ReportQueries) -> Iterator[str]:
    """Serve the page of a worker with these KPIs; return its address.

    The worker's clock runs: a page whose clock stands still says that it is stale.
    """
    started_s = time.monotonic()

    def view() -> WorkerView:
        passed_ms = int(1000 * (time.monotonic() - started_s))
        return replace(worker(kpis), now_ms=NOON + passed_ms)

    server = WebServer(view, host="127.0.0.1", port=0, exports=exports, share=None)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
