"""Rules of the kind ``absence``: nothing comes of scopes that are named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationInfo, model_validator

from models.kpi.definition import Kpi, KpiValue
from models.kpi.user_catalogue import catalogue_of
from models.patterns import is_pattern
from models.rule_status import ScopeStatus, Why
from models.scope import Scope, parts_of
from models.window import GROWING, SO_FAR
from streams.alerting.rules.protocol import KnownScopes, Verdict
from streams.alerting.rules.rule import Clauses, SteadyRule
from streams.alerting.words import RuleText, Subject, spaced


class AbsenceRule(SteadyRule):
    """Fires while a scope that should be live has no traffic; names its scopes without patterns."""

    kind: Literal["absence"]
    """``absence``: nothing comes of scopes that are named."""

    @model_validator(mode="after")
    def _is_about_a_sum(self, info: ValidationInfo) -> AbsenceRule:
        kpi = catalogue_of(info)[self.kpi]
        if not kpi.volume:
            raise ValueError(
                f"kpi: {kpi.name} may have no value, or be 0, while events come; use a count, such "
                "as clicks, or kind: threshold with no_data: fire"
            )
        return self

    @model_validator(mode="after")
    def _is_about_no_data(self) -> AbsenceRule:
        if "no_data" in self.model_fields_set:
            raise ValueError("no_data: an absence rule fires on no data; leave it out")
        if self.window == SO_FAR:
            raise ValueError(
                "window: of all time, events that came once are never absent again; use a window "
                "of a fixed length, such as 1h"
            )
        if self.window in GROWING:
            raise ValueError(
                f"window: {self.window} loses a day at midnight, when it may have no events yet; "
                "use a window of a fixed length, such as 1h"
            )
        return self

    @model_validator(mode="after")
    def _names_scopes(self) -> AbsenceRule:
        patterns = [
            name
            for part in parts_of(self.scope)
            for name in getattr(self.match, part)
            if is_pattern(name)
        ]
        if patterns or not self.match.named(self.scope):
            raise ValueError(
                "match: an absence rule must name its campaigns or channels outright, "
                "because what is absent cannot be found by a pattern"
            )
        return self

    def scopes(self, kpi: Kpi, known: KnownScopes) -> Iterator[Scope]:
        """Yield the scopes that the rule names, whether or not anything came of them."""
        del kpi, known
        yield from self.match.named(self.scope)

    def compare(self, value: KpiValue | None) -> Verdict:
        """Return whether there is traffic in a complete window; None and 0 break the rule."""
        return Verdict.HOLDS if value is not None and value.value else Verdict.BROKEN

    def limit_of(self, value: KpiValue | None) -> float:
        """Return the limit that alerts name: 0."""
        del value
        return 0.0

    def is_about_too_little(self, kpi: Kpi) -> bool:
        """Return that no events break the rule."""
        del kpi
        return True

    def clauses(self, subject: Subject) -> Clauses:
        """Return what the rule does, in words."""
        verb, lasting = subject.verb, subject.lasting
        return Clauses(
            RuleText(
                f"there {verb} no {subject.title}{subject.scopes.en} over {subject.window.en}"
                f"{lasting.en}",
                f"{subject.scopes.zh}{subject.window.zh}的"
                + spaced(f"{subject.kpi.title_zh}为 0{lasting.zh}"),
            ),
            RuleText(f"resolves once there {verb} some", "不再为 0"),
        )

    def limit_text(self, kpi: Kpi, *, currency: str) -> RuleText:
        """Return that there must be something."""
        del kpi, currency
        return RuleText("none", "为 0")

    def status_text(self, status: ScopeStatus, kpi: Kpi) -> RuleText | None:
        """Return that there is traffic, in words."""
        del kpi
        return RuleText("there is traffic", "有流量") if status.why is Why.WITHIN else None
