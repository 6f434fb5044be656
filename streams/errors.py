"""Errors that a person can act on: their messages say what, where, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class MonitorError(Exception):
    """A fault that ends a command with exit code 2 and one clear message."""


class FaultsError(ValueError):
    """Several faults of one entry of a configuration file, for its validators to raise.

    Args:
        faults: messages, each of which begins with its key: ``fields.amount: is missing``.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


class ConfigError(MonitorError):
    """A setting or a configuration file is wrong.

    Args:
        source: the file, or the environment.
        where: the line and key.
        why: what is wrong with it.
        others: further faults of the same file, each with its line and key and what is wrong.
    """

    def __init__(
        self, *, source: str, where: str, why: str, others: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.source = source
        self.where = where
        self.why = why
        faults = [(where, why), *others]
        super().__init__("\n".join(f"{source}: {place}: {fault}" for place, fault in faults))


class BrokerUnreachableError(MonitorError):
    """No Kafka broker answers at the address."""

    def __init__(self, address: str, *, security: str, why: str) -> None:
        self.address = address
        if security == "plaintext":
            remedy = "start it, or set KPI_KAFKA (or --kafka) to where it is"
        else:
            remedy = (
                "start it, or look at KPI_KAFKA, KPI_KAFKA_USERNAME and the password (a broker "
                "hangs up on a wrong one), and KPI_KAFKA_CA_FILE"
            )
        super().__init__(f"no Kafka broker answers at {address} ({security}, {why}); {remedy}")


class RedisUnreachableError(MonitorError):
    """Redis does not answer, refuses, or removes keys when it is full."""


class TopicError(MonitorError):
    """A topic is missing, or does not have the shape that the state needs."""

    def __init__(self, topic: str, *, why: str, remedy: str) -> None:
        self.topic = topic
        super().__init__(f"topic {topic}: {why}; {remedy}")


class EmbeddedError(MonitorError):
    """An embedded Kafka or Valkey could not be fetched or started."""


class StateError(MonitorError):
    """The stored state is damaged, incomplete, or of a version that this worker can't read."""


class CustomersError(MonitorError):
    """The customers can't be counted or rebuilt, because none are kept."""


class FeedError(MonitorError):
    """A file or mapping given to the feed is wrong."""


class BoardsError(MonitorError):
    """The boards can't be uploaded to Grafana."""
