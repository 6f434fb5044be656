"""A dry run: the monitor's own ingest counts the events of a file, and nothing is sent.

The events go through the jobs that read the topics, so they are decoded, validated, deduplicated
and named as they would be, with the exchange rates and names of the files of configuration.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from models import dead_letters
from models.aggregates import ingest_report
from models.aggregates.ingest_report import SourceStats
from models.events import SOURCE_KINDS, SourceKind
from models.kpi.definition import Catalogue, Kpi
from models.kpi.formula import names_in
from models.kpi.measures import FROM_CUSTOMERS, INPUTS, PLANNED, SUMS
from models.money.exchange_rates import Rates
from streams.engine.contracts import Snapshot, SourcePartition
from streams.feed.events.file_set import NamedEvent
from streams.feed.events.order_refunds import OrderRefunds
from streams.feed.events.order_touches import OrderTouches
from streams.feed.rows.report import Refusals, counted
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.job import IngestJob
from streams.ingest.registry.campaign_index import CampaignIndex

_BATCH = 1_000
"""Events that a job gets at once; its report and dead letters follow."""
MOST_NAMED = 3
"""With more inputs, of which any would do, they are not named one by one."""
_TOUCHED = "orders_touched"


class Monitor(NamedTuple):
    """The monitor's settings and definitions, besides the events.

    Args:
        rules: the settings of ingest.
        campaigns: the campaigns of the files; the dry run adds those that events define.
        rates: the exchange rates.
        catalogue: the KPIs.
        customers: whether customers are stored.
    """

    rules: IngestSettings
    campaigns: CampaignIndex
    rates: Rates
    catalogue: Catalogue
    customers: bool


class _Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class DryRun:
    """The result of a dry run: what would be counted, and what would not.

    Args:
        stats: the counts of all events.
        dead: the dead letters by reason, and file if there are several, with the lines of the first
            rows.
        absent: by reason, the KPIs that have no value.
        touches: how many orders have a click of their user before them.
        refunds: which orders are refunded for more than they cost.
    """

    stats: SourceStats = field(default_factory=SourceStats)
    dead: dict[str, Refusals] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    touches: OrderTouches = field(default_factory=OrderTouches)
    refunds: OrderRefunds = field(default_factory=OrderRefunds)

    @property
    def dead_letters(self) -> int:
        """The number of events that would not count."""
        return sum(one.count for one in self.dead.values())

    def lines(self) -> Iterator[str]:
        """Yield the result as lines of text."""
        stats = self.stats
        yield f"the monitor would count {stats.counted:,} of {stats.records:,} events"
        for reason, rows in sorted(self.dead.items(), key=lambda one: -one[1].count):
            yield f"  {counted(rows.count, 'dead letter')}: {reason}"
            for line, why in rows.first:
                yield f"    line {line}: {why}"
        if stats.duplicates:
            yield (
                f"  {counted(stats.duplicates, 'event')} with the id of one before, which would "
                "not count; look at event_id and equal_events in the mapping"
            )
        if stats.guests:
            yield f"  {counted(stats.guests, 'event')} of guests, without a user"
        for kind, count in sorted(stats.unknown.items()):
            some = ", ".join(map(repr, stats.unknown_samples.get(kind, ())))
            yield f"  {counted(count, 'event')} with a {kind} that is not defined: {some}"
        for change, count in sorted(stats.renamed.items()):
            kind, _, how = change.partition("/")
            yield f"  {counted(count, 'event')} with a {kind} that is shown by another name ({how})"
        yield from self._joins()
        if (refunded := self.refunds.line()) is not None:
            yield f"  {refunded}"
        if self.absent:
            yield "KPIs that stay absent, unless other events bring them:"
            for reason, names in self.absent.items():
                yield f"  {reason}: {', '.join(names)}"

    def _joins(self) -> Iterator[str]:
        touches = self.touches
        if touches.orders and touches.clicks and not touches.touched and touches.known:
            yield (
                f"  none of {counted(touches.orders, 'order')} has a click of its user before it: "
                "if clicks and orders know their users by different ids, link these; see "
                "docs/how-to/identity.md"
            )
        elif touches.touched and touches.known:
            yield (
                f"  orders with a click of their user before them: {touches.touched:,} of "
                f"{touches.orders:,} ({touches.touched / touches.orders:.0%})"
            )


def dry_run(events: Iterable[NamedEvent], monitor: Monitor, *, now_ms: int) -> DryRun:
    """Return what the monitor would make of events.

    Args:
        events: with their ids and the names of their files, in the order of their times.
        monitor: what it knows.
        now_ms: the broker's time at which they would be appended, in ms.
    """
    result = DryRun()
    sums: Counter[int] = Counter()
    custom: set[str] = set()
    jobs = {kind: _Ingest(kind, monitor, now_ms) for kind in SOURCE_KINDS}
    for named in events:
        result.touches.add(named.event)
        result.refunds.add(named.event)
        ingest = jobs[named.event.kind]
        ingest.waiting.append(named)
        if len(ingest.waiting) >= _BATCH:
            ingest.count(result, sums, custom)
    for ingest in jobs.values():
        ingest.count(result, sums, custom)
    seen = {measure.name for place, measure in enumerate(SUMS) if sums[place]} | custom
    if result.touches.touched or not result.touches.known:
        seen.add(_TOUCHED)
    absent: defaultdict[str, list[str]] = defaultdict(list)
    for kpi in monitor.catalogue.values():
        reason = _why_absent(kpi, seen, monitor)
        if reason:
            absent[reason].append(kpi.name)
    result.absent = dict(absent)
    return result


class _Ingest:
    """The job of one source topic, and the events that wait for it."""

    def __init__(self, kind: SourceKind, monitor: Monitor, now_ms: int) -> None:
        self.waiting: list[NamedEvent] = []
        self._now_ms = now_ms
        self._offset = 0
        self._letters_topic = monitor.rules.dead_letters_topic
        self._reports_topic = monitor.rules.reports_topic
        self._job = IngestJob(
            SourcePartition(kind, 0),
            kind=kind,
            rules=monitor.rules,
            campaigns=monitor.campaigns,
            rates=monitor.rates,
            epoch=1,
        )

    def count(self, result: DryRun, sums: Counter[int], custom: set[str]) -> None:
        """Count the events that wait, and add what came of them to a result."""
        if not self.waiting:
            return
        first = self._offset
        self._offset += len(self.waiting)
        self._job.apply(
            [
                _Record(first + place, self._now_ms, event.key, event.value)
                for place, (_, event) in enumerate(self.waiting)
            ]
        )
        snapshot = self._job.snapshot()
        assert isinstance(snapshot, Snapshot)  # It is pending with customers only.
        for output in (*snapshot.early_outputs, *snapshot.outputs):
            if output.topic == self._letters_topic:
                letter = dead_letters.decode(output.value)
                name, event = self.waiting[letter.offset - first]
                reason = f"{letter.reason.value}, {name}" if name else letter.reason.value
                rows = result.dead.setdefault(reason, Refusals())
                rows.add(event.line, letter.detail)
            elif output.topic == self._reports_topic:
                for report in ingest_report.decode(output.value).reports:
                    _add(result.stats, report.stats)
                    for cost in report.costs:
                        sums[_PLACE_OF["spend_reports"]] += 1
                        sums[_PLACE_OF[cost.measure]] += 1
                    for cells in report.panes.values():
                        for row in cells:
                            sums.update(
                                {place: 1 for place, one in enumerate(row.cell.sums) if one}
                            )
                            custom.update(row.cell.custom_sums)
        self.waiting = []


_PLACE_OF = {measure.name: place for place, measure in enumerate(SUMS)}


def _add(total: SourceStats, part: SourceStats) -> None:
    for name in ("records", "counted", "duplicates", "guests", "rounded"):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    for name in ("unknown", "renamed"):
        setattr(total, name, dict(Counter(getattr(total, name)) + Counter(getattr(part, name))))
    for kind, samples in part.unknown_samples.items():
        known = total.unknown_samples.setdefault(kind, [])
        known += [name for name in samples if name not in known]
        del known[ingest_report.UNKNOWN_SAMPLES :]


def _why_absent(kpi: Kpi, seen: set[str], monitor: Monitor) -> str:
    """Return why a KPI has no value; empty if it may have one."""
    used = {*names_in(kpi.parsed), *kpi.needs}
    if not monitor.customers and used & FROM_CUSTOMERS:
        return "customers are not stored; set KPI_REDIS"
    inputs = seen & {*INPUTS}
    lacking = [one for one in kpi.inputs if not one & inputs]
    if lacking == [{_TOUCHED}]:
        return "no order with a click of its user before it" if "clicks" in seen else "no clicks"
    if lacking:
        named = (
            "events of users" if len(one) > MOST_NAMED else " or ".join(sorted(one))
            for one in lacking
        )
        return "no " + ", no ".join(dict.fromkeys(named))
    if kpi.needs and not used & FROM_CUSTOMERS and seen.isdisjoint(kpi.needs):
        return f"no {' or '.join(kpi.needs)}"
    if kpi.figures & PLANNED.keys() and not any(one.budget for one in monitor.campaigns):
        return "no campaign has a budget"
    return ""
