"""The topics of a deployment."""

from __future__ import annotations

from streams.engine import topics
from streams.engine.topics import CHANGELOG_CONFIG, LARGEST_INTERNAL_RECORD, TopicSpec
from streams.ingest import stage as ingest
from streams.kpis import stage as kpis
from streams.settings import Settings


def specs(settings: Settings) -> list[TopicSpec]:
    """Return every topic that the monitor reads or writes."""
    internal = {"max.message.bytes": str(LARGEST_INTERNAL_RECORD)}
    by_broker_clock = {"message.timestamp.type": "LogAppendTime"}
    sources = [
        TopicSpec(name=name, partitions=settings.partitions, config=by_broker_clock)
        for name in settings.source_topics
    ]
    return [
        *sources,
        TopicSpec(
            name=settings.reports_topic, partitions=1, config=internal | by_broker_clock, owned=True
        ),
        TopicSpec(name=settings.registry_topic, partitions=1, config={"cleanup.policy": "compact"}),
        TopicSpec(name=settings.dead_letters_topic, partitions=1, config=internal),
        TopicSpec(name=settings.alerts_topic, partitions=1),
        TopicSpec(name=settings.values_topic, partitions=1, config=internal),
        TopicSpec(
            name=settings.changelog_topic(ingest.TABLE),
            partitions=settings.partitions,
            config=CHANGELOG_CONFIG,
            owned=True,
        ),
        TopicSpec(
            name=settings.changelog_topic(kpis.TABLE),
            partitions=1,
            config=CHANGELOG_CONFIG,
            owned=True,
        ),
    ]


def ensure(settings: Settings) -> dict[str, int]:
    """Create missing topics and check the others; return the partitions by topic.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be created or configured, or has another number of partitions.
    """
    return topics.ensure(
        settings.broker, specs(settings), replication_factor=settings.replication_factor
    )
