"""The kinds of rules on KPIs, and the content of a file of rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Final, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.names import AsShown
from streams.alerting.rules.absence import AbsenceRule
from streams.alerting.rules.anomaly import AnomalyRule
from streams.alerting.rules.change import ChangeRule
from streams.alerting.rules.outlier import OutlierRule
from streams.alerting.rules.pace import PaceRule
from streams.alerting.rules.persistent import PersistentRule
from streams.alerting.rules.range import RangeRule
from streams.alerting.rules.rule import Rule
from streams.alerting.rules.threshold import ThresholdRule

AnyRule = Annotated[
    ThresholdRule
    | RangeRule
    | ChangeRule
    | AnomalyRule
    | OutlierRule
    | PaceRule
    | PersistentRule
    | AbsenceRule,
    Field(discriminator="kind"),
]
"""A rule on a KPI. The members of the union are the kinds: a new one is added here."""
KINDS: Final[tuple[type[Rule], ...]] = get_args(get_args(AnyRule)[0])
"""The kinds of rules on KPIs, in the order of the docs."""
_TEXTS: Final = {
    *("name", "match", "summary_en", "summary_zh", "next_step", "next_step_zh", "runbook")
}
"""The keys of a rule that do not decide when it fires, of what severity and for whom."""


class RuleBook(BaseModel):
    """The content of a file of rules; names are unique."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"rules": ("name",)}

    rules: tuple[AnyRule, ...] = ()

    def shown(self, as_shown: AsShown) -> RuleBook:
        """Return the rules with the names in their matches as they are shown.

        Raises:
            ValueError: two rules raise the same alerts, as two names are of one campaign or
                channel. The message begins with the key, such as ``rules[1].match``.
        """
        rules = tuple(
            rule.model_copy(update={"match": rule.match.shown(as_shown)}) for rule in self.rules
        )
        _refuse_alike(rules)
        return self.model_copy(update={"rules": rules})

    @model_validator(mode="after")
    def _unique_names(self) -> RuleBook:
        names = [rule.name for rule in self.rules]
        for at, name in enumerate(names):
            if name.startswith("data-"):
                raise ValueError(
                    f"rules[{at}].name: {name!r} begins with data-, as the monitor's own rules "
                    "about the data do, which can't be changed here; choose another name"
                )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two rules have the name {repeated[0]!r}")
        return self

    @model_validator(mode="after")
    def _no_alert_comes_twice(self) -> RuleBook:
        _refuse_alike(self.rules)
        return self


def _refuse_alike(rules: Iterable[AnyRule]) -> None:
    """Refuse two rules that raise the same alerts of some scope.

    Raises:
        ValueError: there are two.
    """
    alike: dict[str, list[AnyRule]] = {}
    for at, rule in enumerate(rules):
        earlier = alike.setdefault(rule.model_dump_json(exclude=_TEXTS), [])
        for one in earlier:
            if one.match.overlaps(rule.match):
                raise ValueError(
                    f"rules[{at}].match: rule {one.name!r} raises the same alerts, of scopes "
                    "that both match; leave one rule out, or let this one match others"
                )
        earlier.append(rule)
