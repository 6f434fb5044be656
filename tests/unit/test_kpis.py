"""The KPI stage: merging, completeness, windows, corrections, restarts."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report, SourceStats
from models.alerts import Alert, RuleBook
from models.campaigns.campaign import Campaign
from models.kpi.catalogue import CATALOGUE
from models.scope import Scope
from streams.engine.contracts import Position
from streams.kpis.calculation.confidence_intervals import wilson
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.intake.report_ledger import Ledger, Verdict
from streams.kpis.job import KpiJob
from tests.support import oracle
from tests.support.compare import differences
from tests.support.offline import NOON, Path, Record, event, kpi_job, saved_from

SOURCES = [("clicks", 0), ("orders", 0)]


def report(topic: str = "clicks", **changed: Any) -> Report:
    made: dict[str, Any] = {
        "topic": topic,
        "partition": 0,
        "epoch": 1,
        "from_offset": -1,
        "to_offset": -1,
        "read_up_to_ms": 1_000,
        "watermark_ms": 0,
        "idle": False,
        "stats": SourceStats(),
    }
    return Report(**made | changed)


def frontier(*marks: Report) -> int:
    completeness = Frontier(SOURCES)
    for mark in marks:
        completeness.record(mark)
    return completeness.advance()


def test_nothing_is_complete_before_every_source_has_reported() -> None:
    assert frontier(report(watermark_ms=500)) == 0


def test_the_slowest_source_decides() -> None:
    assert frontier(report(watermark_ms=500), report("orders", watermark_ms=300)) == 300


def test_an_idle_source_holds_nobody_back() -> None:
    idle = report("orders", watermark_ms=300, idle=True)
    assert frontier(report(watermark_ms=500), idle) == 500
    assert frontier(report(watermark_ms=500, idle=True), idle) == 500


def test_a_source_that_never_had_an_event_holds_nobody_back() -> None:
    assert frontier(report(watermark_ms=500), report("orders", idle=True)) == 500


def test_a_source_read_far_ahead_counts_as_it_stood_when_the_idle_one_was_read() -> None:
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


def test_a_successor_takes_back_what_a_zombie_reported() -> None:
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


def test_a_zombie_does_not_go_on_after_its_successor_has_begun() -> None:
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
def test_wilson_intervals_are_those_of_the_books(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def campaign_events(seed: int, *, count: int = 400, span_ms: int = 900_000) -> list[dict[str, Any]]:
    """Return events in order of time, of all types that have KPIs."""
    rnd = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number, at in enumerate(sorted(rnd.randrange(span_ms) for _ in range(count))):
        kind = rnd.choices(
            ["impression", "click", "visit", "order_placed", "order_refunded", "spend_reported"],
            [3, 5, 3, 2, 1, 1],
        )[0]
        body: dict[str, Any] = {"event_id": f"e{number}", "campaign_id": rnd.choice(["c1", "c2"])}
        body["channel"] = rnd.choice(["search", "feed"])
        if kind != "spend_reported":
            body["user_id"] = f"u{rnd.randrange(40)}"
        if kind == "impression":
            body["count"] = rnd.randrange(1, 9)
        if kind in {"order_placed", "order_refunded", "spend_reported"}:
            body |= {"amount": f"{rnd.randrange(100_000) / 100:.2f}", "currency": "CNY"}
        if kind == "order_refunded":
            body["order_id"] = f"o{number}"
        made.append(event(kind, at=NOON + at, **body))
    return made


KIND = {"order_placed": "order", "order_refunded": "refund", "spend_reported": "spend"}


def as_table(events: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [
        {
            "event_time_ms": body["event_time"],
            "kind": (kind := KIND.get(body["type"], body["type"])),
            "user_id": body.get("user_id"),
            "campaign": body["campaign_id"],
            "channel": body["channel"],
            "amount": round(float(body.get("amount", 0)) * 10_000),
            "count": 0 if kind == "order" else body.get("count", 1),
        }
        for body in events
    ]
    return oracle.typed(pl.DataFrame(rows))


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
        alike = whole.compared[key[:2]] == split.compared[key[:2]]
        kpis = [kpi.name for kpi in CATALOGUE.values() if alike or not kpi.looks_back]
        one, two = whole.closed[key], split.closed[key]
        assert {name: one.get(name) for name in kpis} == {name: two.get(name) for name in kpis}


def reports_of(events: list[dict[str, Any]], *, batch: int) -> list[bytes]:
    """Return the records that ingest would send."""
    path = Path()
    sent: list[bytes] = []
    path.deliver = lambda outputs: sent.extend(output.value for output in outputs)  # type: ignore[method-assign]
    path.feed(events, batch=batch)
    path.finish()
    assert len(sent) > 9
    path.finish()  # all sources once more: heartbeats, which a restart waits for
    return sent


def final(job: KpiJob) -> dict[str, Any]:
    job.tick(Position(caught_up_at_ms=None, behind=0), now_ms=NOON + 10**9)
    return {name: evaluation.values for name, evaluation in job._closer.latest.items()}


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
        assert resumed._counted.totals == straight._counted.totals
        assert final(resumed) == final(straight)


def test_late_data_correct_a_window_that_was_closed() -> None:
    path = Path()
    path.feed([event(at=NOON + 1_000, event_id="a"), event(at=NOON + 120_000, event_id="b")])
    path.finish()
    key = ("1m", NOON + 10_000, "all", "", "", "", "")
    assert path.closed[key]["clicks"][0] == 1
    path.feed([event(at=NOON + 2_000, event_id="late", user_id="u2")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 2
    assert path.closed[key]["unique_visitors"][0] == 2


def test_a_window_that_late_data_made_is_corrected_by_later_ones() -> None:
    path = Path()
    path.feed([event(at=NOON, event_id="a"), event(at=NOON + 300_000, event_id="b")])
    path.finish()
    key = ("1m", NOON + 110_000, "all", "", "", "", "")
    assert key not in path.closed
    path.feed([event(at=NOON + 100_000, event_id="late")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 1
    path.feed([event(at=NOON + 75_000, event_id="later")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 2


def test_a_scope_that_late_data_show_first_is_zero_in_the_windows_after_it() -> None:
    path = Path()
    path.feed([event(at=NOON + second * 1_000, event_id=f"e{second}") for second in range(0, 200)])
    path.finish()
    key = ("1m", NOON + 180_000, "campaign", "c2", "", "", "")
    assert key not in path.closed
    path.feed([event(at=NOON + 60_000, event_id="late", campaign_id="c2")])
    path.finish()
    assert path.closed[key]["clicks"][0] == 0
    assert path.closed["1m", NOON + 70_000, "campaign", "c2", "", "", ""]["clicks"][0] == 1


def test_an_alert_whose_evidence_late_data_change_says_so() -> None:
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


def test_heartbeats_show_that_a_report_is_missing_once() -> None:
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
    values = path.closed["1m", NOON + 10_000, "all", "", "", "", ""]
    assert values["orders"][0] == 1
    assert values["clicks"][0] == 0
    for absent in ("impressions", "ctr", "spend", "cpc", "roas", "roi", "unique_visitors"):
        assert absent not in values
    assert "conversion_rate" not in values


def test_an_input_seen_earlier_that_day_makes_zero_the_truth() -> None:
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
    values = path.closed["1m", NOON + 610_000, "all", "", "", "", ""]
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


def test_regions_and_segments_are_scopes_of_events_that_name_them() -> None:
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
        key[2:]: values["clicks"][0]
        for key, values in path.closed.items()
        if key[:2] == ("1m", NOON + 10_000)
    }
    assert counts["all", "", "", "", ""] == 3
    assert counts["region", "", "", "east", ""] == 1
    assert counts["campaign_region", "c1", "", "west", ""] == 1
    assert counts["segment", "", "", "", "members"] == 1
    assert not [key for key in counts if key[0] == "campaign_region" and key[1] == "c2"]


def test_campaigns_beyond_the_largest_are_together_other() -> None:
    campaigns = [Campaign(id=f"k{number}") for number in range(5)]
    path = Path(campaigns=campaigns)
    path.kpis = kpi_job(top_campaigns=2)
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
    path.kpis.tick(Position(caught_up_at_ms=None, behind=0), now_ms=path.now_ms + 10_000)
    view = path.kpis.view
    assert view is not None
    latest = view.latest["day"]
    assert latest.small == {"k0", "k1", "k2"}
    assert latest.other["clicks"].value == 1 + 2 + 3
    assert latest.other["unique_visitors"].value == 1
    assert latest.values[Scope("campaign", "k0")]["clicks"].value == 1
