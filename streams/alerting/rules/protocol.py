"""The interface of a kind of alert rule: it judges a context and returns a finding.

A kind is one file of this package. There are kinds of rules on KPIs, which a file of rules
configures and `registry.AnyRule` lists, and the kind of the monitor's own rules about the data
(`health`). Whoever judges, keeps or explains rules calls methods and does not ask which kind a
rule is of.

A kind works on one scope at a time, and on what it is given: it does not know which other scopes
there are, and assumes nothing of campaigns that another worker may own.

A rule on a KPI that needs an earlier value of it names the period (`Rule.reference`), and gets the
value as `JudgeContext.earlier`. One that learns what is usual says how (`Rule.learner`), and gets
what is usual as `JudgeContext.usual`. One that compares with peers (`Rule.peer_min_n`) gets what is
usual among them as `JudgeContext.peers`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from enum import Enum, auto
from typing import NamedTuple, Protocol, TypeVar

from models.alerts import Alert, Category, Ended, Severity
from models.campaigns.campaign import Campaign
from models.kpi.definition import Kpi, KpiValue
from models.rule_status import Why
from models.scope import Scope
from models.usual import Usual
from streams.analysis.peer_outliers import PeerGroup

Context_contra = TypeVar("Context_contra", contravariant=True)


class Verdict(Enum):
    """Result of judging a closed window, or the health of the data, by a rule."""

    BROKEN = auto()
    """A reason to alert: the value is beyond the limit, or there is no traffic."""
    HOLDS = auto()
    """No reason to alert: the value is within the limit by the hysteresis, or there is traffic."""
    BETWEEN = auto()
    """Neither: the value is inside the hysteresis, or its interval includes the limit."""
    NO_JUDGEMENT = auto()
    """No value, too few events, or only a part of the window was observed."""


class Evidence(NamedTuple):
    """The numbers that a finding rests on.

    Args:
        value: the value with its interval and n, in the unit of the rule; None if there is none.
        limit: the limit that it is compared with, in the same unit; None if there is none, as what
            it follows from is not known.
        earlier: the value of the earlier period from which the limit follows; None without one.
        usual: what is usual, of a rule that learns it.
        exhausted_ms: when the budget will be exhausted, event time in ms; None if the finding does
            not rest on it, or nothing was spent.
        median: the median of the peers that the value is compared with; None without peers.
        windows_broken: the number of the last windows whose values are beyond the limit, of a rule
            that counts them.
    """

    value: KpiValue | None
    limit: float | None
    earlier: float | None = None
    usual: Usual | None = None
    exhausted_ms: int | None = None
    median: float | None = None
    windows_broken: int | None = None


class Finding(NamedTuple):
    """A verdict on one scope, with its reason and its evidence.

    Args:
        verdict: the verdict.
        evidence: the numbers that it rests on.
        why: why there is no reason to alert. None if there is one, which the evidence is.
        ended: why an alert ends if the verdict ends it.
        no_data_since_ms: since when there is no value that could be judged, event time in ms; None
            if there is one.
    """

    verdict: Verdict
    evidence: Evidence
    why: Why | None = None
    ended: Ended = "recovered"
    no_data_since_ms: int | None = None


class Coverage(NamedTuple):
    """The extent to which a KPI is known in a window.

    Args:
        start_ms: start of the window, event time in ms.
        end_ms: end of the window, event time in ms.
        observed: whether the whole window was observed.
        measured: whether the KPI was measured in all of the window.
        connected: whether each input of the KPI came once at least, in any scope.
    """

    start_ms: int
    end_ms: int
    observed: bool
    measured: bool
    connected: bool


class Earlier(NamedTuple):
    """The value of a KPI in the earlier period with which a window is compared.

    Args:
        start_ms: start of the period, event time in ms.
        end_ms: end of the period, event time in ms.
        value: the value; None if the KPI is absent there.
    """

    start_ms: int
    end_ms: int
    value: KpiValue | None


class JudgeContext(NamedTuple):
    """The context that a rule on a KPI judges: one scope in one closed window.

    Args:
        scope: the scope.
        kpi: the definition of the KPI.
        value: the value with its interval and n; None if the KPI is absent.
        coverage: how far the KPI is known in the window.
        present: whether the scope has values in the window, of whatever KPI.
        had_value: whether the KPI had a value in the scope when the rule was judged last; only
            known of rules about too few events. Of a rule that learns, whether it learned any.
        campaign: the campaign of the scope, None if it is not defined.
        before: the alert of the rule in the scope, None if there is none.
        no_data_paused_ms: the time without verdicts since ``before`` has no data, in ms.
        earlier: the value in the period that the rule refers to; None if it refers to none, or the
            period is not known whole.
        past: the values in the windows before it that the rule needs, the newest first; None of
            those that are not known whole.
        usual: what is usual and how unusual the value is, of a rule that learns it; None if it is
            not learned in the scope.
        exhausted_ms: when the campaign will have spent its budget if it keeps its pace, event time
            in ms; only known of campaigns, in the all-time window.
        peers: what is usual among the peers of the scope; None if the rule needs none, or there are
            too few.
    """

    scope: Scope
    kpi: Kpi
    value: KpiValue | None
    coverage: Coverage
    present: bool
    had_value: bool
    campaign: Campaign | None
    before: Alert | None = None
    no_data_paused_ms: int = 0
    earlier: Earlier | None = None
    past: Sequence[Earlier | None] = ()
    usual: Usual | None = None
    exhausted_ms: int | None = None
    peers: PeerGroup | None = None


class KnownScopes(NamedTuple):
    """The scopes of a closed window from which a rule chooses those that it judges.

    Args:
        present: the scopes of the rule's kind of scope that have values in the window.
        in_window: contains all scopes that have values in the window.
        with_alert: the scopes in which the rule has an open alert.
        had_value: the scopes in which the KPI had a value when the rule was judged last; only
            known of rules about too few events. Of a rule that learns, those that it learned.
    """

    present: Sequence[Scope]
    in_window: Container[Scope]
    with_alert: Iterable[Scope]
    had_value: Iterable[Scope]


class AlertFacts(NamedTuple):
    """The facts that all alerts of a rule have in common. Durations are in ms."""

    rule: str
    severity: Severity
    category: Category = "kpi"
    window: str = ""
    kpi: str = ""
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    owner: str = ""
    summary_en: str = ""
    summary_zh: str = ""
    meaning_en: str = ""
    meaning_zh: str = ""
    next_step: str = ""
    next_step_zh: str = ""
    runbook: str = ""


class RuleKind(Protocol[Context_contra]):
    """A rule, of whatever kind. `Rule` and `HealthRule` implement it."""

    def judge(self, context: Context_contra, /) -> Finding:
        """Judge one scope.

        Args:
            context: what is known: a `JudgeContext` or a `HealthContext`.
        """
