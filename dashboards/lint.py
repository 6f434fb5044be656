"""Finds faults by which a dashboard is blank or shows values that are out of date.

Each rule stands for a fault that was seen in a real Grafana: variables that overwrote each other,
tiles that kept the last value of a monitor that had died, 0 in place of no answer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.model import COLUMNS, panels_of


def faults(board: Mapping[str, Any]) -> list[str]:
    """Return a message for each fault of a dashboard.

    Args:
        board: JSON of the classic model, as `dashboards.model.to_json` writes it.
    """
    panels = [panel for panel in panels_of(board) if panel["type"] != "row"]
    found = [*_shared_ids("variables", board.get("templating", {}).get("list", ()))]
    found += _shared_ids("panels", list(panels_of(board)))
    for panel in panels:
        found += [f"panel {panel['title']!r} {why}" for why in _faults_of(panel)]
    found += _overlaps(panels)
    return found


def _shared_ids(what: str, things: Any) -> Iterator[str]:
    ids = Counter(str(thing.get("id", "")) for thing in things)
    for shared, count in ids.items():
        if count > 1 or not shared:
            yield f"{count} {what} have the id {shared!r}: each needs one of its own"


def _faults_of(panel: Mapping[str, Any]) -> Iterator[str]:
    if not panel.get("pluginVersion"):
        yield "has no pluginVersion: Grafana changes it as if it were of version 6"
    place = panel["gridPos"]
    if place["x"] + place["w"] > COLUMNS:
        yield f"reaches to column {place['x'] + place['w']} of {COLUMNS}"
    for target in panel.get("targets", ()):
        if "vector(0)" in target["expr"].replace(" ", ""):
            yield "has `or vector(0)`: it shows 0 for a monitor that does not answer"
        if panel["type"] in {"stat", "gauge", "table"} and not target.get("instant"):
            yield "is not instant: it keeps the last value of a monitor that does not answer"


def _overlaps(panels: list[Mapping[str, Any]]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        covered = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        for other in sorted({taken[cell] for cell in covered & taken.keys()}):
            yield f"panels {other!r} and {panel['title']!r} overlap"
        taken |= dict.fromkeys(covered, panel["title"])
