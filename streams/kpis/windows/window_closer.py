"""Closes and corrects windows, and passes them to the view, the judge and the topic of values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set
from functools import partial

from models.scope import ALL, Scope, ScopeKind
from models.window import (
    SO_FAR,
    WINDOWS,
    Window,
    WindowName,
    align_down,
)
from streams.engine.contracts import Output
from streams.engine.steps import Steps
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.judging import EarlierPeriod, EarlierPeriods, Judge
from streams.kpis.view import Evaluation
from streams.kpis.windows.window_evaluator import WindowEvaluator
from streams.kpis.windows.window_schedule import WindowSchedule

SPARKLINE_POINTS = 60
_SPARKLINE_WINDOW: WindowName = "1m"
_ALL_WINDOWS = frozenset(window.name for window in WINDOWS)


Encode = Callable[[Evaluation, bool], Iterable[Output]]
"""Yields the records of an evaluation; the bool says whether it is a correction."""


class WindowCloser:
    """Evaluates due windows and corrections, and holds the newest evaluations.

    Args:
        evaluator: evaluates windows.
        closing: the ends that are due and those to correct.
        judge: judges the windows that close.
        encode: writes closed windows as records; None publishes none.
        viewed: whether somebody looks at the newest evaluations.
    """

    def __init__(
        self,
        evaluator: WindowEvaluator,
        *,
        closing: WindowSchedule,
        judge: Judge,
        encode: Encode | None,
        viewed: bool = True,
    ) -> None:
        self.latest: dict[WindowName, Evaluation] = {}
        """The evaluation of each window that ends last."""
        self.shown: dict[WindowName, Evaluation] = {}
        """The newest evaluation of each window whose small scopes are set apart."""
        self.sparkline: deque[tuple[int, KpiValues]] = deque(maxlen=SPARKLINE_POINTS)
        self.corrections = 0
        self.closed = 0
        """Number of windows that were closed since the stage was opened, without corrections."""
        self._evaluator = evaluator
        self._closing = closing
        self._judge = judge
        self._encode = encode
        self._is_viewed = viewed
        self._outputs: list[Output] = []

    @property
    def small(self) -> Set[Scope]:
        """The scopes that are not among the largest of their kind in the all-time window."""
        newest = self.shown.get(SO_FAR)
        return frozenset() if newest is None else newest.small

    @property
    def unpublished(self) -> int:
        """Number of records that wait to be published."""
        return len(self._outputs)

    def take_outputs(self) -> list[Output]:
        """Remove and return the records that wait to be published."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def awaited(self, *, judged: bool) -> frozenset[WindowName]:
        """Return the windows of which every due end is evaluated, for rules or the topic of values.

        Args:
            judged: whether rules are judged: a data-health alert may hold them back.
        """
        if self._encode is not None:
            return _ALL_WINDOWS
        return self._judge.windows if judged else frozenset()

    def correct_next(self) -> Steps[None] | None:
        """Return the work of the next correction; None if there is none."""
        correction = self._closing.take_correction()
        return None if correction is None else self._correct(*correction)

    def close_next(self, frontier_ms: int, *, judged: bool) -> Steps[None] | None:
        """Return the work of closing the window that is due next; None if none is.

        Windows close in the order of their ends. Ends of windows that are not awaited are dropped.

        Args:
            frontier_ms: event time up to which everything is complete.
            judged: whether rules are judged: a data-health alert may hold them back.
        """
        awaited = self.awaited(judged=judged)
        while (due := self._closing.take_due(frontier_ms=frontier_ms)) is not None:
            window, end = due
            if window.name in awaited:
                newest = end + window.step_ms > frontier_ms
                return self._close(window, end, judged=judged, newest=newest)
        return None

    def close_newest(self, window: Window, frontier_ms: int) -> Steps[None]:
        """Evaluate the newest end of a window, unless that was done already.

        Rules judge it unless a data-health alert holds them back.

        Args:
            window: the window.
            frontier_ms: event time up to which windows are closed; 0 evaluates nothing.
        """
        newest = align_down(frontier_ms, step_ms=window.step_ms)
        latest = self.latest.get(window.name)
        if frontier_ms > 0 and (latest is None or newest > latest.end_ms):
            yield from self._close(window, newest, judged=not self._judge.held_back, newest=True)

    def show_latest(self, window: Window) -> Steps[None]:
        """Evaluate the newest end of a window again for the view, if it is not shown yet."""
        latest = self.latest.get(window.name)
        if latest is not None and self.shown.get(window.name) is not latest:
            evaluation = yield from self._evaluator.evaluate(window, latest.end_ms)
            self._record_latest(window.name, evaluation)

    def _record_latest(self, window: WindowName, evaluation: Evaluation) -> None:
        self.latest[window] = evaluation
        if evaluation.ranked:
            self.shown[window] = evaluation

    def _close(self, window: Window, end: int, *, judged: bool, newest: bool) -> Steps[None]:
        # Only rules and the topic of values read an end that another one follows at once. They do
        # not need to know which scopes are small.
        evaluation = yield from self._evaluator.evaluate(window, end, ranked=newest)
        latest = self.latest.get(window.name)
        if latest is None or end >= latest.end_ms:
            if judged:
                earlier = yield from self._earlier(window, end)
                yield from self._judge.closed(evaluation, earlier)
            self._record_latest(window.name, evaluation)
            if window.name == _SPARKLINE_WINDOW:
                self.sparkline.append((end, evaluation.values.get(ALL, {})))
        yield from self._publish(evaluation, corrected=False)
        self._closing.record_evaluated(window.name, end)
        self.closed += 1

    def _earlier(self, window: Window, end: int) -> Steps[EarlierPeriods]:
        """Evaluate the earlier periods that rules compare a window with, as they are known now."""
        found: dict[EarlierPeriod, Evaluation | None] = {}
        for reference, kinds in self._judge.references(window.name, end).items():
            found[reference] = None
            then_ms = self._evaluator.earlier_end(reference, window, end)
            if then_ms is not None:
                found[reference] = yield from self._evaluator.evaluate(
                    window, then_ms, only=partial(_is_of, kinds), looking_back=False
                )
        return found

    def _correct(self, window: Window, end: int) -> Steps[None]:
        latest = self.latest.get(window.name)
        is_latest = self._is_viewed and latest is not None and end == latest.end_ms
        is_evidence = self._judge.awaits_correction(window.name, end)
        if is_latest or is_evidence or self._encode is not None:
            evaluation = yield from self._evaluator.evaluate(window, end, ranked=is_latest)
            if is_evidence:
                earlier = yield from self._earlier(window, end)
                yield from self._judge.corrected(evaluation, earlier)
            if is_latest:
                self._record_latest(window.name, evaluation)
            yield from self._publish(evaluation, corrected=True)
            self._closing.record_evaluated(window.name, end)
        self.corrections += 1

    def _publish(self, evaluation: Evaluation, *, corrected: bool) -> Steps[None]:
        if self._encode is not None:
            records: list[Output] = []
            for record in self._encode(evaluation, corrected):
                records.append(record)
                yield
            self._outputs.extend(records)


def _is_of(kinds: Set[ScopeKind], scope: Scope) -> bool:
    return scope.kind in kinds
