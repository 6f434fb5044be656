"""Indicators: KPIs on a scorecard, with their target values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from models.kpi.definition import Catalogue, Kpi
from models.patterns import hint

Better = Literal["more", "less"]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(allow_inf_nan=False)]


class Indicator(BaseModel):
    """A KPI on a scorecard. Values are in the units shown: the currency, ratios as 0 to 1.

    Args:
        kpi: the name of the KPI.
        weight: its weight in its dimension; normalised. Either all indicators have one or none.
        base: the value that must be reached (保底).
        stretch: the value that is aimed at (挑战).
        direction: the better direction, required for a KPI whose own is ``neither``.
        exempt_until: the first day on which the indicator counts. Before, it is only shown.
        exempt_reason: required with ``exempt_until``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kpi: str
    weight: Weight | None = None
    base: Amount
    stretch: Amount
    direction: Better | None = None
    exempt_until: date | None = None
    exempt_reason: str = ""

    @model_validator(mode="after")
    def _values_fit(self, info: ValidationInfo) -> Indicator:
        if self.direction is not None:
            self._check_order(self.direction)
        elif self.base == self.stretch:
            raise ValueError(f"stretch: {self.stretch:g} is the base as well; they must differ")
        if (self.exempt_until is None) != (not self.exempt_reason.strip()):
            raise ValueError("an exemption needs both exempt_until and exempt_reason")
        if isinstance(info.context, Mapping) and "catalogue" in info.context:
            self.check(info.context["catalogue"])
        return self

    def check(self, catalogue: Catalogue) -> None:
        """Check the KPI and its values against the catalogue.

        Raises:
            ValueError: there is no such KPI, or base and stretch do not suit it.
        """
        if self.kpi not in catalogue:
            raise ValueError(f"{self.kpi}: there is no such KPI{hint(self.kpi, [*catalogue])}")
        kpi = catalogue[self.kpi]
        self._check_order(self.better(kpi))
        highest = max(self.base, self.stretch)
        if kpi.interval == "wilson" and highest > 1:
            raise ValueError(f"{self.kpi}: {highest:g} is more than all of it; write 5 % as 0.05")

    def better(self, kpi: Kpi) -> Better:
        """Return the better direction of a KPI.

        Raises:
            ValueError: neither the KPI nor the indicator has one, or they contradict each other.
        """
        if kpi.direction == "neither":
            if self.direction is None:
                raise ValueError(
                    f"{self.kpi}: neither more nor less of it is better; "
                    "give the indicator a direction, more or less"
                )
            return self.direction
        if self.direction not in {None, kpi.direction}:
            raise ValueError(f"{self.kpi}: {kpi.direction} of it is better, not {self.direction}")
        return kpi.direction

    def exempt(self, today: date) -> bool:
        """Return whether the indicator does not count yet."""
        return self.exempt_until is not None and today < self.exempt_until

    def _check_order(self, better: Better) -> None:
        above = self.stretch > self.base
        if self.stretch == self.base or above != (better == "more"):
            raise ValueError(
                f"{self.kpi}: {better} of it is better, so the stretch value must be "
                f"{'over' if better == 'more' else 'under'} the base, {self.base:g}, "
                f"and not {self.stretch:g}"
            )
