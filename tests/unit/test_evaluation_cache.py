"""What is made of evaluations is made once for each of them."""

from __future__ import annotations

import gc
from dataclasses import replace
from datetime import date
from weakref import ref

from streams.export.evaluation_cache import EvaluationCache
from streams.kpis.view import Evaluation

ONE = Evaluation("1h", 0, 3_600_000, {})


class Counting:
    """A computation that returns how often it ran."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def test_a_result_is_computed_once_for_the_same_evaluations() -> None:
    memo, compute = EvaluationCache(), Counting()
    assert [memo.of("scores", [ONE, ONE], compute) for _ in range(3)] == [1, 1, 1]


def test_another_evaluation_is_computed_again() -> None:
    """A result is computed again for another evaluation, also if that has equal values."""
    memo, compute = EvaluationCache(), Counting()
    same = replace(ONE)
    assert [memo.of("scores", [one], compute) for one in (ONE, same, same, ONE)] == [1, 2, 2, 3]
    assert memo.of("scores", [ONE, same], compute) == 4
    assert memo.of("scores", [same, ONE], compute) == 5


def test_other_arguments_are_computed_again() -> None:
    """A result is computed again if something else than the evaluations differs."""
    memo, compute = EvaluationCache(), Counting()
    days = [date(2026, 6, day) for day in (17, 17, 18)]
    assert [memo.of("scores", [ONE], compute, besides=day) for day in days] == [1, 1, 2]


def test_computations_are_kept_apart_by_name() -> None:
    memo, one, two = EvaluationCache(), Counting(), Counting()
    two.times = 10
    found = [memo.of("one", [ONE], one), memo.of("two", [ONE], two), memo.of("one", [ONE], one)]
    assert found == [1, 11, 1]


def test_an_evaluation_is_not_kept_alive() -> None:
    memo, compute = EvaluationCache(), Counting()
    evaluation = replace(ONE)
    memo.of("scores", [evaluation], compute)
    gone = ref(evaluation)
    del evaluation
    gc.collect()
    assert gone() is None
    assert memo.of("scores", [replace(ONE)], compute) == 2
