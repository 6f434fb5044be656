"""Since when all sources are observed together."""

from __future__ import annotations

import pytest

from models.aggregates.ingest_report import PanesWire, Report, SourceStats
from models.window import HOUR_MS, MINUTE_MS, PANE_MS
from streams.kpis.coverage.observation import NOT_OBSERVED, Observation
from tests.support.offline import NOON


def report(
    topic: str = "clicks",
    partition: int = 0,
    *,
    first: int | None = NOON,
    watermark_ms: int = NOON + HOUR_MS,
    after: int = -1,
) -> Report:
    """Return a first report: its first pane, the offset before it, and its watermark."""
    panes: PanesWire = {} if first is None else {first: []}
    return Report(
        topic=topic,
        partition=partition,
        epoch=1,
        from_offset=after,
        to_offset=after + 9,
        read_up_to_ms=NOON + HOUR_MS,
        watermark_ms=watermark_ms,
        idle=False,
        stats=SourceStats(),
        panes=panes,
    )


def whole_from(*reports: Report, known: bool = True) -> int:
    """Return since when all sources of some first reports are observed."""
    observation = Observation()
    for one in reports if known else ():
        observation.record_source(one)
    observation.record_whole({(one.topic, one.partition): one.watermark_ms for one in reports})
    return observation.whole_from_ms


def test_history_is_observed_from_its_beginning() -> None:
    """Topics that are read from their first records in one go are observed since the first event.

    Each topic may begin later than another, and partitions of one have no events at first.
    """
    clicks = [report(partition=0), report(partition=1, first=NOON + 4 * MINUTE_MS)]
    orders = report("orders", first=NOON + MINUTE_MS)
    assert whole_from(*clicks) == NOON + PANE_MS
    assert whole_from(*clicks, orders) == NOON + MINUTE_MS + PANE_MS


def test_records_that_are_not_held_any_more() -> None:
    """A partition whose first records are gone is whole after its first watermark."""
    truncated = report("orders", after=41, watermark_ms=NOON + 30 * MINUTE_MS)
    assert whole_from(report(), truncated) == NOON + 30 * MINUTE_MS + PANE_MS


def test_topic_without_panes() -> None:
    """Definitions of campaigns have no panes, and do not delay observation."""
    assert whole_from(report(), report("campaigns", first=None)) == NOON + PANE_MS


def test_only_the_first_report_counts() -> None:
    later = report(first=NOON - HOUR_MS, after=8)
    assert whole_from(report(), later) == NOON + PANE_MS


def test_after_a_restart() -> None:
    """Of sources whose first report came before a restart, the watermark counts."""
    assert whole_from(report(), known=False) == NOON + HOUR_MS + PANE_MS


@pytest.mark.parametrize("known", [True, False])
def test_without_events(known: bool) -> None:
    """A source without events says nothing; what is known once stays."""
    observation = Observation()
    observation.record_source(report(watermark_ms=0))
    assert observation.whole_from_ms == NOT_OBSERVED
    if known:
        observation.record_source(report())
    observation.record_whole({("clicks", 0): NOON})
    assert observation.whole_from_ms == NOON + PANE_MS
    observation.record_source(report("orders", first=NOON + HOUR_MS))
    observation.record_whole({("clicks", 0): NOON + HOUR_MS})
    assert observation.whole_from_ms == NOON + PANE_MS
