"""The additive measures that a cell holds, and the cell itself.

Everything summed is additive: cells of two panes, partitions or campaigns add
up measure by measure, and distinct users by union. Ratios are formed last.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Final, Literal

from models.distinct import Distinct

MEASURES: Final = (
    "impressions",
    "clicks",
    "visits",
    "orders",
    "refunds",
    "revenue_gross",
    "revenue_refunded",
    "spend",
    "spend_reports",
    "registrations",
    "leads",
    "surveys",
    "measurements",
)
"""Names of the sums of a cell, in their order on the wire; append only."""

SourceKind = Literal["clicks", "orders", "campaigns"]
SOURCE_KINDS: Final[tuple[SourceKind, ...]] = ("clicks", "orders", "campaigns")

SOURCE_OF: Final[dict[str, SourceKind]] = {
    **dict.fromkeys(("impressions", "clicks", "visits", "visitors"), "clicks"),
    **dict.fromkeys(
        (
            *("orders", "refunds", "revenue_gross", "revenue_refunded", "buyers"),
            *("registrations", "leads", "surveys"),
        ),
        "orders",
    ),
    **dict.fromkeys(("spend", "spend_reports", "measurements"), "campaigns"),
}
"""The source topic that a measure, or a count of distinct users, comes from."""

IMPRESSIONS: Final = 0
CLICKS: Final = 1
VISITS: Final = 2
ORDERS: Final = 3
REFUNDS: Final = 4
REVENUE_GROSS: Final = 5
REVENUE_REFUNDED: Final = 6
SPEND: Final = 7
SPEND_REPORTS: Final = 8
REGISTRATIONS: Final = 9
LEADS: Final = 10
SURVEYS: Final = 11
MEASUREMENTS: Final = 12

WIDTH: Final = len(MEASURES)

CellKey = tuple[str, str]
"""(campaign, channel): what ingest folds by."""

CellWire = tuple[list[int], bytes, bytes]
"""A cell on the wire: sums, visitors, buyers."""


class Cell:
    """The sums and distinct users of one scope in one stretch of time."""

    __slots__ = ("buyers", "sums", "visitors")

    def __init__(
        self,
        sums: list[int] | None = None,
        *,
        visitors: Distinct | None = None,
        buyers: Distinct | None = None,
    ) -> None:
        self.sums = [0] * WIDTH if sums is None else sums
        self.visitors = Distinct() if visitors is None else visitors
        self.buyers = Distinct() if buyers is None else buyers

    def merge(self, other: Cell) -> None:
        """Add another cell to this one."""
        self.sums = list(map(add, self.sums, other.sums))
        self.visitors.merge(other.visitors)
        self.buyers.merge(other.buyers)

    @classmethod
    def total(cls, cells: Sequence[Cell]) -> Cell:
        """Return the sum of at least one cell. It may be one of them: do not change it."""
        if len(cells) == 1:
            return cells[0]
        return cls(
            list(map(sum, zip(*(cell.sums for cell in cells), strict=True))),
            visitors=Distinct.union_of(cell.visitors for cell in cells),
            buyers=Distinct.union_of(cell.buyers for cell in cells),
        )

    def subtract_sums(self, other: Cell) -> None:
        """Take another cell's sums away; distinct users are a union and stay."""
        self.sums = [mine - theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]

    def to_wire(self) -> CellWire:
        """Return sums, visitors and buyers as they travel."""
        return self.sums, self.visitors.to_bytes(), self.buyers.to_bytes()

    @classmethod
    def from_wire(cls, wire: CellWire) -> Cell:
        """Read what `to_wire` wrote, also from before measures were appended."""
        sums, visitors, buyers = wire
        return cls(
            list(sums) + [0] * (WIDTH - len(sums)),
            visitors=Distinct.from_bytes(visitors),
            buyers=Distinct.from_bytes(buyers),
        )
