"""The state machine of one source partition of clicks, orders or campaigns.

Records become events, events are checked, named, and folded into panes; every
snapshot reports what was folded since the one before. A pure function of its
state, the batch and the clock it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from models import dead_letters, reports
from models.campaigns import Campaign
from models.dead_letters import DeadLetter, Reason
from models.events import CampaignDefined, CampaignEvent, Event, SpendReported, UserEvent
from models.money import MoneyError, to_units
from models.reports import Report, SourceStats
from models.scopes import UNKNOWN_CAMPAIGN
from streams.engine.stage import Output, Position, Record, Saved, Snapshot, SourcePartition
from streams.ingest.campaigns import CampaignIndex
from streams.ingest.decode import EventDecoder, Rejected, event_time_ms
from streams.ingest.dedupe import SeenIds
from streams.ingest.panes import FOLDS, Panes
from streams.ingest.watermark import Watermark

EARLIEST_EVENT_TIME = 631_152_000_000
"""1990-01-01T00:00Z; an event before it is broken input."""
UNKNOWN_SAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRules:
    """What ingest needs to know of the settings. Durations in ms."""

    currency: str
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


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode


class IngestJob:
    """One source partition.

    Args:
        source: the topic and partition.
        kind: ``clicks``, ``orders`` or ``campaigns``.
        generation: grows with every assignment of partitions.
    """

    def __init__(
        self,
        source: SourcePartition,
        *,
        kind: str,
        rules: IngestRules,
        campaigns: CampaignIndex,
        generation: int,
        saved: Saved | None = None,
    ) -> None:
        self.source = source
        self.rules = rules
        self.campaigns = campaigns
        self.generation = generation
        self._decoder = EventDecoder(kind, largest_bytes=rules.largest_record_bytes)
        self._seen = SeenIds(horizon_ms=rules.dedupe_horizon_ms)
        self._panes = Panes()
        self._stats = SourceStats()
        self._outputs: list[Output] = []
        self._behind = 0
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

    @property
    def dirty(self) -> bool:
        """Whether records were applied since the last snapshot."""
        return self._offset != self._reported_offset

    @property
    def pending(self) -> int:
        """How many records were applied since the last snapshot."""
        return self._stats.records

    def apply(self, records: Sequence[Record], *, now_ms: int) -> None:
        """Take the next records, in offset order."""
        if self._reported_offset is None:
            self._offset = self._reported_offset = records[0].offset - 1
        stats = self._stats
        decode = self._decoder.decode
        for record in records:
            event = decode(record.value)
            if not isinstance(event, Rejected):
                rejected = self._count(record, event, now_ms=now_ms)
                if rejected is None:
                    continue
                event = rejected
            self._reject(record, event)
        stats.records += len(records)
        last = records[-1]
        self._offset = last.offset
        self.watermark.appended(last.timestamp)

    def _count(self, record: Record, event: Event, *, now_ms: int) -> Rejected | None:
        """Fold an event, or say why it can't be counted. A duplicate is neither."""
        event_time = event.event_time
        if type(event_time) is not int:
            parsed = event_time_ms(event_time)
            if isinstance(parsed, Rejected):
                return parsed
            event_time = parsed
        newest = self.watermark.newest_event_time
        if newest is None or event_time > newest:
            if event_time > now_ms + self.rules.future_tolerance_ms:
                return Rejected(Reason.FAR_FUTURE, "event_time is ahead of the clock")
            if event_time < EARLIEST_EVENT_TIME:
                return Rejected(Reason.FAR_PAST, "event_time is before the year 1990")
        elif event_time < newest - self.rules.allowed_disorder_ms:
            if event_time < EARLIEST_EVENT_TIME:
                return Rejected(Reason.FAR_PAST, "event_time is before the year 1990")
            late_by_ms = newest - self.rules.allowed_disorder_ms - event_time
            if late_by_ms > self.rules.correction_horizon_ms:
                return Rejected(
                    Reason.TOO_LATE, f"{late_by_ms} ms late, beyond the correction horizon"
                )
        units = 0
        amount = getattr(event, "amount", None)
        if amount is not None:
            if event.currency != self.rules.currency:  # type: ignore[attr-defined]
                return Rejected(
                    Reason.UNKNOWN_CURRENCY, f"only {self.rules.currency} is counted here"
                )
            try:
                units = to_units(amount)
            except MoneyError as error:
                return Rejected(Reason.INVALID_AMOUNT, f"amount: {error}")
            if units < 0:
                return Rejected(Reason.INVALID_AMOUNT, "amount: negative")
        if not self._seen.first_time(event.event_id, event_time=event_time):
            self._stats.duplicates += 1
            return None
        self._fold(record, event, event_time=event_time, units=units)
        return None

    def _fold(self, record: Record, event: Event, *, event_time: int, units: int) -> None:
        stats = self._stats
        if isinstance(event, UserEvent):
            if record.key != event.user_id.encode():
                stats.mis_keyed += 1
            campaign = self.campaigns.resolve(campaign_id=event.campaign_id, name=event.campaign)
            channel = event.channel
            called = event.campaign_id or event.campaign
        elif isinstance(event, CampaignEvent):
            if record.key != event.campaign_id.encode():
                stats.mis_keyed += 1
            if isinstance(event, CampaignDefined):
                self._define(event)
            campaign = self.campaigns.resolve(campaign_id=event.campaign_id, name=None)
            channel = event.channel if isinstance(event, SpendReported) else ""
            called = event.campaign_id
        else:  # pragma: no cover - every shape is one of the two
            raise TypeError(type(event))
        if campaign == UNKNOWN_CAMPAIGN:
            stats.unknown_campaigns += 1
            if len(stats.unknown_samples) < UNKNOWN_SAMPLES and called not in stats.unknown_samples:
                stats.unknown_samples.append(str(called))
        fold = FOLDS.get(type(event))
        if fold is not None:
            cell = self._panes.cell(event_time=event_time, campaign=campaign, channel=channel)
            fold(cell, event, units)
        stats.counted += 1
        if self.watermark.observe(event_time):
            stats.late += 1

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
        topic, partition = self.source
        letter = DeadLetter(
            topic=topic,
            partition=partition,
            offset=record.offset,
            appended_ms=record.timestamp,
            reason=rejected.reason,
            detail=rejected.detail,
            key=record.key,
            value=record.value,
        )
        self._outputs.append(
            Output(
                topic=self.rules.dead_letters_topic,
                key=f"{topic}/{partition}/{record.offset}".encode(),
                value=dead_letters.encode(letter),
            )
        )

    def tick(self, position: Position, *, now_ms: int) -> None:
        """Take note of how far the partition was read."""
        del now_ms
        self._behind = position.behind
        if position.caught_up_at_ms is not None:
            self.watermark.caught_up(at_ms=position.caught_up_at_ms)
        else:
            self.watermark.reading()

    def snapshot(self, *, now_ms: int) -> Snapshot:
        """Return the state, the ids since the last snapshot, and the report."""
        del now_ms
        report = self.report(panes=self._panes.take(), stats=self._stats)
        newest = self.watermark.newest_event_time
        segments = list(self._seen.take_segments(newest_event_time=newest or 0))
        early_outputs, self._outputs = self._outputs, []
        outputs = [
            Output(topic=self.rules.reports_topic, value=reports.encode([report]), partition=0)
        ]
        self._stats = SourceStats()
        self._reported_offset = self._offset
        state = _State(newest, self.watermark.last_append_ms, self._seen.counter)
        return Snapshot(
            state=_encode_state(state),
            segments=segments,
            early_outputs=early_outputs,
            outputs=outputs,
        )

    def report(
        self, *, panes: dict[int, Any] | None = None, stats: SourceStats | None = None
    ) -> Report:
        """Return a report; without panes it is a heartbeat."""
        from_offset = -1 if self._reported_offset is None else self._reported_offset
        mark = self.watermark
        return Report(
            topic=self.source.topic,
            partition=self.source.partition,
            generation=self.generation,
            from_offset=from_offset,
            to_offset=from_offset if panes is None or self._offset is None else self._offset,
            read_up_to_ms=mark.read_up_to_ms,
            watermark_ms=mark.watermark_ms,
            idle=mark.idle,
            behind=self._behind,
            stats=stats or SourceStats(),
            panes=panes or {},
        )
