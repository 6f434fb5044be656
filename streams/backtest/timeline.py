"""Draws the firings of a backtest as a picture (SVG): a row for each rule and scope, over time.

The name of a row is above its bar, not beside it, so that the picture can be read on a phone: it is
`WIDTH` units wide, and half as many pixels there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from html import escape
from typing import Final, NamedTuple

from models.window import DAY_MS, HOUR_MS, MINUTE_MS
from streams.backtest.firings import Firing
from streams.backtest.result import Result

WIDTH: Final = 720
EDGE: Final = 16
"""Space at the left and at the right."""
AXIS_Y: Final = 80
"""The y of the axis: a title and the dates are above it."""
ROWS_Y: Final = 104
"""The y of the first row: the numbers of the incidents are above it."""
ROW: Final = 60
BAR: Final = 20
LINE: Final = 30
"""Height of a line of text."""
LEAST: Final = 3
"""Width of the shortest bar: a minute in a month would not be seen."""
LETTER: Final = 12
"""Width of a letter, about."""
MOST_TICKS: Final = 6
_STEPS: Final = (
    *(minutes * MINUTE_MS for minutes in (1, 5, 15, 30)),
    *(hours * HOUR_MS for hours in (1, 3, 6, 12)),
)
"""Steps of the axis within a day, in ms."""
_STYLE: Final = """
text{font:20px system-ui,sans-serif;fill:#222}
.title{font-size:22px;font-weight:600}.quiet{fill:#666}
.paper{fill:#fff}.track{fill:#888;fill-opacity:.16}.tick{stroke:#ccc}.incident{fill:#1565c0;fill-opacity:.22}
.critical{fill:#c62828}.warning{fill:#ef6c00}.info{fill:#2e7d32}.other{fill:#777}
@media(prefers-color-scheme:dark){text{fill:#eee}.quiet{fill:#aaa}.paper{fill:#181818}
.tick{stroke:#555}.incident{fill:#64b5f6;fill-opacity:.3}.other{fill:#aaa}}
"""


class _Row(NamedTuple):
    name: str
    firings: list[Firing]
    others: list[Firing]


def timeline(result: Result, *, zone: tzinfo) -> str:
    """Return a picture of a result, with local times."""
    return "\n".join(_Drawing(result, zone).lines()) + "\n"


def ticks(from_ms: int, to_ms: int, *, zone: tzinfo) -> list[tuple[int, str]]:
    """Return up to `MOST_TICKS` times between two, with their texts.

    These are local midnights, or in a short span whole hours or minutes.
    """
    span_ms = to_ms - from_ms
    for step_ms in _STEPS:
        if span_ms <= step_ms * MOST_TICKS:
            times = _within_days(from_ms, to_ms, step_ms, zone)
            return [(at_ms, _tick(datetime.fromtimestamp(at_ms / 1000, zone))) for at_ms in times]
    days = -(-span_ms // (DAY_MS * MOST_TICKS))
    first = datetime.fromtimestamp(from_ms / 1000, zone).date() + timedelta(days=1)
    found = []
    while (at_ms := _midnight(first, zone)) <= to_ms:
        found.append((at_ms, _tick(datetime.fromtimestamp(at_ms / 1000, zone))))
        first += timedelta(days=days)
    return found


def _tick(moment: datetime) -> str:
    """Return the date of a midnight, or the time of day."""
    return f"{moment.day} {moment:%b}" if moment.time() == time() else f"{moment:%H:%M}"


def _within_days(from_ms: int, to_ms: int, step_ms: int, zone: tzinfo) -> Iterator[int]:
    """Yield the times at whole steps since the last local midnight."""
    at_ms = _midnight(datetime.fromtimestamp(from_ms / 1000, zone).date(), zone)
    while at_ms <= to_ms:
        if at_ms >= from_ms:
            yield at_ms
        at_ms += step_ms


def _midnight(day: date, zone: tzinfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def _rows(result: Result) -> Iterator[_Row]:
    """Yield a row for each rule and scope that fired, and for each rule that never did."""
    against = result.against or []
    rules = dict.fromkeys([*result.rules, *(one.rule for one in against)])
    for rule in rules:
        here = [one for one in result.firings if one.rule == rule]
        there = [one for one in against if one.rule == rule]
        scopes = dict.fromkeys(one.scope for one in [*here, *there])
        for scope in scopes:
            firings = [one for one in here if one.scope == scope]
            others = [one for one in there if one.scope == scope]
            yield _Row(f"{len(firings)}× {rule} · {scope}", firings, others)
        if not scopes:
            yield _Row(f"{rule} · never fired", [], [])


class _Drawing:
    """A picture that is drawn from the top to the bottom."""

    def __init__(self, result: Result, zone: tzinfo) -> None:
        self._result = result
        self._zone = zone
        self._rows = list(_rows(result))
        self._incidents = result.incidents or []
        self._span_ms = max(1, result.to_ms - result.from_ms)
        self._bottom = ROWS_Y + ROW * len(self._rows)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the file."""
        notes = list(self._notes())
        height = self._bottom + LINE * (len(notes) + 1)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="100%" style="max-width:{WIDTH * 2}px" role="img">'
        )
        yield f"<style>{_STYLE}</style>"
        yield f'<rect class="paper" width="{WIDTH}" height="{height}"/>'
        span = f"{self._moment(self._result.from_ms)} to {self._moment(self._result.to_ms)}"
        zone = f"{datetime.fromtimestamp(self._result.to_ms / 1000, self._zone):%Z}"
        yield _text(EDGE, LINE, f"Firings from {span} {zone}", "title")
        yield from self._axis()
        yield from self._shading()
        for place, row in enumerate(self._rows):
            yield from self._row(row, ROWS_Y + ROW * place)
        for place, note in enumerate(notes):
            yield _text(EDGE, self._bottom + LINE * (place + 1), note, "quiet")
        yield "</svg>"

    def _axis(self) -> Iterator[str]:
        free = 0.0
        for at_ms, text in ticks(self._result.from_ms, self._result.to_ms, zone=self._zone):
            x = self._x(at_ms)
            yield f'<path class="tick" d="M{x:.1f} {AXIS_Y}V{self._bottom}"/>'
            half = len(text) * LETTER / 2
            if free <= x - half and half <= x <= WIDTH - half:
                yield _text(x, AXIS_Y - 8, text, "quiet", middle=True)
                free = x + half + LETTER

    def _row(self, row: _Row, top: int) -> Iterator[str]:
        yield _text(EDGE, top + 22, _shortened(row.name))
        y = top + LINE
        yield f'<rect class="track" x="{EDGE}" y="{y}" width="{WIDTH - 2 * EDGE}" height="{BAR}"/>'
        for one in row.firings:
            yield self._bar(one, one.fired.severity, y, BAR)
        for one in row.others:
            yield self._bar(one, "other", y + BAR + 1, BAR // 4)

    def _bar(self, firing: Firing, style: str, y: int, height: int) -> str:
        until_ms = firing.until_ms(self._result.to_ms)
        title = f"{self._moment(firing.from_ms)} to {self._moment(until_ms)}"
        return (
            f'<rect class="{style}" {self._stretch(firing.from_ms, until_ms)} y="{y}" '
            f'height="{height}"><title>{escape(title)}</title></rect>'
        )

    def _shading(self) -> Iterator[str]:
        for number, one in enumerate(self._incidents, 1):
            yield (
                f'<rect class="incident" {self._stretch(one.from_ms, one.to_ms)} '
                f'y="{AXIS_Y}" height="{self._bottom - AXIS_Y}">'
                f"<title>{escape(one.name)}</title></rect>"
            )
            x = min(max(self._x((one.from_ms + one.to_ms) // 2), EDGE), WIDTH - EDGE)
            yield _text(x, AXIS_Y + 18, str(number), middle=True)

    def _notes(self) -> Iterator[str]:
        """Yield the lines below the rows: the incidents, and what thin bars are."""
        if self._result.against is not None:
            yield "Thin bars: the rules of --against"
        for number, one in enumerate(self._incidents, 1):
            yield _shortened(f"{number} {one.name}, {self._moment(one.from_ms)}")

    def _stretch(self, from_ms: int, until_ms: int) -> str:
        """Return the x and the width of a stretch of time, which may be longer than the picture."""
        left, right = self._x(from_ms), self._x(until_ms)
        return f'x="{left:.1f}" width="{max(LEAST, right - left):.1f}"'

    def _x(self, at_ms: int) -> float:
        share = (at_ms - self._result.from_ms) / self._span_ms
        return EDGE + (WIDTH - 2 * EDGE) * min(max(share, 0), 1)

    def _moment(self, ms: int) -> str:
        moment = datetime.fromtimestamp(ms / 1000, self._zone)
        return f"{moment.day} {moment:%b %H:%M}"


def _shortened(text: str) -> str:
    most = (WIDTH - 2 * EDGE) // LETTER
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: float, y: int, text: str, style: str = "", *, middle: bool = False) -> str:
    named = f' class="{style}"' if style else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:.0f}" y="{y}"{named}{anchor}>{escape(text)}</text>'
