"""Custom measures: the measurements of one's own that the file of KPIs declares.

Example: a ``measurement`` with the metric ``media_exposures`` is then added up, and a KPI may have
the formula ``media_exposures / visitors``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.kpi.formula import is_free
from models.kpi.measures import CustomNames

MOST_CUSTOM = 100
"""The most custom measures that a file may declare."""


class CustomMeasure(BaseModel):
    """A metric of events ``measurement`` that is declared in the file of KPIs.

    Args:
        name: the metric in the events, and the name in formulas.
        kind: ``sum`` for whole numbers that add up; ``level`` for numbers that are not negative, of
            which the newest counts (``newest(name)``, ``growth(name)``); ``share`` for a level from
            0 to 1.
        title_en: its title.
        title_zh: its title in Chinese.
        help: what is measured, and where the figure comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    kind: Literal["sum", "level", "share"]
    title_en: Annotated[str, Field(min_length=1)]
    title_zh: Annotated[str, Field(min_length=1)]
    help: str = ""

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if not is_free(name):
            raise ValueError(f"{name!r} has a meaning in formulas or events; choose another name")
        return name


class CustomMeasureBook(BaseModel):
    """The custom measures of a file of KPIs; what else is in the file is ignored."""

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"measurements": ("name",)}

    measurements: Annotated[tuple[CustomMeasure, ...], Field(max_length=MOST_CUSTOM)] = ()

    @field_validator("measurements")
    @classmethod
    def _each_once(cls, declared: tuple[CustomMeasure, ...]) -> tuple[CustomMeasure, ...]:
        names = [one.name for one in declared]
        if len({*names}) < len(names):
            raise ValueError("two measurements have the same name")
        return declared

    @property
    def custom(self) -> CustomNames:
        """The names of the custom measures."""
        return CustomNames(
            sums=tuple(one.name for one in self.measurements if one.kind == "sum"),
            levels=tuple(one.name for one in self.measurements if one.kind != "sum"),
            shares=frozenset(one.name for one in self.measurements if one.kind == "share"),
        )
