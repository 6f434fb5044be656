"""The KPI stage: merging, completeness, windows, corrections, restarts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report
from models.alerts import Alert
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.kpi.user_catalogue import Largest
from models.scope import ALL, Scope, others_of
from models.window import DAY_MS, MINUTE_MS
from streams.alerting.rules.registry import RuleBook
from streams.engine.contracts import Position
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.intake.report_ledger import Ledger, Verdict
from streams.kpis.job import KpiJob
from tests.factories.events import as_table, campaign_events
from tests.factories.reports import report
from tests.support import oracle
from tests.support.compare import differences
from tests.support.offline import (
    NOON,
    UNUSED_POSITION,
    ClosedKey,
    Path,
    Record,
    event,
    kpi_job,
    saved_from,
)

SOURCES = [("clicks", 0), ("orders", 0)]


def frontier(*marks: Report) -> int:
    completeness = Frontier(SOURCES)
    for mark in marks:
        completeness.record(mark)
    return completeness.advance()


def test_frontier_waits_for_every_source() -> None:
    """Nothing is complete before every source has reported."""
    assert frontier(report(watermark_ms=500)) == 0


def test_the_slowest_source_decides() -> None:
    assert frontier(report(watermark_ms=500), report("orders", watermark_ms=300)) == 300


def test_idle_source_does_not_delay_the_frontier() -> None:
    """An idle source does not delay the frontier."""
    idle = report("orders", watermark_ms=300, idle=True)
    assert frontier(report(watermark_ms=500), idle) == 500
    assert frontier(report(watermark_ms=500, idle=True), idle) == 500


def test_empty_source_does_not_delay_the_frontier() -> None:
    """A source that never had an event does not delay the frontier."""
    assert frontier(report(watermark_ms=500), report("orders", idle=True)) == 500


def test_source_read_ahead_counts_as_of_then() -> None:
    """A source read ahead counts as it stood when the slowest source was read."""
    completeness = Frontier(SOURCES)
    completeness.record(report(read_up_to_ms=1_000, watermark_ms=500))
    completeness.record(report(read_up_to_ms=2_000, watermark_ms=9_000))
    completeness.record(report("orders", read_up_to_ms=1_500, idle=True))
    assert completeness.advance() == 500
    completeness.record(report("orders", read_up_to_ms=2_000, idle=True))
    assert completeness.advance() == 9_000


def test_lag_is_unknown_until_something_was_read() -> None:
    """A source that reported and read nothing yet says nothing about how old its records are."""
    completeness = Frontier([("clicks", 0), ("orders", 0)])
    completeness.record(report(read_up_to_ms=1_000, watermark_ms=500))
    completeness.record(report("orders", read_up_to_ms=0))
    assert completeness.reporting == 2
    assert completeness.read_up_to_ms is None
    assert completeness.advance() == 0
    completeness.record(report("orders", read_up_to_ms=900, idle=True))
    assert completeness.read_up_to_ms == 900


def test_the_frontier_never_goes_back() -> None:
    completeness = Frontier(SOURCES, frontier_ms=700)
    completeness.record(report(watermark_ms=500))
    completeness.record(report("orders", watermark_ms=500))
    assert completeness.advance() == 700


def ruled(*made: Report) -> list[Verdict]:
    ledger = Ledger()
    return [ledger.rule(one).verdict for one in made]


def test_a_report_sent_again_is_applied_once() -> None:
    first = report(to_offset=5)
    assert ruled(first, first) == [Verdict.APPLIED, Verdict.REPEATED]


def test_higher_epoch_replaces_a_report() -> None:
    """A report of a higher epoch replaces that of a lower one, which then overlaps."""
    zombie = report(to_offset=9)
    successor = report(to_offset=5, epoch=2)
    follows = report(from_offset=5, to_offset=12, epoch=2)
    assert ruled(zombie, successor, follows) == [
        Verdict.APPLIED,
        Verdict.REPLACED,
        Verdict.APPLIED,
    ]
    assert ruled(successor, zombie, follows) == [
        Verdict.APPLIED,
        Verdict.OVERLAPPING,
        Verdict.APPLIED,
    ]


def test_lower_epoch_is_refused() -> None:
    """Once a report of a higher epoch is applied, reports of the lower epoch are refused."""
    successor = report(to_offset=5, epoch=2)
    refused = report(to_offset=9)
    goes_on = report(from_offset=9, to_offset=20)
    follows = report(from_offset=5, to_offset=25, epoch=2)
    assert ruled(successor, refused, goes_on, follows) == [
        Verdict.APPLIED,
        Verdict.OVERLAPPING,
        Verdict.OVERLAPPING,
        Verdict.APPLIED,
    ]


def test_a_heartbeat_is_no_report() -> None:
    assert ruled(report(from_offset=7, to_offset=7)) == [Verdict.HEARTBEAT]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 1000, 0.0002, 0.0056),
    ],
)
def test_wilson_intervals(successes: int, n: int, low: float, high: float) -> None:
    """Wilson intervals equal published values."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_every_window_equals_the_calculation(zone: str, partitions: int) -> None:
    events = campaign_events(7)
    path = Path(partitions=partitions, zone=zone)
    path.feed(events, batch=37)
    path.finish()
    table = as_table(events)
    ends = {(name, oracle.window_start(name, end, zone), end) for name, end in path.compared}
    required = {end for end in oracle.required_ends(table, zone) if end[2] <= NOON + 900_000}
    assert required <= ends
    expected = oracle.values(table, ends, zone, compared=path.compared)
    assert not differences(path.closed, expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 200))
def test_partitions_and_batches_change_nothing(seed: int, partitions: int, batch: int) -> None:
    events = campaign_events(seed, count=120, span_ms=200_000)
    whole, split = Path(), Path(partitions=partitions)
    whole.feed(events)
    whole.finish()
    split.feed(events, batch=batch)
    split.finish()
    shared = whole.closed.keys() & split.closed.keys()
    assert len(shared) > 100
    # Batches decide when observation of all sources began, and so what is compared.
    for key in shared:
        alike = whole.compared[key.window, key.end] == split.compared[key.window, key.end]
        kpis = [kpi.name for kpi in CATALOGUE.values() if alike or not kpi.looks_back]
        one, two = whole.closed[key], split.closed[key]
        assert {name: one.get(name) for name in kpis} == {name: two.get(name) for name in kpis}


def reports_of(events: list[dict[str, Any]], *, batch: int) -> list[bytes]:
    """Return the records that ingest would send."""
    path = Path()
    sent: list[bytes] = []
    path.deliver = lambda outputs: sent.extend(output.value for output in outputs)
    path.feed(events, batch=batch)
    path.finish()
    assert len(sent) > 9
    path.finish()  # all sources once more: heartbeats, which a restart waits for
    return sent


def final(job: KpiJob) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Return the newest values of every window, and the counts of records by topic."""
    job.tick(UNUSED_POSITION, now_ms=NOON + 10**9)
    assert job.view is not None
    values = {name: evaluation.values for name, evaluation in job.view.latest.items()}
    return values, dict(job.view.totals)


def apply_each(job: KpiJob, records: list[Record]) -> None:
    """Apply records one by one: batches decide when observation of all sources began."""
    for one in records:
        job.apply([one])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_a_restart_at_any_moment_changes_nothing(seed: int, data: st.DataObject) -> None:
    sent = reports_of(campaign_events(seed, count=80, span_ms=200_000), batch=10)
    records = [Record(offset, NOON, None, value) for offset, value in enumerate(sent)]
    straight = kpi_job(publish=False)
    apply_each(straight, records)

    saved_at = data.draw(st.integers(1, len(records) - 3))
    crashed_at = data.draw(st.integers(saved_at, len(records)))
    job = kpi_job(publish=False)
    apply_each(job, records[:saved_at])
    head = job.snapshot()
    apply_each(job, records[saved_at:crashed_at])
    # A crash after the segments were written and before the head was: the
    # buckets are newer than the state that names the offset.
    newer = job.snapshot()
    saved = saved_from([head], offset=saved_at - 1)
    mixed = {**saved.segments, **{key: value for key, value in newer.segments if value}}
    for segments in (saved.segments, mixed):
        resumed = kpi_job(
            publish=False,
            saved=type(saved)(offset=saved.offset, state=saved.state, segments=dict(segments)),
        )
        apply_each(resumed, records[saved_at:])
        assert final(resumed) == final(straight)


def test_late_data_correct_a_window_that_was_closed() -> None:
    path = Path()
    path.feed([event(at=NOON + 1_000, event_id="a"), event(at=NOON + 120_000, event_id="b")])
    path.finish()
    key = ClosedKey("1m", NOON + 10_000)
    assert path.closed[key]["clicks"][0] == 1
    path.feed([event(at=NOON + 2_000, event_id="late", user_id="u2")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 2
    assert path.closed[key]["unique_visitors"][0] == 2


def test_window_of_late_data_is_corrected() -> None:
    """A window that exists only because of late data is corrected by more late data."""
    path = Path()
    path.feed([event(at=NOON, event_id="a"), event(at=NOON + 300_000, event_id="b")])
    path.finish()
    key = ClosedKey("1m", NOON + 110_000)
    assert key not in path.closed
    path.feed([event(at=NOON + 100_000, event_id="late")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 1
    path.feed([event(at=NOON + 75_000, event_id="later")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 2


def test_scope_first_seen_in_late_data() -> None:
    """A scope that first appears in late data is 0 in the later windows of that day."""
    path = Path()
    path.feed([event(at=NOON + second * 1_000, event_id=f"e{second}") for second in range(0, 200)])
    path.finish()
    key = ClosedKey("1m", NOON + 180_000, "campaign", "c2")
    assert key not in path.closed
    path.feed([event(at=NOON + 60_000, event_id="late", campaign_id="c2")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 0
    assert path.closed[key._replace(end=NOON + 70_000)]["clicks"][0] == 1


def test_alert_shows_corrected_evidence() -> None:
    """An alert shows that late data changed its evidence."""
    rule = {"name": "few", "kind": "threshold", "kpi": "clicks", "window": "1m", "below": 5}
    path = Path(rules=RuleBook.model_validate({"rules": [rule]}))
    steady = [event(at=NOON + second * 1_000, event_id=f"e{second}") for second in range(0, 300, 2)]
    # In batches, so that observation begins with the first of them.
    path.feed(steady, batch=20)
    path.feed([event(at=NOON + 390_000, event_id="after the gap")])
    path.finish()

    def told() -> list[Alert]:
        changes = [out.value for out in path.outputs if out.topic == "alerts"]
        return [one for one in map(Alert.model_validate_json, changes) if one.rule == "few"]

    fired = told()[-1]
    assert (fired.state.value, fired.correction) == ("firing", None)
    assert fired.fired_at_ms is not None
    late = [
        event(at=fired.fired_at_ms - 5_000 + number, event_id=f"late{number}")
        for number in range(9)
    ]
    path.feed(late)
    path.finish()
    corrected = next(one for one in told() if one.correction is not None)
    assert corrected.correction is not None
    assert corrected.fired_value is not None
    assert corrected.correction.value == corrected.fired_value + 9
    assert corrected.correction.holds


def test_heartbeat_shows_a_missing_report_once() -> None:
    """A heartbeat shows that a report is missing, and shows it once."""
    ledger = Ledger()
    ledger.rule(report(from_offset=-1, to_offset=9))
    assert not ledger.rule(report(from_offset=9, to_offset=9)).missing
    assert not ledger.rule(report(from_offset=4, to_offset=4)).missing
    assert ledger.rule(report(from_offset=19, to_offset=19)).missing
    assert not ledger.rule(report(from_offset=19, to_offset=19)).missing
    after = ledger.rule(report(from_offset=19, to_offset=29))
    assert (after.verdict, after.missing) == (Verdict.APPLIED, False)


def test_absent_inputs_give_absent_kpis_not_zero() -> None:
    path = Path()
    path.feed([event("order_placed", at=NOON, event_id="o")])
    path.finish()
    values = path.closed[ClosedKey("1m", NOON + 10_000)]
    assert values["orders"][0] == 1
    for absent in (
        "clicks",
        "impressions",
        "ctr",
        "spend",
        "cpc",
        "roas",
        "roi",
        "unique_visitors",
    ):
        assert absent not in values
    assert "conversion_rate" not in values


def test_an_input_that_never_came_is_absent() -> None:
    """Without a single order, conversion is absent; after the first one, of any campaign, it is 0.

    It stays 0 on the next day and after a restart.
    """

    path = Path()
    minute = iter(range(100))

    def clicked(at: int) -> set[str]:
        """Return the KPIs of c1 in the five minutes after a click at that time."""
        path.now_ms = max(path.now_ms, at)
        path.feed([event("click", at=at, event_id=f"c{next(minute)}")])
        path.finish()
        values = path.closed[ClosedKey("5m", at + 10_000, "campaign", "c1")]
        assert values["clicks"][0] == 1
        return {name for name in ("orders", "conversion_rate", "revenue_gross") if name in values}

    assert not clicked(NOON)
    order = event("order_placed", at=NOON + 11 * MINUTE_MS, event_id="o", campaign_id="c2")
    path.feed([order])
    assert clicked(NOON + 30 * MINUTE_MS) == {"orders", "conversion_rate", "revenue_gross"}
    path.kpis = kpi_job(saved=path.saved)
    assert clicked(NOON + DAY_MS) == {"orders", "conversion_rate", "revenue_gross"}


def test_input_seen_earlier_that_day_is_zero() -> None:
    """An input that was seen earlier that day is 0 in a window without it, and not absent."""
    path = Path()
    path.feed(
        [
            event(
                "spend_reported", at=NOON, event_id="s", amount=5, currency="CNY", channel="search"
            ),
            event("click", at=NOON + 600_000, event_id="c"),
        ]
    )
    path.finish()
    values = path.closed[ClosedKey("1m", NOON + 610_000)]
    assert values["spend"][0] == 0
    assert "roas" not in values


def test_the_view_says_how_complete_the_data_are() -> None:
    job = kpi_job()
    job.apply([Record(0, NOON, None, ingest_report.encode([report(behind=4)]))])
    job.tick(Position(caught_up_at_ms=NOON, behind=0), now_ms=NOON)
    assert job.view is not None
    health = job.view.health
    assert (health.reporting, health.expected, health.lag_s, health.behind) == (1, 3, None, 4)
    assert health.missing == [("campaigns", 0), ("orders", 0)]


def test_regions_and_segments_are_scopes() -> None:
    """Events that name a region or a segment are counted in its scope."""
    path = Path()
    path.feed(
        [
            event(at=NOON, event_id="a", region="east", segment="members"),
            event(at=NOON + 1, event_id="b", region="west"),
            event(at=NOON + 2, event_id="c", campaign_id="c2"),
        ]
    )
    path.finish()
    counts = {
        Scope(*key[2:]): values["clicks"][0]
        for key, values in path.closed.items()
        if (key.window, key.end) == ("1m", NOON + 10_000)
    }
    assert counts[ALL] == 3
    assert counts[Scope("region", region="east")] == 1
    assert counts[Scope("campaign_region", "c1", region="west")] == 1
    assert counts[Scope("segment", segment="members")] == 1
    assert not [scope for scope in counts if scope.campaign == "c2" and scope.region]


def test_campaigns_beyond_the_largest_are_together_other() -> None:
    campaigns = [Campaign(id=f"k{number}") for number in range(5)]
    path = Path(campaigns=campaigns)
    path.kpis = kpi_job(largest=Largest(campaign=2))
    path.feed(
        [
            event(
                at=NOON + click, event_id=f"{number}-{click}", campaign_id=f"k{number}", user_id="u"
            )
            for number in range(5)
            for click in range(number + 1)
        ]
    )
    path.finish()
    path.kpis.tick(UNUSED_POSITION, now_ms=path.now_ms + 10_000)
    view = path.kpis.view
    assert view is not None
    latest = view.latest["day"]
    assert {one.campaign for one in latest.small if one.kind == "campaign"} == {"k0", "k1", "k2"}
    other = latest.other[others_of("campaign")]
    assert other["clicks"].value == 1 + 2 + 3
    assert other["unique_visitors"].value == 1
    assert latest.values[Scope("campaign", "k0")]["clicks"].value == 1
