"""The last verdicts of alert rules: why a rule fires in a scope, or why it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from models.alerts import Held
from models.kpi.definition import KpiValue
from models.scope import Scope
from models.usual import Usual


class Why(StrEnum):
    """Why a rule fires in a scope, or does not."""

    FIRING = "firing"
    """Its alert fires."""
    PENDING = "pending"
    """It is broken, and ``for`` is not over."""
    NOT_SIGNIFICANT = "not_significant"
    """The value is beyond the limit, and its interval includes the limit."""
    TOO_FEW = "too_few"
    """The value rests on fewer than ``min_n``."""
    WITHIN = "within"
    """The value is not beyond the limit; by an absence rule, something came."""
    NO_VALUE = "no_value"
    """The KPI is absent in the scope."""
    NO_INPUT = "no_input"
    """The KPI is absent: an input of it never came, in any scope."""
    NOT_MEASURED = "not_measured"
    """The KPI was not measured in all of the window."""
    NOT_OBSERVED = "not_observed"
    """Only a part of the window was observed, and the rule is about too few events."""
    CAMPAIGN_OFF = "campaign_off"
    """The campaign does not run in all of the window, and the rule is about too few events."""
    NO_EARLIER = "no_earlier"
    """The earlier period that the value is compared with is not known, or its value rests on too
    few."""
    LEARNING = "learning"
    """Too little of the past of the scope was learned to say what is usual."""
    NOT_LEARNED = "not_learned"
    """The scope is not learned: there are too many scopes."""
    NO_PLAN = "no_plan"
    """The campaign has no planned start and end, or no budget, that its pace is compared with."""
    TOO_EARLY = "too_early"
    """Too little of the campaign's run has passed for its pace to be judged."""
    NO_PEERS = "no_peers"
    """Fewer than five peers have a value that can be compared."""
    INCOMPLETE = "incomplete"
    """It was pending when a window lacked records, which ended it."""


class NotJudged(StrEnum):
    """Why the newest window was not judged by a rule, in any scope."""

    WAITING = "waiting"
    """No window of it was judged since the worker started."""
    INCOMPLETE = "incomplete"
    """The window lacks records."""
    HELD = "held"
    """A source of its KPI is silent for unusually long."""
    HELD_BACK = "held_back"
    """An alert about the data fires that inhibits all rules on KPIs."""


class ScopeStatus(NamedTuple):
    """The last verdict of a rule in one scope.

    Args:
        scope: the scope.
        why: why the rule fires in it, or does not.
        value: the value that was judged; None if there was none.
        required_n: the smallest n with which the rule would be broken: by this value if it is
            beyond the limit, else by any value; None if n is large enough, or does not matter.
        since_ms: since when the alert fires or is pending, event time in ms; None without one.
        left_ms: for how long the rule must still be broken before a pending alert fires, in ms.
        usual: what is usual, of a rule that learns it; None of others.
        windows_broken: the number of the last windows that are beyond the limit, of a rule that
            counts them.
    """

    scope: Scope
    why: Why
    value: KpiValue | None = None
    required_n: int | None = None
    since_ms: int | None = None
    left_ms: int | None = None
    usual: Usual | None = None
    windows_broken: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatus:
    """The last verdicts of a rule.

    Args:
        rule: the name of the rule.
        judged_ms: end of the window that was judged last, event time in ms; None before that.
        counts: the number of scopes by verdict.
        scopes: the scopes that fire or are nearest to it, the nearest first, up to a limit.
        largest_n: the largest n of a scope in a window since the worker started.
        least_n: the smallest n with which any value breaks the rule.
        not_judged: why the newest window was not judged; None if it was.
        held: the silent sources, if ``not_judged`` is HELD.
    """

    rule: str
    judged_ms: int | None = None
    counts: Mapping[Why, int] = field(default_factory=dict)
    scopes: Sequence[ScopeStatus] = ()
    largest_n: int = 0
    least_n: int = 0
    not_judged: NotJudged | None = None
    held: Held | None = None
