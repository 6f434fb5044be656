"""The state machine of one source partition of clicks, orders or campaigns.

Records become events, events are checked, named, and folded into panes; every
snapshot reports what was folded since the one before. A pure function of its
state, the batch and the clock it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from models import reports
from models.campaigns import Campaign
from models.customers import ORDER, REFUND, TOUCH, Order, Refund, Touch, to_bytes
from models.dead_letters import Reason
from models.distinct import hash_user
from models.events import (
    CampaignDefined,
    Click,
    ClicksTopic,
    Event,
    Measurement,
    OrderPlaced,
    OrderRefunded,
    OrdersTopic,
    SpendReported,
)
from models.measures import COMPLAINT_RESPONSE, FLOW_METRICS, LEVEL_INDEX
from models.money import MoneyError, to_units
from models.rates import NoRateError, Rates
from models.reports import PanesWire, Report, SourceStats
from models.scopes import UNKNOWN_CAMPAIGN
from models.windows import BusinessDay
from streams.engine.letters import dead_letter
from streams.engine.stage import Output, Position, Record, Saved, Snapshot, SourcePartition
from streams.ingest.campaigns import CampaignIndex
from streams.ingest.cut import CustomerContext, UnsettledCut
from streams.ingest.decode import EventDecoder, Rejected, event_time_ms
from streams.ingest.dedupe import SeenIds
from streams.ingest.panes import FOLDS, Panes
from streams.ingest.watermark import Watermark

EARLIEST_EVENT_TIME = 631_152_000_000
"""1990-01-01T00:00Z; an event before it is broken input."""
UNKNOWN_SAMPLES = 5
CUSTOMER_KINDS = frozenset({"clicks", "orders"})
REMEMBERED: frozenset[type[Event]] = frozenset({Click, OrderPlaced, OrderRefunded})
"""What the log of a customer holds."""
MONEY_TYPES = frozenset({OrderPlaced, OrderRefunded, SpendReported})
USER_TYPES = frozenset({*get_args(ClicksTopic), *get_args(OrdersTopic)})


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRules:
    """What ingest needs to know of the settings. Durations in ms."""

    day: BusinessDay
    allowed_disorder_ms: int
    correction_horizon_ms: int
    dedupe_horizon_ms: int
    future_tolerance_ms: int
    idle_after_ms: int
    largest_record_bytes: int
    reports_topic: str
    registry_topic: str
    dead_letters_topic: str


class _State(msgspec.Struct, array_like=True):
    newest_event_time: int | None
    last_append_ms: int
    segment_counter: int
    customers_known: bool = False


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode


class IngestJob:
    """One source partition.

    Args:
        source: the topic and partition.
        kind: ``clicks``, ``orders`` or ``campaigns``.
        campaigns: all campaigns; added to.
        rates: what other currencies are worth.
        customers: how customers are asked; None counts orders where they say they belong.
        epoch: grows with every opening of the job.
    """

    def __init__(
        self,
        source: SourcePartition,
        *,
        kind: str,
        rules: IngestRules,
        campaigns: CampaignIndex,
        rates: Rates,
        epoch: int,
        customers: CustomerContext | None = None,
        saved: Saved | None = None,
    ) -> None:
        self.source = source
        self.rules = rules
        self._kind = kind
        self._customers = customers if kind in CUSTOMER_KINDS else None
        self._customers_known = False
        self._entries: list[tuple[bytes, bytes]] = []
        self._settling = False
        self.campaigns = campaigns
        self.rates = rates
        self.epoch = epoch
        self._decode = EventDecoder(kind, largest_bytes=rules.largest_record_bytes).decode
        self._seen = SeenIds(horizon_ms=rules.dedupe_horizon_ms)
        self._panes = Panes()
        self._stats = SourceStats()
        self._outputs: list[Output] = []
        self._behind = 0
        self._disorder_ms = rules.allowed_disorder_ms
        self._offset: int | None = None
        self._reported_offset: int | None = None
        self.watermark = Watermark(
            allowed_disorder_ms=rules.allowed_disorder_ms, idle_after_ms=rules.idle_after_ms
        )
        if saved is not None:
            state = _decode_state(saved.state)
            self._offset = self._reported_offset = saved.offset
            self._seen.restore(saved.segments, counter=state.segment_counter)
            self.watermark.restore(
                newest_event_time=state.newest_event_time, last_append_ms=state.last_append_ms
            )
            self._customers_known = state.customers_known
        if self._customers is not None:
            self._customers.progress.opened(
                kind, source.partition, event_ms=self.watermark.newest_event_time or 0
            )

    @property
    def dirty(self) -> bool:
        """Whether records were applied since the last snapshot."""
        return self._offset != self._reported_offset

    @property
    def pending(self) -> int:
        """How many records were applied since the last snapshot."""
        return self._stats.records

    def apply(self, records: Sequence[Record]) -> None:
        """Take the next records, in offset order."""
        if self._reported_offset is None:
            self._offset = self._reported_offset = records[0].offset - 1
        before = self._stats.duplicates + sum(self._stats.dead_letters.values())
        count = self._count
        for record in records:
            rejected = count(record)
            if rejected is not None:
                self._reject(record, rejected)
        stats = self._stats
        stats.records += len(records)
        after = stats.duplicates + sum(stats.dead_letters.values())
        stats.counted += len(records) - (after - before)
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
        """Take note that the next records, up to offset ``before``, are gone from the broker."""
        if self._reported_offset is None:
            self._reported_offset = before - records - 1
        self._stats.lost += records
        self._offset = before - 1

    def _count(self, record: Record) -> Rejected | None:
        """Fold a record's event, or say why it can't be counted. A duplicate is neither.

        This is the hot path, about 4 µs: it branches on exact types and calls
        only what most events need.
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
            event_time = self._check_time(event_time, newest=newest, appended_ms=record.timestamp)
            if type(event_time) is Rejected:
                return event_time
        units: Any = 0
        if kind in MONEY_TYPES:
            units = self._units(event, event_time)
            if type(units) is Rejected:
                return units
        elif kind is Measurement:
            units = _figure(event)
            if type(units) is Rejected:
                return units
            event.event_time = event_time
        if not self._seen.first_time(event.event_id, event_time):
            self._stats.duplicates += 1
            return None
        if kind in USER_TYPES:
            owner = event.user_id
            called = event.campaign_id or event.campaign
            channel, region, segment = event.channel, event.region, event.segment or ""
        else:
            owner = called = event.campaign_id
            channel = event.channel if kind is SpendReported else ""
            region = segment = ""
            if kind is CampaignDefined:
                self._define(event)
        owner = owner.encode()
        if record.key != owner:
            self._stats.mis_keyed += 1
        campaign = self.campaigns.resolve(called)
        if campaign == UNKNOWN_CAMPAIGN:
            self._note_unknown(called)
        fold = FOLDS.get(kind)
        user = hash_user(owner)
        if self._customers is not None and kind in REMEMBERED:
            placed = (campaign, channel, region, segment)
            self._remember(kind, event, user, record.offset, event_time, units, placed)
            if kind is not Click:
                fold = None  # The customer's history says where it counts.
        if fold is not None:
            cell = self._panes.cell(event_time, campaign, channel, region, segment)
            fold(cell, event, user, units)
        if newest is None or event_time > newest:
            watermark.newest_event_time = event_time
        elif event_time < newest - self._disorder_ms:
            self._stats.late += 1
        return None

    def _remember(
        self,
        kind: type[Event],
        event: Any,
        user: int,
        offset: int,
        event_time: int,
        units: int,
        placed: tuple[str, str, str, str],
    ) -> None:
        """Make an entry for the log of the event's customer."""
        what: Touch | Order | Refund
        if kind is Click:
            number, what = TOUCH, Touch(*placed[:2])
        else:
            order = hash_user(event.order_id.encode())
            if kind is OrderPlaced:
                number, what = ORDER, Order(order, units, *placed, event.items)
            else:
                number, what = REFUND, Refund(order, units, *placed)
        entry = to_bytes(number, self.source.partition, offset, event_time, what)
        self._entries.append((user.to_bytes(8), entry))

    def _check_time(
        self, event_time: int | str, *, newest: int | None, appended_ms: int
    ) -> int | Rejected:
        """Return an event time in ms that may be counted.

        The broker's clock decides and not this worker's, so that a replay decides the same.
        """
        parsed = event_time_ms(event_time)
        if isinstance(parsed, Rejected):
            return parsed
        event_time = parsed
        if event_time > appended_ms + self.rules.future_tolerance_ms:
            return Rejected(Reason.FAR_FUTURE, "event_time is ahead of the broker's clock")
        if event_time < EARLIEST_EVENT_TIME:
            return Rejected(Reason.FAR_PAST, "event_time is before the year 1990")
        late_by_ms = 0 if newest is None else newest - self._disorder_ms - event_time
        if late_by_ms > self.rules.correction_horizon_ms:
            return Rejected(Reason.TOO_LATE, f"{late_by_ms} ms late, beyond the correction horizon")
        return event_time

    def _units(self, event: Any, event_time: int) -> int | Rejected:
        """Return an event's amount in units of 1/10,000 of the reporting currency."""
        on = self.rules.day.date_of(event_time)
        try:
            units = self.rates.to_units(event.amount, event.currency, on=on)
        except NoRateError as error:
            return Rejected(Reason.UNKNOWN_CURRENCY, str(error))
        except MoneyError as error:
            return Rejected(Reason.INVALID_AMOUNT, f"amount: {error}")
        return units if units >= 0 else Rejected(Reason.INVALID_AMOUNT, "amount: negative")

    def _note_unknown(self, called: str) -> None:
        stats = self._stats
        stats.unknown_campaigns += 1
        samples = stats.unknown_samples
        if len(samples) < UNKNOWN_SAMPLES and called not in samples:
            samples.append(called)

    def _define(self, event: CampaignDefined) -> None:
        campaign = Campaign(
            id=event.campaign_id,
            name=event.name,
            aliases=tuple(event.aliases),
            channels=tuple(event.channels),
            owner=event.owner,
        )
        self.campaigns.define(campaign)
        self._outputs.append(
            Output(
                topic=self.rules.registry_topic,
                key=campaign.id.encode(),
                value=campaign.model_dump_json().encode(),
            )
        )

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
        """Take note of how far the partition was read."""
        del now_ms
        self._behind = position.behind
        if position.caught_up_at_ms is not None:
            self.watermark.caught_up(
                at_ms=position.caught_up_at_ms, answering_since_ms=position.answering_since_ms
            )
        else:
            self.watermark.reading()
        if self._customers is not None and not self.dirty and not self._settling:
            self._customers.progress.settled(
                self._kind,
                self.source.partition,
                event_ms=self.watermark.newest_event_time or 0,
                read_ms=self.watermark.read_up_to_ms,
            )

    def snapshot(self) -> Snapshot | UnsettledCut:
        """Return the state, the ids since the last snapshot, and the report.

        With entries of customers it is returned once these are settled.
        """
        panes, self._panes = self._panes, Panes()
        entries, self._entries = self._entries, []
        known, self._customers_known = self._customers_known, self._customers_known or bool(entries)
        finish = self._cut(panes)
        if self._customers is None or not entries:
            return finish()
        self._settling = True
        return UnsettledCut(
            context=self._customers,
            kind=self._kind,
            partition=self.source.partition,
            entries=entries,
            panes=panes,
            event_ms=self.watermark.newest_event_time or 0,
            appended_ms=self.watermark.last_append_ms,
            read_ms=self.watermark.read_up_to_ms,
            known=known,
            finish=finish,
        )

    def _cut(self, panes: Panes) -> Callable[[], Snapshot]:
        """End what goes into this snapshot; it is written once the panes are whole."""
        report = self.report(panes={}, stats=self._stats)
        newest = self.watermark.newest_event_time
        segments = list(self._seen.take_segments(newest_event_time=newest or 0))
        early_outputs, self._outputs = self._outputs, []
        self._stats = SourceStats()
        self._reported_offset = self._offset
        state = _State(
            newest, self.watermark.last_append_ms, self._seen.counter, self._customers_known
        )

        def finish() -> Snapshot:
            self._settling = False
            report.panes = panes.take()
            value = reports.encode([report])
            return Snapshot(
                state=_encode_state(state),
                segments=segments,
                early_outputs=early_outputs,
                outputs=[Output(topic=self.rules.reports_topic, value=value, partition=0)],
            )

        return finish

    def report(self, *, panes: PanesWire | None = None, stats: SourceStats | None = None) -> Report:
        """Return a report; without panes it is a heartbeat."""
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


def _figure(event: Measurement) -> int | Rejected:
    """Return a measured figure: a whole number, ms, or a level in units of 1/10,000."""
    try:
        units = to_units(event.value)
    except MoneyError as error:
        return Rejected(Reason.INVALID_AMOUNT, f"value: {error}")
    if event.metric in LEVEL_INDEX:
        return units
    if units < 0:
        return Rejected(Reason.INVALID_AMOUNT, "value: negative")
    if event.metric == COMPLAINT_RESPONSE:
        return round(units / 10)
    if event.metric in FLOW_METRICS and units % 10_000:
        return Rejected(Reason.INVALID_AMOUNT, f"value: {event.metric} are whole numbers")
    return units // 10_000
