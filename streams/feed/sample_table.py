"""Shows rows and their events side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
from rich.markup import escape
from rich.table import Table

from streams.feed.events.mapped_file import Sample
from streams.feed.rows.row_mapper import ID_PLACE

_OWN = {"type", "event_time", "event_id"}
_decode = msgspec.json.Decoder(dict[str, object]).decode


def sample_table(samples: Iterable[Sample]) -> Table:
    """Return a table of rows, the columns of each beside the fields of its events."""
    table = Table(show_lines=True)
    table.add_column("line", justify="right")
    table.add_column("row", overflow="fold")
    table.add_column("events", overflow="fold")
    for sample in samples:
        events = [
            {"type": event.type, "event_time": _clock(event.time_ms)}
            | {name: value for name, value in _decode(event.value).items() if name not in _OWN}
            for event in sample.events
        ]
        table.add_row(
            str(sample.line),
            _fields(sample.row),
            "\n\n".join(map(_fields, events)),
        )
    return table


def _clock(time_ms: int) -> str:
    shown = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return shown.removesuffix("+00:00").removesuffix(".000") + "Z"


def _fields(values: Mapping[str, object]) -> str:
    texts = (
        f"{name}: {value}".replace(ID_PLACE, "(id of the event)") for name, value in values.items()
    )
    return "\n".join(escape(text.encode("utf-8", "backslashreplace").decode()) for text in texts)
