"""The state machine of one source partition of clicks, orders or campaigns.

A record is decoded into an event; the event is validated, deduplicated, resolved to its campaign,
and folded into the cell of its pane. Each snapshot reports the panes since the one before.

The job does no I/O and reads no clock of its own. Campaigns and exchange rates are shared by all
jobs of a worker: jobs add campaigns, and the reader of the registry adds both while the job runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, get_args
from zlib import crc32

import msgspec
from pydantic import BaseModel

from models.aggregates import ingest_report
from models.aggregates.distinct_users import hash_user
from models.aggregates.ingest_report import (
    PanesWire,
    Report,
    SourceStats,
    count_renamed,
    count_unknown,
)
from models.aggregates.period_cost import PeriodCost
from models.campaigns.campaign import Campaign, Ending
from models.campaigns.campaign_change import Change
from models.dead_letters import Reason
from models.events import (
    SOURCE_KINDS,
    CampaignChanged,
    CampaignDefined,
    CampaignEnded,
    Click,
    ClicksTopic,
    CompleteThrough,
    Event,
    Identity,
    Measurement,
    OrdersTopic,
    SourceKind,
    SpendReported,
    events_of,
    type_of,
)
from models.money.exchange_rates import Rates
from models.names import canonical, shortened
from models.scope import NO_CHANNEL, Place
from streams.engine.contracts import Output, Position, Record, Saved, Snapshot, SourcePartition
from streams.engine.dead_letter_output import dead_letter
from streams.engine.steps import OutOfTime
from streams.ingest.customers.journal import CUSTOMER_KINDS, REMEMBERED, Journal
from streams.ingest.customers.pending_checkpoint import CustomerContext, PendingCheckpoint
from streams.ingest.events.decoding import EPOCH, EventDecoder, Rejected
from streams.ingest.events.deduplication import SeenIds
from streams.ingest.events.named_places import NamedPlaces, NameNote
from streams.ingest.events.pane_aggregation import FOLDS, GUEST, Panes
from streams.ingest.events.validation import (
    CARRIED,
    CostOfPeriod,
    checked_time,
    has_rounded,
)
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.watermark import Watermark

LARGE_REPORT_PANES = 1_000
"""Panes from which a report is large; the KPI stage takes about 0.3 s for it."""
LARGE_REPORT_CELLS = 5_000
"""Cells from which a report is large, about 1 MB; the KPI stage keeps the last of each source."""
LONGEST_VALUE = 1_000
"""Longer old and new values of a change are shortened, characters."""
_NOTES = frozenset({Identity, CompleteThrough})
"""The types of event that are in no cell; they may be of any time."""
USER_TYPES = frozenset({*get_args(ClicksTopic), *get_args(OrdersTopic)} - _NOTES)
_SEEDS = {
    event: crc32(type_of(event).encode()) for kind in SOURCE_KINDS for event in events_of(kind)
}
"""The seed of the hash of event ids, by type of event."""


class _State(msgspec.Struct, array_like=True):
    newest_event_time: int | None
    last_append_ms: int
    segment_counter: int
    customers_known: bool = False


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode


class IngestJob:
    """The job of one source partition.

    Args:
        source: the topic and partition.
        kind: ``clicks``, ``orders`` or ``campaigns``.
        rules: the settings of ingest.
        campaigns: all campaigns; the job adds to them.
        rates: the exchange rates.
        epoch: the number of this opening of the job; each opening has a higher one.
        customers: access to the logs of customers. If None, orders count for the campaign and
            channel that they name, and nothing is attributed.
        saved: the state and segments of the last checkpoint; None for a new partition.
    """

    def __init__(
        self,
        source: SourcePartition,
        *,
        kind: SourceKind,
        rules: IngestSettings,
        campaigns: CampaignIndex,
        rates: Rates,
        epoch: int,
        customers: CustomerContext | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.source = source
        self.rules = rules
        self.campaigns = campaigns
        self.rates = rates
        self.epoch = epoch
        self._decode = EventDecoder(kind, largest_bytes=rules.largest_record_bytes).decode
        self._seen = SeenIds(horizon_ms=rules.dedupe_horizon_ms)
        self._places = NamedPlaces(rules.names, campaigns)
        self._guests = rules.guests
        self._panes = Panes()
        self._costs: list[PeriodCost] = []
        self._stats = SourceStats()
        self._outputs: list[Output] = []
        self._behind = 0
        self._disorder_ms = rules.allowed_disorder_ms
        self._offset: int | None = None
        self._reported_offset: int | None = None
        self.watermark = Watermark(
            allowed_disorder_ms=rules.allowed_disorder_ms, idle_after_ms=rules.idle_after_ms
        )
        self._known_customers = False
        if saved is not None:
            state = _decode_state(saved.state)
            self._offset = self._reported_offset = saved.offset
            self._seen.restore(saved.segments, counter=state.segment_counter)
            self.watermark.restore(
                newest_event_time=state.newest_event_time, last_append_ms=state.last_append_ms
            )
            self._known_customers = state.customers_known
        self._journal: Journal | None = None
        if customers is not None and kind in CUSTOMER_KINDS:
            self._journal = Journal(
                customers,
                source,
                kind=kind,
                watermark=self.watermark,
                rates=rates,
                day=rules.day,
                known=self._known_customers,
            )

    @property
    def dirty(self) -> bool:
        """Whether records were applied since the last snapshot."""
        return self._offset != self._reported_offset

    @property
    def pending(self) -> int:
        """The number of records applied since the last snapshot."""
        return self._stats.records

    @property
    def whole(self) -> bool:
        """Always true: `apply` leaves no work behind, so a snapshot may be taken at any time."""
        return True

    @property
    def large(self) -> bool:
        """Whether the next report is large already: in history, few records fill many panes."""
        panes = self._panes
        cells = panes.cells + len(self._costs)
        return len(panes) >= LARGE_REPORT_PANES or cells >= LARGE_REPORT_CELLS

    def work(self, out_of_time: OutOfTime, *, until_whole: bool = False) -> bool:
        """Do nothing, since `apply` leaves no work behind."""
        del out_of_time, until_whole
        return False

    def apply(self, records: Sequence[Record]) -> None:
        """Count the next records, in offset order; at least one."""
        if self._reported_offset is None:
            self._offset = self._reported_offset = records[0].offset - 1
        before = _not_counted(self._stats)
        ends_before = self._stats.ends
        self._places.renew()
        count = self._count
        for record in records:
            rejected = count(record)
            if rejected is not None:
                self._reject(record, rejected)
        stats = self._stats
        events = len(records) - (stats.ends - ends_before)
        stats.records += events
        stats.counted += events - (_not_counted(stats) - before)
        last = records[-1]
        self._offset = last.offset
        self.watermark.appended(last.timestamp)

    def skip(self, record: Record, *, why: str) -> None:
        """Make a dead letter of a record on which `apply` failed."""
        if self._reported_offset is None:
            self._reported_offset = record.offset - 1
        self._reject(record, Rejected(Reason.STAGE_FAILURE, why))
        self._stats.records += 1
        self._offset = record.offset
        self.watermark.appended(record.timestamp)

    def lost(self, records: int, *, before: int) -> None:
        """Record that the next records, up to offset ``before``, are gone from the broker."""
        if self._reported_offset is None:
            self._reported_offset = before - records - 1
        self._stats.lost += records
        self._offset = before - 1

    def _count(self, record: Record) -> Rejected | None:
        """Count a record's event.

        This is the hot path, about 4 µs a record. It compares exact types, and calls functions
        only where most events need them. An event time that is a number and within the allowed
        disorder before the newest needs no further check.

        Returns:
            The reason why the record is rejected; None if it was counted or is a duplicate.
        """
        event: Any = self._decode(record.value)
        kind = type(event)
        if kind is Rejected:
            return event  # type: ignore[no-any-return]
        event_time = event.event_time
        watermark = self.watermark
        newest = watermark.newest_event_time
        if (
            newest is None
            or type(event_time) is not int
            or not newest - self._disorder_ms <= event_time <= newest
        ):
            event_time = checked_time(
                event_time,
                newest=newest,
                appended_ms=record.timestamp,
                rules=self.rules,
                late=kind in _NOTES or (kind is SpendReported and event.period is not None),
            )
            if type(event_time) is Rejected:
                return event_time
        carried: Any = 0
        carries = CARRIED.get(kind)
        if carries is not None:
            carried = carries(event, event_time, record.timestamp, self.rules, self.rates)
            if type(carried) is Rejected:
                return carried
        if not self._seen.first_time(event.event_id, event_time, seed=_SEEDS[kind]):
            self._take_repeated(kind, event_time)
            return None
        if carries is not None and has_rounded(event):
            self._stats.rounded += 1
        if kind in USER_TYPES:
            user_id = event.user_id
            owner = None if user_id in self._guests else user_id.encode()
            names = event.campaign_id, event.campaign, event.channel, event.region, event.segment
        elif kind in _NOTES:
            return self._note(event, record, event_time=event_time)
        else:
            owner = event.campaign_id.encode()
            # Of these, costs alone have a channel.
            names = event.campaign_id, None, getattr(event, "channel", ""), "", None
            self._record_campaign(event, event_time, carried)
        place, notes = self._places[names]
        if notes:
            self._count_names(notes)
        fold = FOLDS.get(kind)
        user = GUEST if owner is None else hash_user(owner)
        if owner is None:
            self._stats.guests += 1
        elif record.key != owner:
            self._stats.mis_keyed += 1
        if self._journal is not None and kind in REMEMBERED and owner is not None:
            self._journal.add(
                event,
                user,
                offset=record.offset,
                event_time=event_time,
                units=carried,
                place=place,
            )
            if kind is not Click:
                fold = None  # Counted from the customer's log, once it is settled.
        elif type(carried) is CostOfPeriod:
            self._add_cost(event, event_time, carried, place)
            fold = None  # Not in the cells of its event time.
        if fold is not None:
            fold(self._panes.cell(event_time, place), event, user, carried)
        if newest is None or event_time > newest:
            watermark.newest_event_time = event_time
        elif event_time < newest - self._disorder_ms and type(carried) is not CostOfPeriod:
            self._stats.late += 1
        return None

    def _take_repeated(self, kind: type[Event], event_time: int) -> None:
        """Take an event whose id was counted before; a feed that is repeated says the same end."""
        if kind is CompleteThrough:
            self._take_end(event_time)
        else:
            self._stats.duplicates += 1

    def _take_end(self, event_time: int) -> None:
        """Take the end of history for the newest event time.

        Without events the partition has no history that could end. It stays as it was, and does not
        delay the frontier.
        """
        self._stats.ends += 1
        newest = self.watermark.newest_event_time
        if newest is not None:
            self.watermark.newest_event_time = max(event_time, newest)

    def _note(
        self, event: Identity | CompleteThrough, record: Record, *, event_time: int
    ) -> Rejected | None:
        """Take an event that is in no cell: a link, or the end of history."""
        if isinstance(event, Identity):
            return self._link(event, record, event_time=event_time)
        self._take_end(event_time)
        return None

    def _link(self, event: Identity, record: Record, *, event_time: int) -> Rejected | None:
        """Add a link of two ids to the journal; it may be of any time, and moves no watermark."""
        if event.same_as == event.user_id:
            return Rejected(Reason.INVALID_SHAPE, "same_as: is the user_id itself")
        if not self._guests.isdisjoint((event.user_id, event.same_as)):
            self._stats.guests += 1
            return None
        owner = event.user_id.encode()
        if record.key != owner:
            self._stats.mis_keyed += 1
        if self._journal is not None:
            user = hash_user(owner)
            self._journal.add_link(event, user, offset=record.offset, event_time=event_time)
        return None

    def _count_names(self, notes: Iterable[NameNote]) -> None:
        for kind, change, name in notes:
            if change is None:
                count_unknown(self._stats, kind, name)
            else:
                count_renamed(self._stats, kind, change)

    def _add_cost(
        self, event: SpendReported, event_time: int, cost: CostOfPeriod, place: Place
    ) -> None:
        """Add a cost of a period to the next report."""
        campaign, channel, *_ = place
        self._costs.append(
            PeriodCost(
                campaign=campaign,
                channel=channel or NO_CHANNEL,
                measure="spend" if event.cost == "ads" else "other_cost",
                from_ms=cost.from_ms,
                until_ms=cost.until_ms,
                covered_ms=cost.covered_ms,
                units=cost.units,
                reported_ms=event_time,
                tie=hash_user(event.event_id.encode()),
                named_campaign=shortened(canonical(event.campaign_id)),
                named_channel=shortened(canonical(event.channel)),
            )
        )

    def _record_campaign(self, event: Any, event_time: int, carried: Any) -> None:
        """Record what an event of the topic of campaigns says beside its measures."""
        kind = type(event)
        if kind is CampaignDefined:
            self._define(carried)
        elif kind is CampaignChanged:
            self._record_change(event, event_time)
        elif kind is CampaignEnded:
            self._record_end(event, event_time)
        elif kind is Measurement and carried.metric is None:
            count_unknown(self._stats, "metric", shortened(event.metric))

    def _define(self, campaign: Campaign) -> None:
        self.campaigns.define(campaign)
        self._places.renew()
        self._tell_registry(campaign.id, campaign)

    def _record_end(self, event: CampaignEnded, event_time: int) -> None:
        """End a campaign and send its end to the registry; ignore an unknown campaign."""
        known = self.campaigns.called(event.campaign_id)
        if known is None:
            return
        ended = EPOCH + timedelta(milliseconds=event_time)
        ending = Ending(campaign=known.id, ended=ended, starts=known.starts, ends=known.ends)
        key = "/".join(map(str, ("end", *known.run)))
        self._tell_registry(key, self.campaigns.end(ending))

    def _record_change(self, event: CampaignChanged, event_time: int) -> None:
        """Send a change of a campaign to the registry; ignore an unknown campaign."""
        campaign = self.campaigns.called(event.campaign_id)
        if campaign is None:
            return
        change = Change(
            campaign=campaign.id,
            event_id=event.event_id,
            at_ms=event_time,
            what=shortened(event.what),
            from_value=_short(event.from_value),
            to_value=_short(event.to_value),
            who=shortened(event.who),
        )
        self._tell_registry(f"change/{campaign.id}/{event.event_id}", change)

    def _tell_registry(self, key: str, definition: BaseModel) -> None:
        topic = self.rules.registry_topic
        # Defaults are left out, so that records are short.
        value = definition.model_dump_json(exclude_defaults=True).encode()
        self._outputs.append(Output(topic=topic, key=key.encode(), value=value))

    def _reject(self, record: Record, rejected: Rejected) -> None:
        counts = self._stats.dead_letters
        counts[rejected.reason] = counts.get(rejected.reason, 0) + 1
        self._outputs.append(
            dead_letter(
                record,
                source=self.source,
                reason=rejected.reason,
                detail=rejected.detail,
                topic=self.rules.dead_letters_topic,
            )
        )

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Update the watermark with how far the partition was read."""
        del now_ms
        self._behind = position.behind
        if position.caught_up_at_ms is not None:
            self.watermark.caught_up(
                at_ms=position.caught_up_at_ms, answering_since_ms=position.answering_since_ms
            )
        else:
            self.watermark.reading()
        if self._journal is not None and not self.dirty:
            self._journal.nothing_new()

    def snapshot(self) -> Snapshot | PendingCheckpoint:
        """Return the state, the ids since the last snapshot, and the report.

        With entries for the logs of customers it is a pending checkpoint until these are settled.
        """
        panes, self._panes = self._panes, Panes()
        stats = self._stats
        finish = self._ended(panes)
        journal = self._journal
        if journal is None:
            return finish()
        if not journal.any:
            journal.nothing_new()
            return finish()
        return journal.cut(panes, stats, finish=finish)

    def _ended(self, panes: Panes) -> Callable[[], Snapshot]:
        """Freeze all of this snapshot except its panes, and return a function that makes it.

        The function is called once the customers have added to the panes, if there are any.
        """
        report = self.report(panes={}, stats=self._stats)
        report.costs, self._costs = self._costs, []
        newest = self.watermark.newest_event_time
        segments = list(self._seen.take_segments(newest_event_time=newest or 0))
        early_outputs, self._outputs = self._outputs, []
        self._stats = SourceStats()
        self._reported_offset = self._offset
        journal = self._journal
        known = self._known_customers if journal is None else journal.known_by_now
        state = _State(newest, self.watermark.last_append_ms, self._seen.counter, known)

        def finish() -> Snapshot:
            report.panes = panes.take()
            value = ingest_report.encode([report], custom=self.rules.custom.sums)
            return Snapshot(
                state=_encode_state(state),
                segments=segments,
                early_outputs=early_outputs,
                outputs=[Output(topic=self.rules.reports_topic, value=value, partition=0)],
            )

        return finish

    def report(self, *, panes: PanesWire | None = None, stats: SourceStats | None = None) -> Report:
        """Return a report. Without panes it is a heartbeat, which covers no offsets."""
        from_offset = -1 if self._reported_offset is None else self._reported_offset
        mark = self.watermark
        return Report(
            topic=self.source.topic,
            partition=self.source.partition,
            epoch=self.epoch,
            from_offset=from_offset,
            to_offset=from_offset if panes is None or self._offset is None else self._offset,
            read_up_to_ms=mark.read_up_to_ms,
            watermark_ms=mark.watermark_ms,
            idle=mark.idle,
            behind=self._behind,
            last_append_ms=mark.last_append_ms,
            stats=stats or SourceStats(),
            panes=panes or {},
        )


def _not_counted(stats: SourceStats) -> int:
    return stats.duplicates + sum(stats.dead_letters.values())


def _short(value: str | None) -> str | None:
    return None if value is None else shortened(value, longest=LONGEST_VALUE)
