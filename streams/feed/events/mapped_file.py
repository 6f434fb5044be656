"""Reads a whole file through its mapping, before anything of it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models.patterns import nearest
from streams import config
from streams.errors import FeedError
from streams.feed.events.event_sorter import MEMORY_BYTES, EventSorter
from streams.feed.mapping.mapping_file import UsedColumn, load_mapping
from streams.feed.mapping.row_errors import RowError
from streams.feed.mapping.templates import EVENT_ID
from streams.feed.rows.readers import RowFile, has_member, opened
from streams.feed.rows.refused_rows import RefusedRows
from streams.feed.rows.report import FeedReport
from streams.feed.rows.row_mapper import MappedEvent, RowMapper

DELIMITERS = ";\t|,"
"""Characters that probably are the delimiter of a file that seems to have one column."""
SAMPLES = 2
"""Rows that are kept of each combination of entries."""
REPORTED_EVERY = 10_000
"""Rows after which the progress is reported."""


class Sample(NamedTuple):
    """A row with its events, to be shown.

    Args:
        line: the number of its line.
        row: its columns.
        events: its events.
    """

    line: int
    row: dict[str, Any]
    events: list[MappedEvent]


class MappedFile:
    """A file whose rows are events, sorted by time.

    Args:
        path: the file.
        mapping_path: its mapping file.
        largest_bytes: larger records are refused.
        refused_path: the file of refused rows.
        hash_key: returns the key of fields that are hashed; called if there are any.
        memory_bytes: how many bytes of events are kept in memory.

    Raises:
        ConfigError: the mapping is not valid.
    """

    def __init__(
        self,
        path: Path,
        mapping_path: Path,
        *,
        largest_bytes: int,
        refused_path: Path,
        hash_key: Callable[[], bytes] = bytes,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.mapping = load_mapping(mapping_path)
        self.report = FeedReport(path, refused_path)
        self.sorter = EventSorter(
            memory_bytes=memory_bytes, equal_once=self.mapping.equal_events == "once"
        )
        self.samples: list[Sample] = []
        """The first rows of each combination of entries of ``events``."""
        self.path = path
        self.mapping_path = mapping_path
        self._largest_bytes = largest_bytes
        self._hash_key = hash_key() if self.mapping.hashes else b""
        self._nulls = frozenset(self.mapping.nulls)

    def read(self, on_rows: Callable[[int], None] | None = None) -> None:
        """Read all rows; afterwards `sorter` has their events, and `report` the counts.

        Args:
            on_rows: called with the number of rows read, now and then.

        Raises:
            FeedError: the file can't be read or does not fit the mapping, or refused rows or
                events can't be kept. Nothing may be sent then.
        """
        refused = RefusedRows(self.report.refused_path)
        try:
            with opened(self.path, self.mapping) as rows:
                self._refuse_unknown_columns(rows)
                self._map(rows, refused, on_rows)
        finally:
            refused.close()
        self._refuse_misfit()

    def _map(
        self, rows: RowFile, refused: RefusedRows, on_rows: Callable[[int], None] | None
    ) -> None:
        report, sorter = self.report, self.sorter
        mapper = RowMapper(
            self.mapping,
            lambda column: rows.getter(column, self._nulls),
            largest_bytes=self._largest_bytes,
            hash_key=self._hash_key,
        )
        counts: dict[tuple[int, ...], int] = {}
        refuse_late = self.mapping.out_of_order == "refuse"
        numbered = rows.rows if rows.names is not None else self._noting_columns(rows.rows)
        for line, row in numbered:
            report.rows += 1
            if on_rows is not None and report.rows % REPORTED_EVERY == 0:
                on_rows(report.rows)
            try:
                if isinstance(row, RowError):
                    raise row
                if mapper.leaves_out(row):
                    report.left_out += 1
                    continue
                events = mapper.events(line, row)
            except RowError as error:
                report.refuse(line, error.reason, str(error))
                kept = error.kept if isinstance(row, RowError) else _as_object(row, rows.names)
                refused.write(line, str(error), kept)
                continue
            if not events:
                report.unmatched += 1
                report.first_unmatched = report.first_unmatched or line
                continue
            entries = tuple([place for place, _ in events])
            count = counts.get(entries, 0)
            counts[entries] = count + 1
            if count < SAMPLES:
                of_row = [event for _, event in events]
                self.samples.append(Sample(line, _as_object(row, rows.names), of_row))
            for _, event in events:
                sorter.add(event)
            if refuse_late and sorter.late:
                raise FeedError(
                    f"{self.path}: line {line}: is older than a row before it; sort the file, or "
                    "set out_of_order: sort in the mapping"
                )
        report.out_of_order = sorter.late
        for entries, count in counts.items():
            types = [(place, self.mapping.events[place].type) for place in entries]
            report.add(types, count)

    def _refuse_unknown_columns(self, rows: RowFile) -> None:
        if rows.names is not None:
            known = {*rows.names}
            self._no_columns(
                [used for used in self.mapping.used_columns() if used.column not in known],
                rows.names,
            )

    def _noting_columns(self, rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Yield rows of NDJSON, and check at the end that they had the columns of the mapping.

        Raises:
            FeedError: no row had one that is required.
        """
        used = [*self.mapping.used_columns()]
        missing = {one.column for one in used}
        names: dict[str, None] = {}
        for line, row in rows:
            if missing and isinstance(row, dict):
                missing = {column for column in missing if not has_member(row, column)}
                if len(names) < 1_000:
                    names |= dict.fromkeys(row)
            yield line, row
        if names:
            absent = [one for one in used if one.column in missing]
            self._no_columns([one for one in absent if one.required], [*names])
            for column in dict.fromkeys(one.column for one in absent):
                self.report.notes.append(f"no row has {column!r}{nearest(column, names)}")

    def _no_columns(self, missing: list[UsedColumn], names: Iterable[str]) -> None:
        if not missing:
            return
        places = [
            f"{self.mapping_path}: {config.place(self.mapping_path, one.location)}: "
            f"{self.path} has no column {one.column!r}{_instead_of(one.column, names)}"
            for one in missing
        ]
        raise FeedError("\n".join([*places, _columns_it_has([*names])]))

    def _refuse_misfit(self) -> None:
        report = self.report
        if report.rows > report.left_out and not report.events:
            raise FeedError(
                "\n".join(
                    [
                        f"{self.path}: no row became an event, and nothing is sent; look at "
                        f"{self.mapping_path}",
                        *list(report.lines())[1:],
                    ]
                )
            )
        for place, event in enumerate(self.mapping.events):
            if report.rows and not report.by_entry[place]:
                where = config.place(self.mapping_path, ("events", place))
                report.notes.append(f"{self.mapping_path}: {where}: no row matched {event.type}")


def _columns_it_has(names: Sequence[str]) -> str:
    found = next((one for one in DELIMITERS if len(names) == 1 and one in names[0]), None)
    if found is not None:
        return f"it has one column, {names[0]!r}; set delimiter: {json.dumps(found)} in the mapping"
    return f"it has: {', '.join(names)}"


def _instead_of(column: str, names: Iterable[str]) -> str:
    """Return the end of the message about an unknown column: what to write instead."""
    if column in {"row", "file"}:
        return f"; ids of rows and files change with corrections: {{{EVENT_ID}}} does not"
    return nearest(column, names)


def _as_object(row: Any, names: Iterable[str] | None) -> dict[str, Any]:
    """Return a row with the names of its columns."""
    return row if isinstance(row, dict) else dict(zip(names or (), row, strict=True))
