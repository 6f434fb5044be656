"""What the engine takes for granted of Faust and aiokafka.

Each private name that is overridden or read is checked here, so that an upgrade
that changes one fails in CI and not in production.
"""

from __future__ import annotations

import inspect
from importlib import metadata

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.producer.sender import SendProduceReqHandler
from aiokafka.structs import RecordMetadata
from faust.app.base import App
from faust.stores import rocksdb
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, ConsumerThread
from faust.transport.drivers import aiokafka as driver

from streams.engine.faust_adapter import transport


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("package", "version"),
    [("faust-streaming", "0.15.3"), ("mode-streaming", "0.7.1"), ("aiokafka", "0.14.0")],
)
def test_the_versions_are_those_that_were_read(package: str, version: str) -> None:
    assert metadata.version(package) == version


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (
            driver.AIOKafkaConsumerThread,
            "_fetch_records",
            ["self", "consumer", "active_partitions", "timeout", "max_records"],
        ),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (driver.AIOKafkaConsumerThread, "on_start", ["self"]),
        (GroupCoordinator, "_send_req", ["self", "request"]),
        (rocksdb.Store, "_open_for_partition", ["self", "partition"]),
        (driver.Consumer, "_new_consumer_thread", ["self"]),
        (Consumer, "perform_seek", ["self"]),
        (driver.Consumer, "_commit", ["self", "offsets"]),
        (
            driver.Producer,
            "send",
            [
                "self",
                "topic",
                "key",
                "value",
                "partition",
                "timestamp",
                "headers",
                "transactional_id",
            ],
        ),
        (rocksdb.Store, "_db_for_partition", ["self", "partition"]),
        (rocksdb.Store, "set_persisted_offset", ["self", "tp", "offset"]),
        (rocksdb.Store, "persisted_offset", ["self", "tp"]),
        (rocksdb.Store, "partition_path", ["self", "partition"]),
        (
            rocksdb.Store,
            "apply_changelog_batch",
            ["self", "batch", "to_key", "to_value"],
        ),
        (driver.Producer, "_settings_extra", ["self"]),
        (AIOKafkaConsumer, "committed", ["self", "partition"]),
        (ClusterMetadata, "partitions_for_topic", ["self", "topic"]),
    ],
)
def test_what_is_overridden_or_called_has_these_parameters(
    owner: type, name: str, expected: list[str]
) -> None:
    assert parameters(getattr(owner, name)) == expected


def test_fetch_does_not_yield_after_taking() -> None:
    """The fetch gives way to other tasks only while it waits, not after it took records."""
    source = inspect.getsource(driver.AIOKafkaConsumerThread._fetch_records)
    assert source.count("await") == 1
    assert "return await fetcher.fetched_records(" in source


def test_fetcher_takes_the_wait_at_start() -> None:
    """The consumer reads the longest wait when it starts, so that it can be set before."""
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.start)


def test_recovery_seeks_before_it_reads() -> None:
    """Recovery seeks the sources after the state is complete, and before they are read."""
    source = inspect.getsource(Recovery.on_recovery_completed)
    assert source.index("on_rebalance_complete.send()") < source.index("perform_seek()")
    assert source.index("perform_seek()") < source.index("consumer.resume_flow()")


def test_revocation_stops_reading_first() -> None:
    """A revocation stops reading and clears the queues before it is signalled."""
    source = inspect.getsource(App._on_partitions_revoked)
    places = [
        source.index(step)
        for step in (
            "consumer.stop_flow",
            "self.flow_control.clear",
            "self.on_partitions_revoked.send",
        )
    ]
    assert places == sorted(places)


def test_sources_without_acknowledgement_keep_no_gaps() -> None:
    source = inspect.getsource(Consumer._drain_messages)
    assert "acks_enabled = acks_enabled_for(message.topic)" in source
    assert "if r_offset is None or offset >= r_offset:" in source


def test_partition_state_has_time_and_ends() -> None:
    """The state of a partition has the time of its last fetch, its position and its ends."""
    for name in ("position", "has_valid_position"):
        assert isinstance(getattr(TopicPartitionState, name), property)
    source = inspect.getsource(TopicPartitionState.__init__)
    assert "self.timestamp" in source
    assert "self.highwater" in source
    assert "self.lso" in source


def test_fetch_is_dated_by_the_local_clock() -> None:
    """A fetch is dated by the local clock when its answer arrives."""
    source = inspect.getsource(Fetcher._proc_fetch_request)
    assert "now_ms = int(1000 * time.time())" in source
    assert "tp_state.timestamp = now_ms" in source


def test_acknowledgement_has_the_append_time() -> None:
    """An acknowledgement has the offset, and the time at which the broker appended the record."""
    assert {"offset", "timestamp", "timestamp_type"} <= set(RecordMetadata._fields)


def test_an_idempotent_producer_never_gives_a_batch_up() -> None:
    source = inspect.getsource(SendProduceReqHandler._can_retry)
    assert "self._sender._txn_manager is None and batch.expired()" in source


def test_recovery_has_offsets_and_ends() -> None:
    """Recovery has the position and the end of each changelog."""
    assert {"active_offsets", "active_highwaters"} <= set(Recovery.__annotations__)


def test_the_engine_overrides_what_it_means_to() -> None:
    assert issubclass(transport.BatchThread, ConsumerThread)
    assert transport.BatchTransport.Consumer is transport.BatchConsumer
    assert transport.BatchTransport.Producer is transport.ClockedProducer
    assert callable(ConsumerThread.call_thread)
