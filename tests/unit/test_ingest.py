"""Ingest: what counts, what does not, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.campaigns.campaign import Campaign
from models.dead_letters import Reason
from models.kpi.measures import SUM_INDEX
from streams.engine.contracts import Position
from tests.factories.reports import apply, letters, reported, sums
from tests.support.at_once import settled
from tests.support.offline import NOON, event, ingest_job, kind_of, record, saved_from


def test_events_are_folded_into_their_panes() -> None:
    job = ingest_job("orders")
    apply(
        job,
        event("order_placed", at=NOON, event_id="a", amount="12.3456"),
        event("order_placed", at=NOON + 9_999, event_id="b", amount=0.1),
        event(
            "order_refunded", at=NOON + 9_999, event_id="r", order_id="o", amount=5, currency="CNY"
        ),
        event("order_placed", at=NOON + 10_000, event_id="c", amount=7),
    )
    report = reported(job.snapshot())
    assert sums(report)[SUM_INDEX["orders"]] == 2
    assert sums(report)[SUM_INDEX["revenue_gross"]] == 123_456 + 1_000
    assert sums(report)[SUM_INDEX["revenue_refunded"]] == 50_000
    assert sums(report, pane=NOON + 10_000)[SUM_INDEX["revenue_gross"]] == 70_000
    assert (report.from_offset, report.to_offset) == (-1, 3)


def test_spend_counts_at_its_campaign_and_channel() -> None:
    """Spend counts at the campaign and channel that its event names."""
    job = ingest_job("campaigns")
    apply(job, event("spend_reported", amount="3.5", currency="CNY", channel="feed"))
    report = reported(job.snapshot())
    (row,) = report.panes[NOON]
    assert (row.campaign, row.channel) == ("c1", "feed")
    assert row.cell.sums[SUM_INDEX["spend"]] == 35_000


def test_rfc_3339_times_are_event_times_too() -> None:
    job = ingest_job()
    apply(job, event(event_time="2023-11-14T20:00:00+08:00"))
    assert sums(reported(job.snapshot()))[SUM_INDEX["clicks"]] == 1


GOOD = {"clicks": "click", "orders": "order_placed", "campaigns": "spend_reported"}


def defined(**body: Any) -> dict[str, Any]:
    """Return the event of a campaign's definition."""
    return event("campaign_defined", **{"name": "C", **body})


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("clicks", b"not json", Reason.NOT_JSON),
        ("clicks", b"", Reason.EMPTY),
        ("clicks", b'{"type":"click"', Reason.NOT_JSON),
        ("clicks", b"[" * 100_000, Reason.INVALID_SHAPE),
        ("clicks", b'{"type":"click","deep":' + b"[" * 100_000, Reason.NOT_JSON),
        ("clicks", b"x" * 1_000_000, Reason.OVERSIZE),
        ("clicks", {**event(), "event_id": 5.5}, Reason.INVALID_SHAPE),
        ("clicks", {**event(), "event_id": True}, Reason.INVALID_SHAPE),
        ("clicks", {**event(), "event_id": None}, Reason.INVALID_SHAPE),
        ("clicks", {**event(), "event_id": ""}, Reason.INVALID_SHAPE),
        ("clicks", {"type": "click", "event_time": NOON, "user_id": "u"}, Reason.INVALID_SHAPE),
        ("clicks", {**event(), "type": "teleport"}, Reason.UNKNOWN_TYPE),
        ("clicks", event("order_placed"), Reason.UNKNOWN_TYPE),
        ("clicks", {"event_id": "x"}, Reason.UNKNOWN_TYPE),
        ("clicks", {**event(), "event_time": "yesterday"}, Reason.INVALID_TIME),
        ("clicks", {**event(), "event_time": "2023-11-14T20:00:00"}, Reason.INVALID_TIME),
        ("clicks", {**event(), "event_time": NOON + 3_600_000}, Reason.FAR_FUTURE),
        ("clicks", {**event(), "event_time": 10**18}, Reason.FAR_FUTURE),
        ("clicks", {**event(), "event_time": 1_000}, Reason.FAR_PAST),
        ("clicks", {**event(), "event_time": "2023-11-14T12:60Z"}, Reason.INVALID_TIME),
        ("clicks", {**event(), "event_time": 1.7e300}, Reason.INVALID_SHAPE),
        ("campaigns", defined(budget={"amount": 1e30, "currency": "CNY"}), Reason.INVALID_AMOUNT),
        ("clicks", {**event(), "event_time": -5}, Reason.FAR_PAST),
        ("clicks", {**event(), "event_id": "a\0b"}, Reason.NUL_CHARACTER),
        (
            "clicks",
            json.dumps(event()).replace("u1", "\udcff").encode("utf-8", "surrogateescape"),
            Reason.INVALID_UTF8,
        ),
        ("orders", event("order_placed", amount="-1"), Reason.INVALID_AMOUNT),
        ("orders", event("order_placed", amount="NaN"), Reason.INVALID_AMOUNT),
        ("orders", event("order_placed", amount="1e400"), Reason.INVALID_AMOUNT),
        ("orders", event("order_placed", currency="USD"), Reason.UNKNOWN_CURRENCY),
        ("orders", event("order_placed", currency="¥"), Reason.UNKNOWN_CURRENCY),
        ("orders", event("order_placed", amount=True), Reason.INVALID_SHAPE),
        ("orders", event("order_placed", amount=None), Reason.INVALID_SHAPE),
        ("campaigns", event("measurement", metric="followers", value=-10), Reason.INVALID_AMOUNT),
        ("campaigns", event("measurement", metric="awareness", value=12.5), Reason.INVALID_AMOUNT),
        ("campaigns", defined(name="C\0"), Reason.NUL_CHARACTER),
        ("campaigns", defined(aliases=["c", "C\0"]), Reason.NUL_CHARACTER),
        ("campaigns", defined(stages=[{"name": "\0", "starts": NOON}]), Reason.NUL_CHARACTER),
        ("campaigns", defined(campaign_id="rate/USD"), Reason.INVALID_SHAPE),
        ("campaigns", defined(campaign_id="end/c1"), Reason.INVALID_SHAPE),
    ],
)
def test_bad_input_is_a_dead_letter(kind: str, body: object, reason: Reason) -> None:
    """Bad input becomes a dead letter with its reason, and changes nothing else."""
    good = event(GOOD[kind], amount="1", currency="CNY", event_id="good")
    alone = ingest_job(kind)
    apply(alone, good)
    job = ingest_job(kind)
    raw = record(body, offset=0)
    job.apply([raw, record(good, offset=1)])
    snapshot = job.snapshot()
    (letter,) = letters(snapshot)
    assert letter.reason == reason
    assert (letter.topic, letter.partition, letter.offset) == (kind, 0, 0)
    assert (letter.key, letter.value or b"") == (raw.key, raw.value)
    assert reported(snapshot).stats.dead_letters == {reason: 1}
    assert reported(snapshot).panes == reported(alone.snapshot()).panes


ORDERS = {"order_id": "1001", "user_id": "7", "event_id": "5"}


@pytest.mark.parametrize(
    ("kind", "sent", "meant"),
    [
        (
            "click",
            {"channel": None, "traffic": None, "segment": None, "page": None},
            {"channel": ""},
        ),
        ("visit", {"pages": None, "dwell_ms": None, "region": None}, {}),
        ("impression", {"count": None, "campaign": None}, {}),
        ("order_placed", {"items": None, "channel": None}, {"channel": ""}),
        ("spend_reported", {"channel": None, "cost": None, "amount": 2.5}, {"amount": "2.5"}),
        ("order_placed", {"order_id": 1001, "user_id": 7, "event_id": 5}, ORDERS),
        ("order_placed", {"channel": None, "items": 2.0}, {"channel": "", "items": 2}),
        ("click", {"channel": None, "event_time": NOON + 0.0}, {"channel": ""}),
        ("click", {"channel": 12, "region": 3}, {"channel": "12", "region": "3"}),
        ("order_placed", {"currency": " cny "}, {}),
        (
            "order_placed",
            {"channel": None, "amount": 182.45000000000002},
            {"channel": "", "amount": "182.45"},
        ),
        ("order_placed", {"amount": 12345678.12345}, {"amount": "12345678.1234"}),
        ("click", {"event_time": "2023-11-14t11:59:59.9996z"}, {"event_time": NOON - 1}),
        ("click", {"event_time": "2023-11-14T19:59:60+08:00"}, {"event_time": NOON - 1}),
        ("click", {"event_time": "2023-11-14T11:59:60.5Z"}, {"event_time": NOON - 1}),
    ],
)
def test_lenient(kind: str, sent: dict[str, Any], meant: dict[str, Any]) -> None:
    """Events are counted as they are meant, in whichever of the usual ways they are written."""
    base = {"amount": "100", "currency": "CNY"}
    reports = []
    for body in (sent, meant):
        job = ingest_job(kind_of({"type": kind}))
        apply(job, {**event(kind, event_id="e", **base), **body})
        reports.append(reported(job.snapshot()))
    assert reports[0] == reports[1]
    assert reports[0].stats.counted == 1
    assert reports[0].panes


def test_event_ids_by_type() -> None:
    """An event id is unique among the events of its type."""
    job = ingest_job("orders")
    same = {"event_id": "1001", "order_id": "1001"}
    apply(job, event("order_placed", **same), event("registration", **same))
    apply(job, event("order_refunded", amount="1", currency="CNY", **same), first=2)
    stats = reported(job.snapshot()).stats
    assert (stats.counted, stats.duplicates) == (3, 0)


def test_repeated_event_id_counts_once() -> None:
    """An event id that is repeated counts once, also after a restart."""
    job = ingest_job()
    apply(job, event(event_id="same"), event(event_id="same"))
    first = job.snapshot()
    assert reported(first).stats.duplicates == 1
    restarted = ingest_job(saved=saved_from([first], offset=1))
    apply(restarted, event(event_id="same"), first=2)
    report = reported(restarted.snapshot())
    assert (report.stats.duplicates, report.panes) == (1, {})


def test_expired_ids_are_dropped() -> None:
    """Event ids are dropped after the horizon, and their segments are removed."""
    job = ingest_job()
    apply(job, event(event_id="old"))
    kept = dict(job.snapshot().segments)
    job.apply([record(event(event_id="young", at=NOON + 1_200_000), offset=1, at=NOON + 1_200_000)])
    later = dict(job.snapshot().segments)
    assert set(kept) <= {key for key, value in later.items() if value is None}


def test_late_and_too_late_events() -> None:
    """Late events count; those beyond the correction horizon are dead letters."""
    job = ingest_job()
    apply(
        job,
        event(at=NOON, event_id="now"),
        event(at=NOON - 5_000, event_id="in order"),
        event(at=NOON - 5_001, event_id="late"),
        event(at=NOON - 605_000, event_id="just in time"),
        event(at=NOON - 605_001, event_id="too late"),
    )
    snapshot = job.snapshot()
    stats = reported(snapshot).stats
    assert (stats.counted, stats.late) == (4, 2)
    assert [letter.reason for letter in letters(snapshot)] == [Reason.TOO_LATE]


def test_campaign_is_found_by_id_or_name() -> None:
    """A campaign is found by its id, then by a name, and never guessed."""
    job = ingest_job()
    apply(
        job,
        event(event_id="1"),
        event(event_id="2", campaign_id=None, campaign=" FIRST "),
        event(event_id="3", campaign_id=None, campaign="第一"),
        event(event_id="4", campaign_id="c9"),
        event(event_id="5", campaign_id=None),
    )
    report = reported(job.snapshot())
    counted = {row.campaign: row.cell.sums[SUM_INDEX["clicks"]] for row in report.panes[NOON]}
    assert counted == {"c1": 3, "(unknown)": 1, "(none)": 1}
    assert report.stats.unknown_samples == {"campaign": ["c9"]}


def test_ambiguous_name_is_no_campaign() -> None:
    """A name that two campaigns have means neither."""
    job = ingest_job("campaigns")
    for number in ("a", "b"):
        apply(job, event("campaign_defined", event_id=number, campaign_id=number, name="Twin"))
    assert job.campaigns.find("twin").campaign == "(unknown)"
    assert job.campaigns.find("a").campaign == "a"


def test_a_definition_goes_to_the_registry() -> None:
    job = ingest_job("campaigns")
    apply(job, event("campaign_defined", campaign_id="c7", name="Seventh", aliases=["7"]))
    (output,) = job.snapshot().early_outputs
    assert (output.topic, output.key) == ("registry", b"c7")
    assert json.loads(output.value)["aliases"] == ["7"]


def test_a_definition_has_a_plan_that_the_registry_gets() -> None:
    job = ingest_job("campaigns")
    plan = {
        "budget": {"amount": "50000", "currency": "CNY"},
        "starts": "2023-11-01T00:00:00+08:00",
        "ends": NOON + 86_400_000,
        "stages": [{"name": "warm-up", "starts": "2023-11-01T00:00:00+08:00"}],
    }
    apply(job, event("campaign_defined", campaign_id="c7", name="Seventh", **plan))
    (output,) = settled(job.snapshot()).early_outputs
    campaign = Campaign.model_validate_json(output.value)
    assert campaign == job.campaigns.get("c7")
    assert campaign.budget is not None
    assert (campaign.budget.amount, campaign.stages[0].name) == (50_000, "warm-up")
    elapsed = campaign.elapsed(NOON)
    assert elapsed is not None
    assert elapsed.whole_ms - elapsed.so_far_ms == 86_400_000


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"starts": NOON, "ends": NOON}, "invalid_shape"),
        ({"ends": NOON}, "invalid_shape"),
        ({"starts": "tomorrow"}, "invalid_time"),
        ({"starts": 10**18}, "invalid_time"),
        ({"budget": {"amount": "-5", "currency": "CNY"}}, "invalid_shape"),
        ({"budget": {"amount": "5", "currency": "yuan"}}, "invalid_shape"),
        (
            {"stages": [{"name": "b", "starts": NOON}, {"name": "a", "starts": NOON - 1}]},
            "invalid_shape",
        ),
    ],
)
def test_impossible_plan_is_a_dead_letter(plan: dict[str, object], reason: str) -> None:
    """A campaign definition with an impossible plan is a dead letter."""
    job = ingest_job("campaigns")
    apply(job, event("campaign_defined", campaign_id="c7", name="Seventh", **plan))
    assert reported(settled(job.snapshot())).stats.dead_letters == {reason: 1}
    assert job.campaigns.get("c7") is None


def test_a_key_that_is_not_the_user_is_counted_as_mis_keyed() -> None:
    job = ingest_job()
    job.apply([record(event(), offset=0, key="somebody else")])
    assert reported(job.snapshot()).stats.mis_keyed == 1


def test_watermark_allows_for_disorder() -> None:
    """The watermark is the newest event time less the allowed disorder."""
    job = ingest_job()
    apply(job, event(at=NOON, event_id="a"), event(at=NOON - 3_000, event_id="b"))
    assert job.report().watermark_ms == NOON - 5_000
    assert not job.report().idle


def test_partition_without_records_becomes_idle() -> None:
    """A watermark without records advances with the broker's time, then its partition is idle."""
    job = ingest_job()
    apply(job, event(at=NOON), at=NOON + 50)
    job.snapshot()
    job.tick(Position(caught_up_at_ms=NOON + 1_250, behind=0), now_ms=NOON)
    assert (job.report().watermark_ms, job.report().idle) == (NOON - 5_000 + 1_000, False)
    job.tick(Position(caught_up_at_ms=NOON + 2_250, behind=0), now_ms=NOON)
    assert job.report().idle
    job.tick(Position(caught_up_at_ms=None, behind=9), now_ms=NOON)
    assert (job.report().idle, job.report().behind) == (False, 9)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_stop_the_stream(value: bytes) -> None:
    job = ingest_job()
    apply(job, value, event(event_id="good"))
    report = reported(job.snapshot())
    assert report.stats.records == 2
    assert sums(report)[SUM_INDEX["clicks"]] == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=6,
    ),
    st.sampled_from(["event_id", "event_time", "user_id", "amount", "currency", "channel", "type"]),
)
def test_no_value_of_any_field_stops_the_stream(value: object, name: str) -> None:
    job = ingest_job("orders")
    apply(job, {**event("order_placed"), name: value}, event("order_placed", event_id="good"))
    stats = reported(job.snapshot()).stats
    assert stats.records == 2
    assert stats.counted + sum(stats.dead_letters.values()) + stats.duplicates == 2
