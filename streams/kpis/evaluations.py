"""When windows are evaluated, and who is told: the view, the judge, the topic of values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from models.scopes import ALL
from models.windows import SO_FAR, WINDOWS, Window, WindowName, align_down
from streams.engine.stage import Output
from streams.kpis.closing import Closing
from streams.kpis.judging import Judge
from streams.kpis.values import KpiValues
from streams.kpis.view import Evaluation

SPARKLINE_POINTS = 60
MANY_SCOPES = 1_000
"""With more of them, one window is closed in a tick."""
_SPARKLINE_WINDOW: WindowName = "1m"

Encode = Callable[[Evaluation, bool], Sequence[Output]]
"""Writes a closed window as records, given whether it is a correction."""


class Evaluations:
    """The windows that were evaluated.

    Args:
        evaluate: returns the KPIs of a window that ends there.
        closing: knows what is due.
        judge: decides on what closed.
        encode: None publishes none.
    """

    def __init__(
        self,
        evaluate: Callable[[Window, int], Evaluation],
        *,
        closing: Closing,
        judge: Judge,
        encode: Encode | None,
    ) -> None:
        self.latest: dict[WindowName, Evaluation] = {}
        """Of each window the one that ends last."""
        self.sparkline: deque[tuple[int, KpiValues]] = deque(maxlen=SPARKLINE_POINTS)
        self.corrections = 0
        self._evaluate = evaluate
        self._closing = closing
        self._judge = judge
        self._encode = encode
        self._outputs: list[Output] = []

    @property
    def small(self) -> frozenset[str]:
        """The campaigns beyond the largest of everything so far."""
        newest = self.latest.get(SO_FAR)
        return frozenset() if newest is None else newest.small

    def take_outputs(self) -> list[Output]:
        """Return what is to be published since the last call."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def advance(self, frontier_ms: int) -> bool:
        """Correct windows and close those that somebody waits for; say whether any closed."""
        due: list[tuple[int, Window]] = []
        for window in WINDOWS:
            ends = self._closing.take_due(window, frontier_ms=frontier_ms)
            self._correct(window, besides=ends)
            if self._encode is not None or self._judge.waits_for(window.name):
                due.extend((end, window) for end in ends)
        for end, window in sorted(due, key=lambda item: item[0]):
            self._close(window, end)
        return bool(due)

    def close_newest(self, frontier_ms: int) -> bool:
        """Evaluate the newest end of each window, for people and rules to see."""
        closed = False
        for window in WINDOWS:
            newest = align_down(frontier_ms, step_ms=window.step_ms)
            latest = self.latest.get(window.name)
            if frontier_ms > 0 and (latest is None or newest > latest.end_ms):
                closed = True
                if len(self._close(window, newest).values) > MANY_SCOPES:
                    # The others wait for the next ticks, and records do not wait for them all.
                    break
        return closed

    def _close(self, window: Window, end: int) -> Evaluation:
        evaluation = self._evaluate(window, end)
        latest = self.latest.get(window.name)
        if latest is None or end >= latest.end_ms:
            self.latest[window.name] = evaluation
            self._judge.closed(evaluation)
            if window.name == _SPARKLINE_WINDOW:
                self.sparkline.append((end, evaluation.values.get(ALL, {})))
        self._closing.note_evaluated(window.name, end)
        self._publish(evaluation, corrected=False)
        return evaluation

    def _correct(self, window: Window, *, besides: Iterable[int]) -> None:
        latest = self.latest.get(window.name)
        for end in self._closing.take_corrections(window, besides=besides):
            self.corrections += 1
            is_latest = latest is not None and end == latest.end_ms
            is_evidence = self._judge.awaits_correction(window.name, end)
            if is_latest or is_evidence or self._encode is not None:
                evaluation = self._evaluate(window, end)
                self._closing.note_evaluated(window.name, end)
                if is_evidence:
                    self._judge.corrected(evaluation)
                if is_latest:
                    self.latest[window.name] = evaluation
                self._publish(evaluation, corrected=True)

    def _publish(self, evaluation: Evaluation, *, corrected: bool) -> None:
        if self._encode is not None:
            self._outputs.extend(self._encode(evaluation, corrected))
