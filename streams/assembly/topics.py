"""The topics of a deployment."""

from __future__ import annotations

from streams.engine import topics
from streams.engine.topics import CHANGELOG_CONFIG, LARGEST_INTERNAL_RECORD, TopicSpec, TopicState
from streams.ingest import stage as ingest
from streams.kpis import stage as kpis
from streams.settings import Settings

_INTERNAL = {"max.message.bytes": str(LARGEST_INTERNAL_RECORD)}
_BY_BROKER_CLOCK = {"message.timestamp.type": "LogAppendTime"}


def sources(settings: Settings) -> list[TopicSpec]:
    """Return the topics of events, which producers write."""
    return [
        TopicSpec(name=name, partitions=settings.partitions, config=_BY_BROKER_CLOCK)
        for name in settings.source_topics
    ]


def registry(settings: Settings) -> TopicSpec:
    """Return the topic of campaigns and exchange rates."""
    return TopicSpec(
        name=settings.registry_topic, partitions=1, config={"cleanup.policy": "compact"}
    )


def own(settings: Settings) -> list[TopicSpec]:
    """Return the topics that the monitor writes."""
    return [
        TopicSpec(
            name=settings.reports_topic,
            partitions=1,
            config=_INTERNAL | _BY_BROKER_CLOCK,
            owned=True,
        ),
        registry(settings),
        TopicSpec(name=settings.dead_letters_topic, partitions=1, config=_INTERNAL),
        TopicSpec(name=settings.alerts_topic, partitions=1),
        TopicSpec(name=settings.values_topic, partitions=1, config=_INTERNAL),
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


def states(settings: Settings) -> list[TopicState]:
    """Compare every topic with what it should be, the source topics first.

    Raises:
        BrokerUnreachableError: no broker answers.
    """
    return topics.states(settings.broker, [*sources(settings), *own(settings)])


def require_sources(settings: Settings) -> None:
    """Refuse if a source topic or the registry is missing or has another number of partitions.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic does not fit.
    """
    topics.require(settings.broker, [*sources(settings), registry(settings)])


def require_registry(settings: Settings) -> None:
    """Refuse if the registry is missing or has another number of partitions.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: the topic does not fit.
    """
    topics.require(settings.broker, [registry(settings)])


def ensure(settings: Settings) -> list[TopicSpec]:
    """Create missing topics and check the others; return those that have been created.

    Raises:
        BrokerUnreachableError: no broker answers.
        TopicError: a topic can't be created or configured, or has another number of partitions.
    """
    return topics.ensure(
        settings.broker,
        [*sources(settings), *own(settings)],
        replication_factor=settings.replication_factor,
    )
