"""Faults of the changelogs: compacted, truncated or emptied."""

from __future__ import annotations

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from tests.chaos.arena import PARTITIONS, Arena
from tests.chaos.scenario import scenario

TABLES = {"ingest": PARTITIONS, "kpis": 1}


def _changelogs(arena: Arena) -> list[TopicPartition]:
    return [
        TopicPartition(arena.cluster.topic(f"{table}-changelog"), number)
        for table, count in TABLES.items()
        for number in range(count)
    ]


def _configure(arena: Arena, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    with arena.admin() as client:
        client.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, topic, configs=named)
                for topic in {place.topic for place in _changelogs(arena)}
            ]
        )


def _stored(arena: Arena) -> int:
    """Return how many records the changelogs hold now."""
    consumer = KafkaConsumer(**arena.cluster.broker.client_options(), enable_auto_commit=False)
    places = _changelogs(arena)
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    count = 0
    while any(consumer.position(place) < end for place, end in ends.items()):
        count += sum(len(records) for records in consumer.poll(timeout_ms=500).values())
    consumer.close()
    return count


def _ends(arena: Arena) -> dict[TopicPartition, int]:
    """Return the end offset of each changelog partition."""
    consumer = KafkaConsumer(**arena.cluster.broker.client_options(), enable_auto_commit=False)
    ends: dict[TopicPartition, int] = consumer.end_offsets(_changelogs(arena))
    consumer.close()
    return ends


def _written(arena: Arena) -> int:
    """Return how many records were ever written to the changelogs."""
    return sum(_ends(arena).values())


def _delete(arena: Arena, *, keep: int) -> None:
    """Remove all records of the changelogs but the last ``keep`` offsets of each partition."""
    _configure(arena, cleanup_policy="delete")
    with arena.admin() as client:
        client.delete_records({place: max(0, end - keep) for place, end in _ends(arena).items()})


@scenario(workers=("a",))
def changelog_compacted(arena: Arena) -> None:
    """The changelogs are compacted, and the worker's disk is lost."""
    _configure(arena, segment_ms="1000", min_cleanable_dirty_ratio="0.001")
    arena.wait(
        lambda: _stored(arena) < 0.6 * _written(arena), timeout_s=120, why="the cleaner compacts"
    )
    with arena.fault():
        arena.kill("a")
        arena.forget_disk("a")
        arena.outcome.notes.append(f"{_written(arena)} records compacted to {_stored(arena)}")
        arena.again("a")


@scenario(workers=("a",), feed_on_s=2.0)
def changelog_truncated(arena: Arena) -> None:
    """Retention cuts the changelogs: a worker without local state refuses, one with it goes on."""
    _refused_without_disk(arena, keep=3)


@scenario(workers=("a",), feed_on_s=2.0)
def changelog_emptied(arena: Arena) -> None:
    """The changelogs are emptied: a worker without local state refuses, one with it goes on."""
    _refused_without_disk(arena, keep=0)


def _refused_without_disk(arena: Arena, *, keep: int) -> None:
    arena.stop("a")
    with arena.fault():
        _delete(arena, keep=keep)
        stranger = arena.cluster.start("b")
        code = stranger.child.process.wait(90)
        if code != 70:
            arena.fail(f"the worker without state ended with {code}, not 70")
        arena.said("b", "start over with `kpi-monitor reset`")
        arena.again("a")
