"""Numbering of custom measures, which are places of sums and indices of levels.

The numbers are valid within one worker: reports and stored buckets have names. So values are found
again whatever was declared, removed or reordered meanwhile.

Example: `media_exposures` and `samples` are declared, and a stored bucket has `samples` and
`old_sum`. Places 512 and 513 are the declared ones, in their order. `old_sum`, which is not
declared any more, gets 514: it is kept with its bucket, and no KPI reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from models.kpi.measures import FIRST_CUSTOM, NO_CUSTOM, CustomNames

SUM_PLACES = 1 << 10
"""Places reserved for sums, built-in and custom."""

log = logging.getLogger(__name__)


class CustomIndex:
    """Numbers custom sums and levels from `FIRST_CUSTOM`; `sums` and `levels` list their names.

    `left_out` has the names of sums that found no place.

    Args:
        declared: the custom measures that are declared. They have the first numbers, in their
            order, so that the calculator knows them.
    """

    def __init__(self, declared: CustomNames = NO_CUSTOM) -> None:
        self.sums = [*declared.sums]
        self.levels = [*declared.levels]
        self.left_out: set[str] = set()
        self._sum_numbers = _numbered(declared.sums)
        self._level_numbers = _numbered(declared.levels)

    def sum_at(self, name: str) -> int | None:
        """Return the place of a sum, a new one if it has none; None if all places are taken.

        A file declares 100 at most. Only sums of earlier files can be too many.
        """
        place = self._sum_numbers.get(name)
        if place is not None:
            return place
        if FIRST_CUSTOM + len(self.sums) < SUM_PLACES:
            place = self._sum_numbers[name] = FIRST_CUSTOM + len(self.sums)
            self.sums.append(name)
        elif name not in self.left_out:
            self.left_out.add(name)
            log.warning(
                "the sum %r of an earlier file of KPIs is dropped: %d such sums are kept at most",
                *(name, SUM_PLACES - FIRST_CUSTOM),
            )
        return place

    def level_at(self, name: str) -> int:
        """Return the index of a level, a new one if it has none."""
        index = self._level_numbers.get(name)
        if index is None:
            index = self._level_numbers[name] = FIRST_CUSTOM + len(self.levels)
            self.levels.append(name)
        return index


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: FIRST_CUSTOM + number for number, name in enumerate(names)}
