"""Traffic that is assumed of a scope, from which the n of a rule's values follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.kpi.definition import Catalogue, Kpi
from models.kpi.formula import Quotient, Terms
from models.kpi.measures import SET_INDEX, SUM_INDEX
from models.patterns import nearest
from models.window import DAY_MS, HOUR_MS, WINDOWS
from streams.alerting.rules.rule import Rule

_HOURS: Final = {
    window.name: (window.days * DAY_MS if window.days else window.length_ms or 0) / HOUR_MS
    for window in WINDOWS
}
"""Length of each window in hours, of those of business days the longest; 0 of all time."""


def parse_traffic(text: str) -> dict[str, float]:
    """Return the events an hour of a text such as ``clicks=30,orders=2``.

    Raises:
        ValueError: it is none; or nothing of that name is measured.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in SUM_INDEX and name not in SET_INDEX:
            known = (*SUM_INDEX, *SET_INDEX)
            raise ValueError(f"{part!r}: nothing named {name!r} is measured{nearest(name, known)}")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1
        if not 0 <= found[name] < 1e12:
            raise ValueError(f"{part!r}: give events an hour, such as clicks=30")
    return found


def assumed_n(rule: Rule, catalogue: Catalogue, hourly: Mapping[str, float]) -> int | None:
    """Return the n of a value of a rule's KPI; None if the traffic does not tell it.

    Args:
        rule: the rule.
        catalogue: the KPIs.
        hourly: events an hour in the largest scope, by the name of what is counted.
    """
    terms = _n_terms(catalogue[rule.kpi])
    hours = _HOURS[rule.window]
    if not hours or not terms or any(name not in hourly for _, name in terms):
        return None
    return int(sum(sign * hourly[name] for sign, name in terms) * hours)


def _n_terms(kpi: Kpi) -> Terms:
    if kpi.n_terms is not None:
        return kpi.n_terms
    return kpi.parsed.under if isinstance(kpi.parsed, Quotient) else ()
