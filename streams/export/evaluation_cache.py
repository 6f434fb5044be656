"""What is made of evaluations, made once: pages and scrapes ask far more often than they close."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar
from weakref import ref

from streams.kpis.view import Evaluation

Result = TypeVar("Result")


class EvaluationCache:
    """The newest result of each computation, as long as its evaluations are the same objects.

    Evaluations are not kept alive. Threads that ask at once may each compute a result.
    """

    def __init__(self) -> None:
        self._results: dict[str, tuple[object, Any]] = {}

    def of(
        self,
        name: str,
        evaluations: Iterable[Evaluation],
        compute: Callable[[], Result],
        *,
        besides: Hashable = None,
    ) -> Result:
        """Return what was computed last, or compute it anew where something else goes in.

        Args:
            name: of the computation.
            evaluations: what it is made of.
            compute: makes it.
            besides: what else it is made of.
        """
        made_of = ([ref(evaluation) for evaluation in evaluations], besides)
        known = self._results.get(name)
        if known is None or known[0] != made_of:
            known = self._results[name] = made_of, compute()
        result: Result = known[1]
        return result
