"""Errors that a person can act on: their messages say what, where, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic_core import ErrorDetails

_NUMBER: Final = "give a number, without quotes and unit; 2 % is 0.02"
_WHOLE_NUMBER: Final = "give a whole number, without quotes and unit"
_LIST: Final = "give a list, such as [a, b], also if it has one entry: [a]"
_KEYS: Final = "give keys with values, such as {key: value}"
_TRUTH: Final = "give true or false"
_DAY: Final = "give a date like 2026-06-18, or a time like 2026-06-18T20:00:00+08:00"
_DATE: Final = "give a date like 2026-06-18"
_WORDS: Final = {
    **dict.fromkeys(("float_parsing", "float_type", "decimal_parsing", "decimal_type"), _NUMBER),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), _WHOLE_NUMBER),
    **dict.fromkeys(("tuple_type", "list_type"), _LIST),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _KEYS),
    **dict.fromkeys(("bool_parsing", "bool_type"), _TRUTH),
    **dict.fromkeys(("datetime_from_date_parsing", "datetime_parsing", "datetime_type"), _DAY),
    **dict.fromkeys(
        (
            "date_from_datetime_inexact",
            "date_from_datetime_parsing",
            "date_parsing",
            "date_type",
        ),
        _DATE,
    ),
    "missing": "is missing",
    "string_type": "give a text; a number, a date, yes and no need quotes to be one",
}
"""Advice for an error of pydantic, by its type."""
_PATTERNS: Final = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": "use small letters, digits and hyphens, at most 63",
    r"^[a-z][a-z0-9_]{0,62}$": "use small letters, digits and underscores, at most 63, and a letter"
    " first",
    r"^[A-Z]{3}$": "give the code of a currency, three capitals such as CNY",
    r"^[A-Za-z0-9._-]{1,100}$": "use letters, digits, dots, underscores and hyphens, at most 100",
}
"""Descriptions of valid texts, by the patterns that they are checked against."""


def in_words(error: ErrorDetails) -> str:
    """Return what is wrong with a value of a file or setting, or what to give instead."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], error["msg"])
    return _WORDS.get(kind, error["msg"].removeprefix("Value error, "))


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
            remedy = (
                "start it (`kpi-monitor services` runs one on this machine), or set KPI_KAFKA (or "
                "--kafka) to where it is"
            )
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


class WorkersRunError(MonitorError):
    """Something needs that no worker runs, and one does."""


class StateError(MonitorError):
    """The stored state is damaged, incomplete, or of a version that this worker can't read."""


class CustomersError(MonitorError):
    """The customers can't be counted or rebuilt, because none are kept."""


class FeedError(MonitorError):
    """A file or mapping given to the feed is wrong."""


class BacktestError(MonitorError):
    """A backtest has no input, or a time given to it is wrong."""


class InitError(MonitorError):
    """A project can't be written from files, or nobody agreed to write it."""


class BoardsError(MonitorError):
    """The boards can't be uploaded to Grafana."""
