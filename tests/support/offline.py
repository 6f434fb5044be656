"""The whole path from events to closed windows without Kafka: the jobs themselves, fed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec
from typing_extensions import TypeVar

from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.events import KIND_OF_TYPE, SOURCE_KINDS, SourceKind
from models.kpi import measures
from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import Catalogue
from models.kpi.user_catalogue import Largest
from models.money.exchange_rates import Rates
from models.window import BusinessDay
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.alerting.usual.local_clock import LocalClock
from streams.engine.contracts import Output, Position, Saved, Snapshot, SourcePartition
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.job import IngestJob
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.kpis import state as saved_states
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.kpi_calculator import Coefficients, KpiCalculator
from streams.kpis.coverage.coverage import Sources
from streams.kpis.job import VIEW_EVERY_MS, KpiJob, Topics
from streams.kpis.output_records import values_encoder
from streams.kpis.state import KpiState
from streams.kpis.storage.bucket_store import CUSTOMER_DAYS
from streams.kpis.storage.spilled_buckets import Spill
from streams.kpis.view import KpiView
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.definitions import Definitions
from tests.support.at_once import KpiJobAtOnce, settled

NOON = 1_699_963_200_000
"""2023-11-14T12:00Z, a multiple of every step."""

RULES = IngestSettings(
    day=BusinessDay(ZoneInfo("UTC")),
    allowed_disorder_ms=5_000,
    correction_horizon_ms=600_000,
    dedupe_horizon_ms=720_000,
    future_tolerance_ms=60_000,
    idle_after_ms=1_500,
    largest_record_bytes=900_000,
    reports_topic="partials",
    registry_topic="registry",
    dead_letters_topic="dead-letters",
    guests=frozenset({None, "", "0", "guest"}),
)
CAMPAIGNS = (
    Campaign(id="c1", name="First", aliases=("第一",)),
    Campaign(id="c2", name="Second"),
    Campaign(id="shop"),
)


class Record(NamedTuple):
    """A Kafka record as a job reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def ingest_job(
    kind: SourceKind = "clicks",
    partition: int = 0,
    *,
    epoch: int = 1,
    saved: Saved | None = None,
    rules: IngestSettings = RULES,
    campaigns: Sequence[Campaign] = CAMPAIGNS,
    rates: Rates | None = None,
    customers: CustomerContext | None = None,
) -> IngestJob:
    """Return an ingest job of one source partition."""
    return IngestJob(
        SourcePartition(kind, partition),
        kind=kind,
        rules=rules,
        campaigns=CampaignIndex(campaigns),
        rates=rates or Rates("CNY"),
        customers=customers,
        epoch=epoch,
        saved=saved,
    )


LARGEST = Largest()
UNUSED_POSITION = Position(caught_up_at_ms=None, behind=0)
"""The KPI stage is told its position, and does not use it."""

Job = TypeVar("Job", bound=KpiJob, default=KpiJobAtOnce)


def kpi_job(
    *,
    partitions: int = 1,
    rules: RuleBook | None = None,
    zone: str = "UTC",
    saved: Saved | None = None,
    publish: bool = True,
    largest: Largest = LARGEST,
    customer_days: int = CUSTOMER_DAYS,
    spill: Spill | None = None,
    coefficients: Coefficients | None = None,
    catalogue: Catalogue = CATALOGUE,
    campaigns: Iterable[Campaign] = CAMPAIGNS,
    rates: Rates | None = None,
    changes: Iterable[Change] = (),
    made: Callable[..., Job] = KpiJobAtOnce,  # type: ignore[assignment]
) -> Job:
    """Return a job of the KPI stage.

    ``campaigns`` may be a `CampaignIndex`, to which campaigns can be added later.
    """
    index = campaigns if isinstance(campaigns, CampaignIndex) else CampaignIndex(campaigns)
    day = BusinessDay(ZoneInfo(zone))
    job = made(
        sources=Sources(
            expected=[(kind, number) for kind in SOURCE_KINDS for number in range(partitions)],
            kinds={kind: kind for kind in SOURCE_KINDS},
            silent_after_ms=20_000,
        ),
        definitions=Definitions(
            calculator=KpiCalculator(catalogue, coefficients),
            day=day,
            timeline=CampaignTimeline(index, changes, day=day),
            budgets=CampaignBudgets(index.get, rates=rates or Rates("CNY"), day=day),
            largest=largest.by_kind,
            summed=frozenset(largest.by_kind),
            customer_days=customer_days,
        ),
        judge=AlertJudge(
            rules or RuleBook(),
            catalogue=catalogue,
            lag_limit_s=30,
            campaign_of=index.get,
            clock=LocalClock(day),
            changes=changes,
        ),
        topics=Topics(
            source=SourcePartition("partials", 0),
            alerts="alerts",
            dead_letters="dead-letters",
            encode_values=values_encoder("values") if publish else None,
        ),
        spill=spill,
        saved=saved,
    )
    job.work(lambda: False)
    return job


_OF_CAMPAIGNS = {
    *("campaign_defined", "campaign_changed", "campaign_ended"),
    *("spend_reported", "measurement"),
}


def event(kind: str = "click", *, at: int = NOON, **body: Any) -> dict[str, Any]:
    """Return an event with defaults for the fields that a test does not set."""
    made: dict[str, Any] = {"type": kind, "event_id": f"{kind}-{at}-{len(body)}", "event_time": at}
    if kind not in _OF_CAMPAIGNS:
        made |= {"user_id": "u1", "campaign_id": "c1", "channel": "search"}
    else:
        made |= {"campaign_id": "c1"}
    if kind == "order_placed":
        made |= {"order_id": "o1", "amount": "100.00", "currency": "CNY"}
    return made | body


def record(body: object, *, offset: int, key: str | None = None, at: int = NOON) -> Record:
    """Return a record; a body of bytes is taken as it is, a dictionary becomes JSON."""
    if isinstance(body, bytes):
        return Record(offset, at, key.encode() if key else None, body)
    assert isinstance(body, dict)
    owner = key or body.get("user_id") or body.get("campaign_id") or ""
    return Record(offset, at, str(owner).encode(), json.dumps(body).encode())


def store(snapshot: Snapshot, segments: dict[bytes, bytes]) -> None:
    """Write and remove the segments of a snapshot, as a checkpoint does."""
    for key, value in snapshot.segments:
        if value is None:
            segments.pop(key, None)
        else:
            segments[key] = value


def saved_from(snapshots: Iterable[Snapshot], *, offset: int) -> Saved:
    """Return the saved state that a job would get back after these snapshots."""
    segments: dict[bytes, bytes] = {}
    state = b""
    for snapshot in snapshots:
        state = snapshot.state
        store(snapshot, segments)
    return Saved(offset=offset, state=state, segments=segments)


class ClosedKey(NamedTuple):
    """A window, its end in ms, and a scope of it: everything unless it is named."""

    window: str
    end: int
    scope: str = "all"
    campaign: str = ""
    channel: str = ""
    region: str = ""
    segment: str = ""


Closed = dict[ClosedKey, dict[str, list[Any]]]


@dataclass
class Path:
    """All jobs of a deployment: takes events and collects closed windows.

    ``closed`` has the last published values by window, end and scope; ``compared`` the period
    before each window; ``pasts`` the days from which its customers are counted; ``outputs``
    everything that the jobs sent; ``segments`` the buckets as they were stored last.
    """

    partitions: int = 1
    zone: str = "UTC"
    rules: RuleBook | None = None
    now_ms: int = NOON + 3_600_000
    campaigns: Sequence[Campaign] = CAMPAIGNS
    rates: Rates | None = None
    customers: CustomerContext | None = None
    coefficients: Coefficients | None = None
    catalogue: Catalogue = field(default_factory=lambda: CATALOGUE)
    changes: Sequence[Change] = ()
    customer_days: int = CUSTOMER_DAYS
    publish: bool = True
    closed: Closed = field(default_factory=dict)
    compared: dict[tuple[str, int], tuple[int, int] | None] = field(default_factory=dict)
    pasts: dict[tuple[str, int], tuple[int, int, int] | None] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    segments: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = replace(RULES, day=BusinessDay(ZoneInfo(self.zone)), custom=self.catalogue.custom)
        self.sources = {
            (kind, number): ingest_job(
                kind,
                number,
                rules=rules,
                campaigns=self.campaigns,
                rates=self.rates,
                customers=self.customers,
            )
            for kind in SOURCE_KINDS
            for number in range(self.partitions)
        }
        self.offsets = dict.fromkeys(self.sources, 0)
        self.kpis = self.opened()
        self.reports_offset = 0
        self._state = b""

    def opened(self, saved: Saved | None = None) -> KpiJobAtOnce:
        """Return a KPI job with the definitions of this deployment."""
        return kpi_job(
            partitions=self.partitions,
            zone=self.zone,
            rules=self.rules,
            coefficients=self.coefficients,
            catalogue=self.catalogue,
            campaigns=self.campaigns,
            rates=self.rates,
            changes=self.changes,
            customer_days=self.customer_days,
            publish=self.publish,
            saved=saved,
        )

    def restart(self, catalogue: Catalogue) -> None:
        """Open all jobs again from their last checkpoints, with another catalogue."""
        self.catalogue = catalogue
        for job in self.sources.values():
            job.rules = replace(job.rules, custom=catalogue.custom)
        self.kpis = self.opened(self.saved)

    def feed(self, events: Sequence[dict[str, Any]], *, batch: int = 500) -> None:
        """Apply events, by key to their partitions, and let the sources report after each batch."""
        for first in range(0, len(events), batch):
            by_source: dict[tuple[SourceKind, int], list[Record]] = {}
            for body in events[first : first + batch]:
                owner = body.get("user_id") or body.get("campaign_id") or ""
                source = (kind_of(body), crc32(owner.encode()) % self.partitions)
                offset = self.offsets[source]
                self.offsets[source] = offset + 1
                self.now_ms += 1
                by_source.setdefault(source, []).append(record(body, offset=offset, at=self.now_ms))
            for source, records in by_source.items():
                self.sources[source].apply(records)
            self.report()

    def report(self) -> None:
        """Let every source report, as if it were read to its end."""
        self.now_ms += 1_000
        for job in self.sources.values():
            job.tick(Position(caught_up_at_ms=self.now_ms, behind=0), now_ms=self.now_ms)
        for job in self.sources.values():
            if job.dirty:
                self.outputs.extend(taken := settled(job.snapshot()).outputs)
                self.deliver(taken)
            else:
                self.deliver_reports([job.report()])

    def finish(self) -> None:
        """Let two minutes pass, so that every window that can close closes."""
        self.now_ms += 120_000
        self.report()

    def linger(self, ticks: int) -> Iterator[KpiView]:
        """Let the KPI stage tick without new reports; yield the view after each tick."""
        for _ in range(ticks):
            self.now_ms += VIEW_EVERY_MS
            self.kpis.tick(UNUSED_POSITION, now_ms=self.now_ms)
            assert self.kpis.view is not None
            yield self.kpis.view

    def deliver(self, outputs: Iterable[Output]) -> None:
        """Apply outputs of ingest to the KPI stage, and collect what it publishes."""
        for output in outputs:
            self.kpis.apply([Record(self.reports_offset, self.now_ms, None, output.value)])
            self.reports_offset += 1
        self.kpis.tick(UNUSED_POSITION, now_ms=self.now_ms)
        self._collect(self.kpis.snapshot())

    @property
    def saved(self) -> Saved:
        """What the KPI stage is opened with after its last checkpoint."""
        return Saved(
            offset=self.reports_offset - 1, state=self._state, segments=dict(self.segments)
        )

    @property
    def state(self) -> KpiState:
        """The state of the KPI stage at its last checkpoint."""
        return saved_states.decode(self._state)

    def bucket_starts(self, level: int) -> list[int]:
        """Return the starts of the stored buckets of a level, ascending."""
        prefix = b"bucket/%d/" % level
        return sorted(
            int(key.removeprefix(prefix)) for key in self.segments if key.startswith(prefix)
        )

    def deliver_reports(self, made: list[Any]) -> None:
        """Encode reports as one record and deliver it."""
        from models.aggregates import ingest_report

        self.deliver(
            [
                Output(
                    topic="partials",
                    value=ingest_report.encode(made, custom=self.catalogue.custom.sums),
                )
            ]
        )

    def _collect(self, snapshot: Snapshot) -> None:
        self._state = snapshot.state
        store(snapshot, self.segments)
        self.outputs.extend(snapshot.outputs)
        for output in snapshot.early_outputs:
            closed = msgspec.json.decode(output.value)
            before, past = closed["previous"], closed["past"]
            self.compared[closed["window"], closed["end"]] = before and (before[0], before[1])
            self.pasts[closed["window"], closed["end"]] = past and (past[0], past[1], past[2])
            for scope in closed["scopes"]:
                named = {name: scope[name] for name in ClosedKey._fields[2:]}
                key = ClosedKey(closed["window"], closed["end"], **named)
                self.closed[key] = scope["values"]


def kind_of(body: dict[str, Any]) -> SourceKind:
    """Return the kind of source topic of an event."""
    return KIND_OF_TYPE[body["type"]]


def taken_over(
    path: Path, *, measures_version: int = measures.VERSION, **others: Any
) -> KpiJobAtOnce:
    """Return a KPI job that resumes from a path's state.

    Args:
        path: its KPI job's state is taken over.
        measures_version: the version of the measures that is to have written the state.
        others: further fields of the state to replace.
    """
    state = msgspec.structs.replace(path.state, measures_version=measures_version, **others)
    return path.opened(
        Saved(
            offset=path.reports_offset - 1,
            state=saved_states.encode(state),
            segments=path.segments,
        )
    )
