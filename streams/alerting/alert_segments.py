"""Stores the alert book in numbered segments, see `numbered_segments`.

A segment has up to `ALERTS_A_SEGMENT` open alerts of one rule; one segment has those resolved
lately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from models.alerts import Alert
from streams.alerting.machine import Standing
from streams.alerting.numbered_segments import NumberedSegments
from streams.engine.steps import Steps
from streams.kpis.judging import ALERTS_PREFIX
from streams.kpis.storage.bucket import Segment

ALERTS_A_SEGMENT = 50
"""The most alerts in a segment, some 50 kB."""
_RESOLVED: Final = ""
"""The key and the group of the alerts that were resolved lately, which are one row."""


class OpenAlert(NamedTuple):
    """A pending or firing alert, and its state with its clocks."""

    alert: Alert
    standing: Standing


class SavedAlert(NamedTuple):
    """An alert in the saved state, with what `Standing` knows besides. Fields may be appended.

    ``began`` orders the open alerts by when they began.
    """

    alert: Alert
    held_since_ms: int | None = None
    paused_ms: int = 0
    unjudged_since_ms: int | None = None
    no_data_paused_ms: int = 0
    began: int = 0

    @property
    def opened(self) -> OpenAlert:
        """The open alert as it was saved."""
        alert = self.alert
        standing = Standing(
            alert.state,
            alert.active_since_ms,
            alert.fired_at_ms,
            self.held_since_ms,
            paused_ms=self.paused_ms,
            unjudged_since_ms=self.unjudged_since_ms,
            no_data_paused_ms=self.no_data_paused_ms,
        )
        return OpenAlert(alert, standing)


_rows = TypeAdapter(list[SavedAlert])
decode = _rows.validate_json
"""Decodes the alerts of a segment, or of a head that has them all, as older versions wrote it."""


class AlertSegments:
    """The segments of the alert book: which alert is in which, and which have changed."""

    def __init__(self) -> None:
        self._segments = NumberedSegments(ALERTS_PREFIX, size=ALERTS_A_SEGMENT, title="the alerts")
        self._began: dict[str, int] = {}
        """Orders the open alerts by when they began."""
        self._next = 0

    @property
    def live(self) -> Sequence[int]:
        """The numbers of the segments that the head must list, ascending."""
        return self._segments.live

    def put(self, key: str, rule: str) -> None:
        """Record that an open alert of a rule is new, or has changed."""
        if key not in self._began:
            self._next += 1
            self._began[key] = self._next
        self._segments.put(key, rule)

    def drop(self, key: str) -> None:
        """Record that an alert is no longer open."""
        del self._began[key]
        self._segments.drop(key)

    def resolved(self) -> None:
        """Record that the alerts that were resolved lately have changed."""
        self._segments.put(_RESOLVED, _RESOLVED)

    def take(self, opened: Mapping[str, OpenAlert], resolved: Sequence[Alert]) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals of the old ones.

        Args:
            opened: the open alerts by id.
            resolved: those resolved lately.
        """

        def write(keys: Sequence[str]) -> Callable[[], bytes]:
            if keys == [_RESOLVED]:
                return partial(_written_resolved, list(resolved))
            return partial(_written, [(opened[key], self._began[key]) for key in keys])

        yield from self._segments.take(write)

    def read(
        self, segments: Mapping[bytes, bytes], *, live: Iterable[int]
    ) -> Steps[list[SavedAlert]]:
        """Read stored segments; all of them are removed by the next `take`.

        Args:
            segments: all segments of alerts that are stored.
            live: the numbers that the head lists.

        Returns:
            The alerts in the order in which they began, and those resolved lately in theirs.

        Raises:
            StateError: a segment is missing.
        """
        found = yield from self._segments.read(segments, live=live)
        rows: list[SavedAlert] = []
        for data in found:
            rows += decode(data)
            yield
        return sorted(rows, key=lambda row: row.began)


def _written(rows: Iterable[tuple[OpenAlert, int]]) -> bytes:
    return _rows.dump_json(
        [
            SavedAlert(
                alert,
                standing.held_since_ms,
                standing.paused_ms,
                standing.unjudged_since_ms,
                standing.no_data_paused_ms,
                began,
            )
            for (alert, standing), began in rows
        ]
    )


def _written_resolved(alerts: Iterable[Alert]) -> bytes:
    return _rows.dump_json([SavedAlert(alert) for alert in alerts])
