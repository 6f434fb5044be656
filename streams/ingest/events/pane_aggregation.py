"""Folds events into the cells of their panes, from one report to the next.

An event is folded once, into the cell of its pane, campaign, channel, region and segment. When a
report is made, these cells are merged into facets: an event with a region or a segment is then in
two or three of them. The fold functions take the cell, the event, the hash of its user, and its
money or figure as `validation.CARRIED` returns it. Events of guests have `GUEST` as their user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from models import events
from models.aggregates import histogram
from models.aggregates.cell import CellWire, LevelWire
from models.aggregates.distinct_users import Distinct
from models.aggregates.histogram import Histogram, bucket_of
from models.aggregates.ingest_report import FacetCell, PanesWire
from models.kpi import measures
from models.kpi.measures import DISTRIBUTION_INDEX, LEVEL_INDEX, SET_INDEX, SUM_INDEX
from models.scope import NO_CHANNEL, Facet, Place
from models.window import PANE_MS
from streams.ingest.events.validation import Figure

GUEST = -1
"""Stands for the hash of a user if there is none; in no set of users that is reported."""

_IMPRESSIONS = SUM_INDEX["impressions"]
_CLICKS = SUM_INDEX["clicks"]
_CLICKS_PAID = SUM_INDEX["clicks_paid"]
_VISITS = SUM_INDEX["visits"]
_VISITS_PAID = SUM_INDEX["visits_paid"]
_PAGE_VIEWS = SUM_INDEX["page_views"]
_NATURAL = SET_INDEX["visitors_natural"]
_PAID = SET_INDEX["visitors_paid"]
_REACHED = SET_INDEX["reached"]
_BUYERS = SET_INDEX["buyers"]
_ENGAGED = SET_INDEX["engaged"]
_LEAD_USERS = SET_INDEX["lead_users"]
_LEADS_CLOSED = SET_INDEX["leads_closed"]
_DWELL = DISTRIBUTION_INDEX["dwell_ms"]
_AMOUNT = DISTRIBUTION_INDEX["order_amount"]
_RESPONSE = DISTRIBUTION_INDEX["complaint_response_ms"]
_LEAD_STAGE = {
    stage: SUM_INDEX["leads" if stage == "lead" else f"leads_{stage}"]
    for stage in ("lead", "mql", "sql", "opportunity", "won", "lost")
}


_NO_SUMS: dict[str, int] = {}
_NO_LEVELS: dict[str, LevelWire] = {}
"""No custom measures, shared by all cells; neither is ever added to."""


class FoldingCell:
    """A cell that events are folded into: sums, hashes of users, histograms and levels.

    Custom measures are by name. Few cells have any: the others share empty dicts.
    """

    __slots__ = ("custom_levels", "custom_sums", "histograms", "levels", "sums", "users")

    def __init__(self) -> None:
        self.sums = [0] * measures.WIDTH
        self.users: tuple[set[int], ...] = tuple(set() for _ in measures.USER_SETS)
        self.histograms: tuple[Histogram, ...] = tuple({} for _ in measures.DISTRIBUTIONS)
        self.levels: dict[int, LevelWire] = {}
        self.custom_sums = _NO_SUMS
        self.custom_levels = _NO_LEVELS

    def add_custom_sum(self, name: str, value: int) -> None:
        """Add to a custom sum."""
        self.custom_sums = {**self.custom_sums, name: self.custom_sums.get(name, 0) + value}

    def add_custom_level(self, name: str, level: LevelWire) -> None:
        """Keep a measurement of a custom level if it is the newest."""
        known = self.custom_levels
        self.custom_levels = {**known, name: max(level, known.get(name, level))}

    def merge(self, other: FoldingCell) -> None:
        """Add another cell to this one."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        for users, theirs in zip(self.users, other.users, strict=True):
            users.update(theirs)
        for counts, others in zip(self.histograms, other.histograms, strict=True):
            histogram.merge(counts, others)
        for index, level in other.levels.items():
            self.levels[index] = max(level, self.levels.get(index, level))
        for name, value in other.custom_sums.items():
            self.add_custom_sum(name, value)
        for name, level in other.custom_levels.items():
            self.add_custom_level(name, level)

    def to_wire(self) -> CellWire:
        """Return the cell as it is sent in a report."""
        for users in self.users:
            users.discard(GUEST)
        return CellWire(
            self.sums,
            [_distinct(users) for users in self.users] if any(self.users) else [],
            list(self.histograms) if any(self.histograms) else [],
            self.levels,
            self.custom_sums,
            self.custom_levels,
        )


def _distinct(users: set[int]) -> bytes:
    return Distinct(users).to_bytes() if users else b""


class Panes:
    """The cells of one source partition since its last report."""

    def __init__(self) -> None:
        self.cells = 0
        """The number of cells in all panes, before they are merged into facets."""
        self._panes: dict[int, dict[Place, FoldingCell]] = {}

    def __len__(self) -> int:
        """Return the number of panes that have events."""
        return len(self._panes)

    def cell(self, event_time: int, place: Place) -> FoldingCell:
        """Return the cell of an event with this time, in ms, and this place; make it if needed."""
        start = event_time - event_time % PANE_MS
        cells = self._panes.get(start)
        if cells is None:
            cells = self._panes[start] = {}
        cell = cells.get(place)
        if cell is None:
            cell = cells[place] = FoldingCell()
            self.cells += 1
        return cell

    def take(self) -> PanesWire:
        """Return the panes as they are sent in a report, and empty them."""
        taken = {start: list(_facets(cells)) for start, cells in self._panes.items()}
        self._panes = {}
        self.cells = 0
        return taken


def _facets(cells: dict[Place, FoldingCell]) -> Iterable[FacetCell]:
    """Merge the cells of a pane by facet.

    A cell is in the facet of its campaign and channel. It is also in that of its campaign and
    region if it has a region, and in that of its segment if it has a segment.
    """
    parts: dict[Facet, list[FoldingCell]] = {}
    for (campaign, channel, region, segment), cell in cells.items():
        parts.setdefault(Facet(campaign, channel or NO_CHANNEL), []).append(cell)
        if region:
            parts.setdefault(Facet(campaign, region=region), []).append(cell)
        if segment:
            parts.setdefault(Facet(segment=segment), []).append(cell)
    for facet, several in parts.items():
        cell = several[0]
        if len(several) > 1:
            cell = FoldingCell()
            for part in several:
                cell.merge(part)
        yield FacetCell(facet.campaign, facet.channel, cell.to_wire(), facet.region, facet.segment)


def fold_impression(cell: FoldingCell, event: events.Impression, user: int, _units: int) -> None:
    """Add an impression's count and the user it reached."""
    cell.sums[_IMPRESSIONS] += event.count
    cell.users[_REACHED].add(user)


def fold_click(cell: FoldingCell, event: events.Click, user: int, _units: int) -> None:
    """Add a click and its user."""
    cell.sums[_CLICKS] += 1
    if event.traffic == "paid":
        cell.sums[_CLICKS_PAID] += 1
        cell.users[_PAID].add(user)
    else:
        cell.users[_NATURAL].add(user)


def fold_visit(cell: FoldingCell, event: events.Visit, user: int, _units: int) -> None:
    """Add a visit, its pages, its duration and its user."""
    sums = cell.sums
    sums[_VISITS] += 1
    sums[_PAGE_VIEWS] += event.pages
    if event.traffic == "paid":
        sums[_VISITS_PAID] += 1
        cell.users[_PAID].add(user)
    else:
        cell.users[_NATURAL].add(user)
    if event.dwell_ms is not None:
        add_to_histogram(cell.histograms[_DWELL], event.dwell_ms)


def fold_order(cell: FoldingCell, event: events.OrderPlaced, user: int, units: int) -> None:
    """Add an order, its amount, its items and its buyer."""
    cell.sums[SUM_INDEX["orders"]] += 1
    cell.sums[SUM_INDEX["revenue_gross"]] += units
    cell.sums[SUM_INDEX["items"]] += event.items
    cell.users[_BUYERS].add(user)
    add_to_histogram(cell.histograms[_AMOUNT], units)


def fold_refund(cell: FoldingCell, _: events.OrderRefunded, _user: int, units: int) -> None:
    """Add a refund and its amount in the place that it names, since its order is not known."""
    for count, money in (("refunds", "revenue_refunded"), ("refunds_made", "refund_outflow")):
        cell.sums[SUM_INDEX[count]] += 1
        cell.sums[SUM_INDEX[money]] += units


def fold_spend(cell: FoldingCell, event: events.SpendReported, _user: int, units: int) -> None:
    """Add a cost: of advertising, or of a channel or labour."""
    cell.sums[SUM_INDEX["spend" if event.cost == "ads" else "other_cost"]] += units
    cell.sums[SUM_INDEX["spend_reports"]] += 1


def fold_registration(cell: FoldingCell, _: events.Registration, user: int, _units: int) -> None:
    """Add a registration and its user."""
    cell.sums[SUM_INDEX["registrations"]] += 1
    cell.users[_ENGAGED].add(user)


def fold_lead(cell: FoldingCell, event: events.Lead, user: int, _units: int) -> None:
    """Add a lead's new stage and its user."""
    cell.sums[SUM_INDEX["lead_changes"]] += 1
    cell.sums[_LEAD_STAGE[event.stage]] += 1
    cell.users[_ENGAGED].add(user)
    cell.users[_LEAD_USERS].add(user)
    if event.stage in {"won", "lost"}:
        cell.users[_LEADS_CLOSED].add(user)


def fold_survey(cell: FoldingCell, event: events.Survey, user: int, _units: int) -> None:
    """Add a survey's answers and its user."""
    sums = cell.sums
    sums[SUM_INDEX["surveys"]] += 1
    cell.users[_ENGAGED].add(user)
    if event.nps is not None:
        sums[SUM_INDEX["nps_answers"]] += 1
        sums[SUM_INDEX["nps_promoters"]] += event.nps >= 9
        sums[SUM_INDEX["nps_detractors"]] += event.nps <= 6
    if event.csat is not None:
        sums[SUM_INDEX["csat_answers"]] += 1
        sums[SUM_INDEX["csat_score"]] += event.csat
        sums[SUM_INDEX["csat_squares"]] += event.csat**2


def fold_measurement(
    cell: FoldingCell, event: events.Measurement, _user: int, figure: Figure
) -> None:
    """Add a measured figure to a sum or a histogram, or keep it if it is the newest of a level."""
    cell.sums[SUM_INDEX["measurements"]] += 1
    metric, value = figure
    if metric is None:
        return
    level = (int(event.event_time), value)
    match metric.kind, metric.custom:
        case "seconds", _:
            cell.sums[SUM_INDEX["complaint_responses"]] += 1
            cell.sums[SUM_INDEX["complaint_response_total_ms"]] += value
            add_to_histogram(cell.histograms[_RESPONSE], value)
        case "sum", False:
            cell.sums[SUM_INDEX[metric.name]] += value
        case "sum", True:
            cell.add_custom_sum(metric.name, value)
        case _, True:
            cell.add_custom_level(metric.name, level)
        case _:
            index = LEVEL_INDEX[metric.name]
            cell.levels[index] = max(level, cell.levels.get(index, level))


def add_to_histogram(counts: Histogram, value: int, times: int = 1) -> None:
    """Count a value ``times`` times in its bucket; negative times retract it."""
    bucket = bucket_of(value)
    counts[bucket] = counts.get(bucket, 0) + times


FOLDS: dict[type[events.Event], Callable[..., None]] = {
    events.Impression: fold_impression,
    events.Click: fold_click,
    events.Visit: fold_visit,
    events.OrderPlaced: fold_order,
    events.OrderRefunded: fold_refund,
    events.SpendReported: fold_spend,
    events.Registration: fold_registration,
    events.Lead: fold_lead,
    events.Survey: fold_survey,
    events.Measurement: fold_measurement,
}
"""The fold function of each type of event. Types without one carry no measure."""
