"""Stores the alert book in segments: a checkpoint writes the alerts that changed, and few others.

A segment has up to `ALERTS_A_SEGMENT` open alerts of one rule; one segment has those resolved
lately. A segment that changed is written under a new number, and the head lists the numbers that
belong to it. The old number is removed after the head. So the alerts are always those of the head,
wherever a worker dies: a segment without a head that lists it does not count.

Example: the head lists segments 4 and 5. An alert of segment 4 changes::

    segments    alerts/6 is written: what segment 4 has, with the change
    head        lists 5 and 6
    removed     alerts/4

If the worker dies before the head is written, its successor finds 4, 5 and 6 and the head that
lists 4 and 5. It reads these, and removes 6. After a restart all alerts are written again, so that
nothing depends on what a worker that was replaced may still remove.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pydantic import TypeAdapter

from models.alerts import Alert
from streams.alerting.machine import Standing
from streams.engine.steps import Steps
from streams.errors import StateError
from streams.kpis.judging import ALERTS_PREFIX
from streams.kpis.storage.bucket import Segment

ALERTS_A_SEGMENT = 50
"""The most alerts in a segment, some 50 kB."""


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


class _Group:
    """The open alerts of one segment: their ids, with the order in which they began."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.began: dict[str, int] = {}
        self.number: int | None = None


class AlertSegments:
    """The segments of the alert book: which alert is in which, and which have changed."""

    def __init__(self) -> None:
        self._group_of: dict[str, _Group] = {}
        self._with_room: defaultdict[str, dict[_Group, None]] = defaultdict(dict)
        self._changed: dict[_Group, None] = {}
        self._resolved: int | None = None
        self._resolved_changed = False
        self._live: set[int] = set()
        self._expired: list[bytes] = []
        self._next = 0
        self._began = 0

    @property
    def live(self) -> Sequence[int]:
        """The numbers of the segments that the head must list, ascending."""
        return sorted(self._live)

    def put(self, key: str, rule: str) -> None:
        """Record that an open alert of a rule is new, or has changed."""
        group = self._group_of.get(key)
        if group is None:
            group = self._group_of[key] = self._with_a_place(rule)
            self._began += 1
            group.began[key] = self._began
            if len(group.began) == ALERTS_A_SEGMENT:
                del self._with_room[rule][group]
        self._changed[group] = None

    def _with_a_place(self, rule: str) -> _Group:
        """Return a group of a rule that is not full; a new one if there is none."""
        group = next(iter(self._with_room[rule]), None)
        if group is None:
            group = _Group(rule)
            self._with_room[rule][group] = None
        return group

    def drop(self, key: str) -> None:
        """Record that an alert is no longer open."""
        group = self._group_of.pop(key)
        del group.began[key]
        self._with_room[group.rule][group] = None
        self._changed[group] = None

    def resolved(self) -> None:
        """Record that the alerts that were resolved lately have changed."""
        self._resolved_changed = True

    def take(self, opened: Mapping[str, OpenAlert], resolved: Sequence[Alert]) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals of the old ones.

        Args:
            opened: the open alerts by id.
            resolved: those resolved lately.
        """
        for key in self._expired:
            yield Segment(key)
        self._expired = []
        for group in self._changed:
            rows = [(opened[key], began) for key, began in group.began.items()]
            if group.number is not None:
                yield self._without(group.number)
                group.number = None
            if rows:
                group.number = self._number()
                yield Segment(_key(group.number), partial(_written, rows))
            else:
                self._with_room[group.rule].pop(group, None)
        self._changed = {}
        if self._resolved_changed:
            self._resolved_changed = False
            if self._resolved is not None:
                yield self._without(self._resolved)
            self._resolved = self._number()
            yield Segment(_key(self._resolved), partial(_written_resolved, list(resolved)))

    def _number(self) -> int:
        """Return the number of a new segment, and list it."""
        number = self._next
        self._next += 1
        self._live.add(number)
        return number

    def _without(self, number: int) -> Segment:
        self._live.discard(number)
        return Segment(_key(number))

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
        rows: list[SavedAlert] = []
        for number in live:
            data = segments.get(_key(number))
            if data is None:
                raise StateError(
                    f"the alerts of segment {number} are missing in the state of the KPI stage: "
                    "its changelog was truncated; restore it, or start over with `kpi-monitor "
                    "reset`"
                )
            rows += decode(data)
            yield
        self._expired = list(segments)
        self._next = 1 + max((int(key.removeprefix(ALERTS_PREFIX)) for key in segments), default=-1)
        return sorted(rows, key=lambda row: row.began)


def _key(number: int) -> bytes:
    return ALERTS_PREFIX + b"%d" % number


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
