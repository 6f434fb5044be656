"""Reads times as files write them, in ms since the Unix epoch.

Example: with ``format: "%d.%m.%Y %H:%M"`` and ``zone: Europe/Berlin``, ``25.11.2026 15:17`` is
2026-11-25T14:17Z. When clocks are put back, an hour comes twice: its times are taken for the first.
When they are put forward, an hour does not exist: a time in it is refused, as the zone must be
wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streams.feed.mapping.templates import Template
from streams.settings import known_zone

EPOCHS = ("epoch_ms", "epoch_s")
_LARGEST_TIME_MS = 10**14
"""The year 5138."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of times whose zone is added later
_MILLISECOND = timedelta(milliseconds=1)
_KEPT_OFFSETS = 100_000
"""Minutes whose offsets are kept; clocks change at whole minutes."""
_DIGITS = {
    "Y": ("year", r"\d{4}"),
    "m": ("month", r"\d{1,2}"),
    "d": ("day", r"\d{1,2}"),
    "H": ("hour", r"\d{1,2}"),
    "M": ("minute", r"\d{1,2}"),
    "S": ("second", r"\d{1,2}"),
    "f": ("microsecond", r"\d{1,6}"),
}
"""Directives of strptime that are read five times as fast by an expression of one's own."""


def _time_format(pattern: str) -> str:
    if pattern not in {"rfc3339", *EPOCHS}:
        if "%" not in pattern:
            raise ValueError(f"{pattern!r}: use rfc3339, epoch_ms, epoch_s or a strptime pattern")
        try:
            datetime.strptime("", pattern)  # noqa: DTZ007 - only the pattern is checked
        except (ValueError, re.error) as error:
            if "does not match" not in str(error):
                raise ValueError(f"{error}; use rfc3339, epoch_ms, epoch_s or strptime") from None
    return pattern


def _listed(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


Pattern = Annotated[str, AfterValidator(_time_format)]
Formats = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1)]


class _Clock:
    """A zone's clock, with its offsets from UTC in the minutes that were asked for.

    Args:
        zone: the zone of times without an offset; None if they all need one.
    """

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone
        self._offsets: dict[int, int] = {}

    def ms(self, moment: datetime) -> int:
        """Return a moment in ms since the epoch; what is finer than ms is cut off.

        Raises:
            ValueError: it has no offset and there is no zone, or the zone's clock skipped it.
        """
        if moment.tzinfo is not None:
            return (moment - _EPOCH) // _MILLISECOND
        local_ms = (moment - _LOCAL_EPOCH) // _MILLISECOND
        offset_ms = self._offsets.get(local_ms // 60_000)
        if offset_ms is None:
            offset_ms = self._offset_ms(moment)
            if len(self._offsets) >= _KEPT_OFFSETS:
                self._offsets.clear()
            self._offsets[local_ms // 60_000] = offset_ms
        return local_ms - offset_ms

    def _offset_ms(self, moment: datetime) -> int:
        zone = self._zone
        if zone is None:
            raise ValueError(f"'{moment}' has no offset from UTC; set time.zone")
        local = moment.replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
            raise ValueError(f"'{moment}' does not exist in {zone.key}: clocks were put forward")
        offset = local.utcoffset()
        assert offset is not None
        return offset // _MILLISECOND


class TimeFormat(BaseModel):
    """The format of a time, and its zone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Formats = ("rfc3339",)
    """``rfc3339``, ``epoch_ms``, ``epoch_s`` or a pattern of strptime; or a list of them, of which
    the first that fits is used.
    """
    zone: Annotated[str, AfterValidator(known_zone)] | None = None
    """IANA time zone of times without an offset from UTC. Required unless the format is an epoch,
    has ``%z``, or is ``rfc3339`` and every time has its offset.
    """

    @model_validator(mode="after")
    def _zone_is_known(self) -> TimeFormat:
        without = [one for one in self.format if "%" in one and "%z" not in one.replace("%%", "")]
        if without and self.zone is None:
            raise ValueError(
                f"zone: is missing, as {without[0]!r} has no offset from UTC; give the zone of the "
                "clock that wrote the file, such as Europe/Berlin, or UTC"
            )
        if self.zone is not None and all(one in EPOCHS for one in self.format):
            raise ValueError("zone: an epoch has none; leave it out")
        return self

    def reader(self) -> Callable[[Any], int]:
        """Return a function that reads a time in ms, and raises `ValueError` if a text is none."""
        clock = _Clock(None if self.zone is None else ZoneInfo(self.zone))
        readers = [_reader(pattern, clock) for pattern in self.format]
        first, *others = readers

        def read(given: Any) -> int:
            try:
                time_ms = first(str(given))
            except (ValueError, OverflowError) as error:
                why = error
                for other in others:
                    try:
                        time_ms = other(str(given))
                        break
                    except (ValueError, OverflowError):
                        continue
                else:
                    raise ValueError(str(why)) from None
            if abs(time_ms) > _LARGEST_TIME_MS:
                raise ValueError(f"{given} is beyond the calendar")
            return time_ms

        return read


class EventTime(TimeFormat):
    """The time of events."""

    value: Template
    """Template of the time's text, such as ``{Date} {Time}``."""


def date_reader(pattern: str) -> Callable[[str], str]:
    """Return a function that reads a date by a strptime pattern, and writes it as 2026-11-25."""

    def read(text: str) -> str:
        try:
            return datetime.strptime(text, pattern).date().isoformat()  # noqa: DTZ007 - a date
        except ValueError:
            raise ValueError(f"{text!r} does not match the date format {pattern!r}") from None

    return read


def _reader(pattern: str, clock: _Clock) -> Callable[[str], int]:
    if pattern == "epoch_ms":
        return _epoch_ms
    if pattern == "epoch_s":
        return _epoch_s
    parse = datetime.fromisoformat if pattern == "rfc3339" else _strptime(pattern)

    def read(text: str) -> int:
        try:
            parsed = parse(text)
        except ValueError:
            raise ValueError(f"{text!r} does not match the format {pattern!r}") from None
        return clock.ms(parsed)

    return read


def _epoch_ms(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number of ms since the epoch") from None


def _epoch_s(text: str) -> int:
    try:
        return round(float(text) * 1000)
    except ValueError:
        raise ValueError(f"{text!r} is no number of seconds since the epoch") from None


def _strptime(pattern: str) -> Callable[[str], datetime]:
    """Return a function that reads times by a pattern of strptime.

    Patterns of digits only are read by an expression. A property test compares both ways.
    """
    parts = re.split(r"(%.)", pattern)
    named = [part[1] for part in parts if part.startswith("%")]
    plain = all(letter in _DIGITS for letter in named) and len({*named}) == len(named)
    if not plain or not {"Y", "m", "d"} <= {*named} or re.search(r"\s", pattern.replace(" ", "")):
        return lambda text: datetime.strptime(text, pattern)  # noqa: DTZ007 - see `_Clock`
    expression = re.compile(
        "".join(
            f"({_DIGITS[part[1]][1]})" if part.startswith("%") else _literal(part) for part in parts
        ),
        re.ASCII,
    )
    order = [_DIGITS[letter][0] for letter in named]
    places = [order.index(name) for name in ("year", "month", "day")]
    clock = [order.index(name) if name in order else -1 for name in ("hour", "minute", "second")]
    fraction = order.index("microsecond") if "microsecond" in order else -1
    year, month, day = places
    hour, minute, second = clock

    def read(text: str) -> datetime:
        found = expression.fullmatch(text)
        if found is None:
            raise ValueError(text)
        digits = (*found.groups(), "0")
        return datetime(  # noqa: DTZ001 - see `_Clock`
            int(digits[year]),
            int(digits[month]),
            int(digits[day]),
            int(digits[hour]),
            int(digits[minute]),
            int(digits[second]),
            0 if fraction < 0 else int(digits[fraction].ljust(6, "0")),
        )

    return read


def _literal(text: str) -> str:
    return r"\s+".join(map(re.escape, re.split(" +", text)))
