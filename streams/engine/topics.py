"""Creates missing topics and checks the others, before anything else starts."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from streams.broker import Broker
from streams.errors import BrokerUnreachableError, TopicError

LARGEST_INTERNAL_RECORD = 32 << 20
"""Bytes. The state or the reports of a busy second must fit into one record."""

REMOVED_WITHIN_S = 30.0
"""Longest wait, in s, until a topic is gone."""

CHANGELOG_CONFIG: dict[str, str] = {
    "cleanup.policy": "compact",
    "segment.bytes": str(2 * LARGEST_INTERNAL_RECORD),
    "segment.ms": "60000",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "60000",
    "max.message.bytes": str(LARGEST_INTERNAL_RECORD),
}
"""Configuration of the changelog topics.

The active segment is never compacted, so segments are short and the cleaner is eager. A
segment must hold the largest record: the broker refuses a record that does not fit into one.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """The shape that a topic must have.

    Attributes:
        name: name of the topic.
        partitions: number of partitions.
        config: configuration with which it is created.
        owned: whether only the monitor uses the topic. Its configuration is then set at
            each start, also if the topic exists.
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    owned: bool = False


class TopicState(NamedTuple):
    """A topic as it should be, and the number of partitions that it has; None if it is missing."""

    spec: TopicSpec
    partitions: int | None


@contextlib.contextmanager
def admin(broker: Broker) -> Iterator[KafkaAdminClient]:
    """Connect an admin client, and close it afterwards.

    Raises:
        BrokerUnreachableError: no broker answers.
    """
    # The client logs every attempt to connect; one error is enough.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        client = KafkaAdminClient(**broker.client_options(), bootstrap_timeout_ms=5000)
    except (KafkaError, OSError, ValueError) as error:
        raise BrokerUnreachableError(
            broker.servers, security=broker.security, why=type(error).__name__
        ) from None
    try:
        yield client
    finally:
        client.close()


def describe(client: KafkaAdminClient) -> dict[str, int]:
    """Return the number of partitions by topic."""
    described: list[dict[str, Any]] = client.describe_topics()
    return {topic["name"]: len(topic["partitions"]) for topic in described}


def _configure(client: KafkaAdminClient, spec: TopicSpec) -> None:
    """Set the configuration of a topic, which an older version may have created with another."""
    wanted = ConfigResource(ConfigResourceType.TOPIC, spec.name, configs=dict(spec.config))
    try:
        client.alter_configs([wanted])
    except KafkaError as error:
        raise TopicError(
            spec.name,
            why=f"can't be configured ({type(error).__name__})",
            remedy=f"set {', '.join(f'{name}={value}' for name, value in spec.config.items())} "
            "by hand, or allow this user to alter its configuration",
        ) from None


def states(broker: Broker, specs: Iterable[TopicSpec]) -> list[TopicState]:
    """Compare topics with their specs, without changing anything.

    Raises:
        BrokerUnreachableError: no broker answers.
    """
    with admin(broker) as client:
        present = describe(client)
    return [TopicState(spec, present.get(spec.name)) for spec in specs]


def require(broker: Broker, specs: Iterable[TopicSpec]) -> None:
    """Refuse topics that are missing, or have another number of partitions than their specs.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: at least one does not fit.
    """
    found = states(broker, specs)
    refuse_wrong(found)
    missing = [state.spec.name for state in found if state.partitions is None]
    if missing:
        raise TopicError(
            ", ".join(missing),
            why=f"missing at {broker.servers}",
            remedy="if the names are right, `kpi-monitor topics --create` creates them",
        )


def ensure(
    broker: Broker, specs: Iterable[TopicSpec], *, replication_factor: int
) -> list[TopicSpec]:
    """Create missing topics and check the others.

    Returns:
        The topics that were missing and have been created.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be created or configured, or has another number of
            partitions than its spec.
    """
    wanted = list(specs)
    with admin(broker) as client:
        present = describe(client)
        missing = [spec for spec in wanted if spec.name not in present]
        if missing:
            _create(client, missing, replication_factor=replication_factor)
            present = describe(client)
        for spec in wanted:
            if spec.owned and spec not in missing:
                _configure(client, spec)
    for spec in wanted:
        if spec.name not in present:
            raise TopicError(
                spec.name,
                why="is missing and was not made",
                remedy="see `kpi-monitor topics` for what it should be",
            )
    refuse_wrong(TopicState(spec, present[spec.name]) for spec in wanted)
    return missing


def remove(broker: Broker, names: Collection[str]) -> None:
    """Delete topics with all records, and wait until they are gone.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be deleted, or is not gone in time.
    """
    deadline = time.monotonic() + REMOVED_WITHIN_S
    with admin(broker) as client:
        try:
            client.delete_topics(list(names))
        except KafkaError as error:
            raise TopicError(
                ", ".join(names),
                why=f"can't be removed ({type(error).__name__})",
                remedy="let an administrator remove it, and run this again",
            ) from None
        while left := set(names) & describe(client).keys():
            if time.monotonic() > deadline:
                raise TopicError(
                    ", ".join(sorted(left)),
                    why=f"is not removed after {REMOVED_WITHIN_S:.0f} s",
                    remedy="run this again",
                )
            time.sleep(0.1)


def empty(broker: Broker, partitions: Mapping[str, int]) -> None:
    """Delete all records of topics; the topics and their configuration stay.

    Args:
        broker: holds the topics.
        partitions: the number of partitions by topic.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: the records can't be deleted.
    """
    wanted = [
        TopicPartition(name, number)
        for name, count in partitions.items()
        for number in range(count)
    ]
    with admin(broker) as client:
        # -1 stands for the end of the partition.
        try:
            client.delete_records(dict.fromkeys(wanted, -1))
        except KafkaError as error:
            raise TopicError(
                ", ".join(partitions),
                why=f"can't be emptied ({type(error).__name__})",
                remedy="allow this user to delete its records, or leave it as it is",
            ) from None


def _create(
    client: KafkaAdminClient, specs: Iterable[TopicSpec], *, replication_factor: int
) -> None:
    asked = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": replication_factor,
            "configs": dict(spec.config),
        }
        for spec in specs
    }
    try:
        client.create_topics(asked, raise_errors=False, wait_for_metadata=True)
    except KafkaError as error:
        raise TopicError(
            ", ".join(asked), why=f"can't be made ({error})", remedy="make it by hand"
        ) from None


def refuse_wrong(found: Iterable[TopicState]) -> None:
    """Refuse topics that have another number of partitions than their specs.

    Raises:
        TopicError: a topic has another number.
    """
    for spec, actual in found:
        if actual not in {None, spec.partitions}:
            raise TopicError(
                spec.name,
                why=f"has {actual} partitions, not {spec.partitions}",
                remedy="set KPI_PARTITIONS to what the source topics have (all three alike); "
                "state made for another number can't be used: start under another KPI_APP_ID",
            )
