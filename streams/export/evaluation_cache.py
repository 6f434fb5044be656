"""Cache of values derived from evaluations.

Pages and scrapes are far more frequent than window closes. A derived value is computed once and
reused until one of its evaluations is replaced by a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar
from weakref import ref

from streams.kpis.view import Evaluation

Result = TypeVar("Result")


class EvaluationCache:
    """Keeps the newest result of each named computation.

    A result is reused while the computation's evaluations are the same objects. The cache holds
    them by weak references, so that it does not keep them alive. There is no lock: threads that
    ask at the same time may each compute the result.
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
        """Return the last result if its inputs are unchanged, else compute and keep a new one.

        Args:
            name: of the computation.
            evaluations: its inputs, compared by identity.
            compute: returns the result.
            besides: its other inputs, compared by value.
        """
        made_of = ([ref(evaluation) for evaluation in evaluations], besides)
        known = self._results.get(name)
        if known is None or known[0] != made_of:
            known = self._results[name] = made_of, compute()
        result: Result = known[1]
        return result
