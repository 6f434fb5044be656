"""The configuration of scorecards: dimensions of KPIs with base and stretch values.

A balanced scorecard (S0; R. S. Kaplan and D. P. Norton, 1992) has four dimensions, that of S3 has
five. Weights need not sum to 1: they are normalised, and `Scorecard.notes` reports it.

Unknown KPIs are found during validation, with their place in the file, if the catalogue is given
as its context. Otherwise `ScorecardBook.check` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.kpi.definition import Catalogue
from models.names import AsShown, matches_name, shown_names
from models.patterns import hint, is_pattern
from models.scope import BUCKETS, Scope
from models.scorecards.ahp import Priorities, parse_judgement, weigh_judgements
from models.scorecards.indicator import Indicator, Weight
from models.window import WindowName

CardScope = Literal["all", "campaign", "channel", "region"]
Lifecycle = Literal["launch", "growth", "mature"]

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Title = Annotated[str, Field(min_length=1)]
Judgement = Annotated[float, BeforeValidator(parse_judgement)]

Named = TypeVar("Named", bound=BaseModel)


def _unique(found: tuple[Named, ...]) -> tuple[Named, ...]:
    names = [getattr(one, "name", None) or getattr(one, "kpi", "") for one in found]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]}: is there twice")
    return found


class Dimension(BaseModel):
    """A group of indicators. Without weights all of them count the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    title_en: Title
    title_zh: Title
    weight: Weight | None = None
    indicators: Annotated[tuple[Indicator, ...], Field(min_length=1), AfterValidator(_unique)]

    @field_validator("indicators")
    @classmethod
    def _all_have_weights_or_none(cls, indicators: tuple[Indicator, ...]) -> tuple[Indicator, ...]:
        without = [one.kpi for one in indicators if one.weight is None]
        if 0 < len(without) < len(indicators):
            raise ValueError(f"{without[0]}: has no weight; give all indicators one, or none")
        return indicators

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """The weights of the indicators by KPI, normalised to sum to 1."""
        return _normalised({one.kpi: one.weight or 1.0 for one in self.indicators})


class Scorecard(BaseModel):
    """The configuration of a card, which is made for each scope that it matches.

    Args:
        owner: the team or person who is responsible.
        scope: the kind of scope that it is about.
        match: patterns of names, such as those of campaigns.
        window: the window whose values are scored.
        dimensions: the groups of indicators.
        judgements: pairwise judgements ``a/b`` of the dimensions, instead of their weights.
        lifecycle: the stage of life of its scopes, which selects a profile.
        profiles: by lifecycle, weights of the dimensions that replace the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    title_en: Title
    title_zh: Title
    owner: Annotated[str, Field(min_length=1)]
    scope: CardScope = "campaign"
    match: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    window: WindowName = "day"
    # Validated before the fields that refer to it, so that an error is reported here.
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1), AfterValidator(_unique)]
    judgements: dict[str, Judgement] = {}
    profiles: dict[Lifecycle, dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]] = {}
    lifecycle: Lifecycle | Literal[""] = ""

    @field_validator("judgements")
    @classmethod
    def _judgements_agree(
        cls, judgements: dict[str, float], info: ValidationInfo
    ) -> dict[str, float]:
        names = [one.name for one in info.data.get("dimensions", ())]
        if judgements and names:
            weigh_judgements(names, judgements)
        return judgements

    @field_validator("profiles")
    @classmethod
    def _profiles_name_each_dimension(
        cls, profiles: dict[Lifecycle, dict[str, float]], info: ValidationInfo
    ) -> dict[Lifecycle, dict[str, float]]:
        names = [one.name for one in info.data.get("dimensions", ())]
        for lifecycle, weights in profiles.items():
            for name in weights if names else ():
                if name not in names:
                    raise ValueError(f"{lifecycle}: no dimension named {name!r}{hint(name, names)}")
            if missing := [name for name in names if name not in weights]:
                raise ValueError(f"{lifecycle}: {missing[0]} has no weight; it may be 0")
            if not sum(weights.values()):
                raise ValueError(f"{lifecycle}: one of the weights must be over 0")
        return profiles

    @field_validator("lifecycle")
    @classmethod
    def _lifecycle_has_a_profile(cls, lifecycle: str, info: ValidationInfo) -> str:
        if lifecycle and "profiles" in info.data and lifecycle not in info.data["profiles"]:
            raise ValueError(f"there is no profile for {lifecycle}; add one, or leave it out")
        return lifecycle

    @model_validator(mode="after")
    def _parts_agree(self) -> Scorecard:
        if self.scope == "all" and self.match != ("*",):
            raise ValueError("match: a card whose scope is all matches nothing else")
        for one in self.dimensions:
            if self.judgements and one.weight is not None:
                raise ValueError(f"{one.name}: give judgements or a weight, not both")
            if not self.judgements and one.weight is None:
                raise ValueError(f"{one.name}: has no weight, and the card has no judgements")
        return self

    @cached_property
    def priorities(self) -> Priorities | None:
        """The weights from the judgements, with their consistency; None without judgements."""
        if not self.judgements:
            return None
        return weigh_judgements([one.name for one in self.dimensions], self.judgements)

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """The weights of the dimensions, by the lifecycle's profile if any; they sum to 1."""
        return _normalised(self._given_weights)

    @property
    def _given_weights(self) -> Mapping[str, float]:
        if self.lifecycle:
            return {one.name: self.profiles[self.lifecycle][one.name] for one in self.dimensions}
        if self.priorities is not None:
            return self.priorities.weights
        return {one.name: one.weight or 0.0 for one in self.dimensions}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes about the weights for a reader of the card: which of them were normalised."""
        found = _sum_note("dimensions", self._given_weights.values())
        for one in self.dimensions:
            given = [each.weight for each in one.indicators if each.weight is not None]
            found += _sum_note(f"indicators of {one.name}", given)
        return found

    def scopes(self, present: Iterable[Scope]) -> tuple[Scope, ...]:
        """Return the scopes that get a card, sorted by name.

        A name without a pattern gets a card even if it is not present. Patterns do not match
        buckets such as ``(unknown)``.
        """
        if self.scope == "all":
            return (Scope("all"),)
        outright = {one for one in self.match if not is_pattern(one)}
        names = {scope.labels[self.scope] for scope in present if scope.kind == self.scope}
        matched = {name for name in names - BUCKETS if matches_name(name, self.match)}
        return tuple(
            Scope("all")._replace(kind=self.scope, **{self.scope: name})
            for name in sorted(outright | matched)
        )

    def check(self, catalogue: Catalogue) -> None:
        """Check every indicator against the catalogue.

        Raises:
            ValueError: names the card, the dimension and the KPI that are wrong.
        """
        for dimension in self.dimensions:
            for indicator in dimension.indicators:
                try:
                    indicator.check(catalogue)
                except ValueError as error:
                    raise ValueError(f"{self.name}: {dimension.name}: {error}") from None


class ScorecardBook(BaseModel):
    """The content of a file of scorecards; names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"scorecards": ("name",)}

    scorecards: Annotated[tuple[Scorecard, ...], AfterValidator(_unique)] = ()

    def shown(self, as_shown: AsShown) -> ScorecardBook:
        """Return the cards with the names that they match as they are shown."""
        cards = [
            card.model_copy(update={"match": shown_names(card.match, card.scope, as_shown)})
            for card in self.scorecards
        ]
        return self.model_copy(update={"scorecards": tuple(cards)})

    def check(self, catalogue: Catalogue) -> None:
        """Check every card against the catalogue.

        Raises:
            ValueError: names the card, the dimension and the KPI that are wrong.
        """
        for card in self.scorecards:
            card.check(catalogue)


def _normalised(weights: Mapping[str, float]) -> Mapping[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _sum_note(what: str, weights: Iterable[float]) -> tuple[str, ...]:
    total = math.fsum(weights)
    if not total or math.isclose(total, 1, rel_tol=1e-6) or math.isclose(total, 100, rel_tol=1e-6):
        return ()
    return (f"the weights of the {what} sum to {total:g}, and not to 1 or 100; normalised",)
