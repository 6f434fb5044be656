"""Kafka transport for Faust that hands over whole batches.

Faust passes every record through four asyncio tasks. Here a fetch becomes one pseudo-record
for each source partition, whose value is a `Batch`. Changelogs and Faust's own topics are
passed on unchanged. tests/unit/test_faust_contract.py checks the private methods of Faust
that are overridden or called here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.engine.broker_clock import SILENCE_S, BrokerClock
from streams.engine.contracts import Position, SourcePartition
from streams.engine.faust_adapter import instance_fencing
from streams.engine.process_fence import end_process

log = logging.getLogger(__name__)

FETCH_MAX_WAIT_MS = 250
"""Longest time that the broker holds an empty fetch, in ms; Faust's 1,500 delays the watermark."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The records of one fetch and partition.

    Attributes:
        session: number of seeks of the partition before the fetch. It shows whether a batch
            was fetched before a certain seek or after it.
        records: the records, in offset order; never empty.
        lost: number of records before these that the broker removed before they were read.
    """

    session: int
    records: list[Any]
    lost: int = 0


class _Mark(NamedTuple):
    """Read position of a partition, and the moment up to which it is certain.

    Attributes:
        position: the next offset to fetch.
        highwater: the end of the partition.
        stable: the offset at which the first open transaction begins; the end without one.
        answer: the client's timestamp of the broker's last answer, to tell answers apart.
        answered_at: when that answer arrived. Moments are of the monotonic clock, in s.
        since: when the answer before it arrived: everything that was appended before then is
            covered. None without an answer before it.
        resumed_at: when an answer last arrived after more than `SILENCE_S` without any; None
            if that has not happened.
    """

    position: int
    highwater: int
    stable: int
    answer: int
    answered_at: float
    since: float | None
    resumed_at: float | None


_NOTHING = TP("", -1)


class Loss(NamedTuple):
    """Records that the broker removed before they were read; ``next_offset`` follows them."""

    records: int
    next_offset: int


class BatchThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Consumer thread that turns each fetch into batches."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sessions: dict[TP, int] = {}
        self.last_fetched: dict[TP, int] = {}
        self.held: frozenset[TP] = frozenset()
        """Partitions that are not fetched for now; set by the thread that applies batches."""
        self._marks: dict[TP, _Mark] = {}
        self._lost: dict[TP, Loss] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        # Aborted transactions are not counted, and open ones are not read yet.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        """Start the consumer, watch for another worker with its instance id, and note its own."""
        await super().on_start()
        instance_id = self.consumer.app.conf.consumer_group_instance_id
        instance_fencing.watch(
            self._ensure_consumer()._coordinator,
            on_taken=lambda: end_process(
                "another worker joined with the instance id %s and has the partitions of this one; "
                "give each worker a KPI_INSTANCE_ID of its own",
                instance_id,
            ),
            on_member=self.consumer.app.member_file.write,
        )

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust names it
        max_records: int | None = None,
    ) -> Any:
        wanted = active_partitions - self.held
        try:
            fetched = await super()._fetch_records(
                consumer,
                # With an empty set, Faust would return records of all partitions.
                wanted or {_NOTHING},
                timeout=timeout,
                max_records=max_records,
            )
        except NoOffsetForPartitionError:
            # No offset is committed, and the seek to the state's offset is still to come.
            return {}
        except OffsetOutOfRangeError as error:
            await self._go_to_what_is_left(consumer, error.args[0])
            return {}
        # No await from here on, so that no seek comes between a fetch and reading its session.
        sources = self.consumer.app.batch_topics
        collapsed = {
            tp: [self._collapse(tp, records)] if records and tp.topic in sources else records
            for tp, records in fetched.items()
        }
        self._record_positions(consumer, sources)
        return collapsed

    async def _go_to_what_is_left(self, consumer: Any, positions: Mapping[TP, int]) -> None:
        """Seek partitions whose next records were removed to the first one left; keep the loss."""
        first = await consumer.beginning_offsets(list(positions))
        for tp, position in positions.items():
            if position > first[tp]:
                end_process(
                    "%s[%d] ends before offset %d, which was to be read: the topic was made "
                    "anew or lost records",
                    *(*tp, position),
                )
            log.error("%s[%d] begins at offset %d, %d was to be read", *tp, first[tp], position)
            consumer.seek(tp, first[tp])
            before = self._lost[tp].records if tp in self._lost else 0
            self._lost[tp] = Loss(before + first[tp] - position, first[tp])

    def _record_positions(self, consumer: Any, sources: frozenset[str]) -> None:
        """Publish how far each source is read, for other threads."""
        assigned = consumer._subscription.subscription
        if assigned is None:
            return
        for tp in assigned.assignment.tps:
            state = assigned.assignment.state_value(tp)
            if tp.topic not in sources or state.timestamp is None or not state.has_valid_position:
                continue
            before = self._marks.get(tp)
            if before is not None and before.answer == state.timestamp:
                answered_at, since = before.answered_at, before.since
                resumed_at = before.resumed_at
            else:
                # The client stamps an answer with the machine's clock. Its age is short, and
                # is carried over to the monotonic clock, which does not step.
                age_s = max(0.0, time.time() - state.timestamp / 1000)
                answered_at = time.monotonic() - age_s
                # This answer was requested after the one before it had arrived, so it
                # covers everything that was appended before that moment.
                since = None if before is None else before.answered_at
                resumed_at = None if before is None else before.resumed_at
                if since is not None and answered_at - since > SILENCE_S:
                    resumed_at = answered_at
            self._marks[tp] = _Mark(
                state.position,
                state.highwater,
                state.lso,
                state.timestamp,
                answered_at,
                since,
                resumed_at,
            )

    def _collapse(self, tp: TP, records: list[Any]) -> SimpleNamespace:
        last = records[-1]
        self.last_fetched[tp] = last.offset
        return SimpleNamespace(
            topic=last.topic,
            partition=last.partition,
            offset=last.offset,
            timestamp=last.timestamp,
            timestamp_type=last.timestamp_type,
            headers=(),
            key=None,
            value=Batch(self.sessions.get(tp, 0), records, self._take_lost(tp)),
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
        )

    def _take_lost(self, tp: TP) -> int:
        loss = self._lost.pop(tp, None)
        return 0 if loss is None else loss.records

    def take_loss_at_the_end(self, tp: TP, *, session: int, applied: int) -> Loss | None:
        """Return a loss that no batch can report, because no record came after it yet.

        Args:
            tp: the source partition.
            session: the session of its job; None is returned if it is an older one.
            applied: the last applied offset; None is returned until every batch that was
                fetched is applied.
        """
        loss, mark = self._lost.get(tp), self._marks.get(tp)
        if loss is None or mark is None or session != self.sessions.get(tp):
            return None
        if self.last_fetched.get(tp, -1) > applied:
            return None
        if not loss.next_offset == mark.position == mark.highwater:
            return None
        return self._lost.pop(tp, None)

    def partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has in the client's metadata; 0 if it is not there."""
        cluster = self._ensure_consumer()._client.cluster
        return len(cluster.partitions_for_topic(topic) or ())

    async def committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Return the committed offsets of the partitions that have one."""
        return await self.call_thread(self._committed_offsets, tuple(tps))  # type: ignore[no-any-return]

    async def _committed_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        offsets = {tp: await consumer.committed(tp) for tp in tps}
        return {tp: offset for tp, offset in offsets.items() if offset}

    async def seek_sources(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        """Seek source partitions, and return the new session of each."""
        return await self.call_thread(self._seek_sources, offsets)  # type: ignore[no-any-return]

    async def _seek_sources(self, offsets: Mapping[TP, int]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            consumer.seek(tp, offset)
            self.sessions[tp] = self.sessions.get(tp, 0) + 1
            self.last_fetched[tp] = offset - 1
            self._marks.pop(tp, None)
            self._lost.pop(tp, None)
        return {tp: self.sessions[tp] for tp in offsets}

    async def offsets_for_time(self, times: Mapping[TP, int]) -> Mapping[TP, Any]:
        """Return the first offset at or after a broker time in ms, for each partition."""
        return await self.call_thread(  # type: ignore[no-any-return]
            self._ensure_consumer().offsets_for_times, times
        )

    def position_of(self, source: SourcePartition, *, applied: int) -> Position:
        """Return how far a source has been read, given its last applied offset."""
        tp = TP(*source)
        mark = self._marks.get(tp)
        if mark is None:
            return Position(caught_up_at_ms=None, behind=0)
        # Read after the mark: a fetch in between can only understate how far the source is read.
        applied_all = self.last_fetched.get(tp, -1) <= applied
        fetched_all = mark.position >= mark.stable and applied_all
        # A loss that no batch has reported yet must not look like completeness.
        read_to_end = mark.position >= mark.highwater and applied_all and tp not in self._lost
        clock: BrokerClock = self.consumer.app.broker_clock
        return Position(
            caught_up_at_ms=(
                clock.at_ms(mark.since) if read_to_end and mark.since is not None else None
            ),
            answering_since_ms=max(
                clock.answering_since_ms,
                (mark.resumed_at is not None and clock.at_ms(mark.resumed_at)) or 0,
            ),
            # Records behind the first open transaction can't be read yet.
            behind=0 if fetched_all else max(0, mark.stable - applied - 1),
        )


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Consumer that seeks every source to its state's offset, whatever is committed."""

    _thread: BatchThread

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Seek the sources to the offsets of their state; recovery has sought the changelogs.

        Faust would seek to the committed offsets here. Two of its tasks may call this at the
        same time, and the later one would move sources away from the offsets of their state.
        """
        sources = {tp for tp in self.assignment() if tp.topic in self.app.batch_topics}
        resume: ResumeSources = self.app.resume_sources
        await resume(sources, self._thread)
        for tp in sources:
            self._read_offset[tp] = None


ResumeSources = Callable[[set[TP], BatchThread], Awaitable[None]]


class ClockedProducer(driver.Producer):  # type: ignore[misc]
    """Idempotent producer that learns the broker's time from acknowledgements.

    Without idempotence, a broker that was paused could process a request that its client had
    given up, and so put an older head after a newer one.
    """

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def send(self, topic: str, *fields: Any, **options: Any) -> Any:
        """Send a record, and return the future of its acknowledgement."""
        acknowledged = await super().send(topic, *fields, **options)
        if topic == self.app.clock_topic:
            clock: BrokerClock = self.app.broker_clock
            sent_at = time.monotonic()

            def note(done: Any) -> None:
                if not done.cancelled() and done.exception() is None:
                    broker_ms = done.result().timestamp
                    clock.record(broker_ms, sent_at=sent_at, acked_at=time.monotonic())

            acknowledged.add_done_callback(note)
        return acknowledged


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's transport with `BatchConsumer` and `ClockedProducer`."""

    Consumer = BatchConsumer
    Producer = ClockedProducer
