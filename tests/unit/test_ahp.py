"""Weights from judgements in pairs."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scorecards.ahp import (
    InconsistentError,
    as_text,
    parse_judgement,
    weigh_judgements,
)

LEADER = {
    "experience/education": 4,
    "experience/charisma": 3,
    "experience/age": 7,
    "education/charisma": "1/3",
    "education/age": 3,
    "charisma/age": 5,
}
"""Choosing a leader, the worked example of Wikipedia's article on the AHP."""


def test_a_consistent_matrix_gives_its_own_ratios() -> None:
    found = weigh_judgements(["a", "b", "c"], {"a/b": 2, "a/c": 6, "b/c": 3})
    assert found.weights == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1})
    assert found.largest_eigenvalue == pytest.approx(3)
    assert found.consistency_ratio == pytest.approx(0, abs=1e-9)


def test_a_matrix_of_three_agrees_with_the_result_by_hand() -> None:
    # The largest eigenvalue of three is 1 + t + 1/t, t the cube root of a13 / (a12 a23).
    t = (5 / (3 * 3)) ** (1 / 3)
    largest = 1 + t + 1 / t
    found = weigh_judgements(["a", "b", "c"], {"a/b": 3, "a/c": 5, "b/c": 3})
    assert found.largest_eigenvalue == pytest.approx(largest)
    assert found.consistency_index == pytest.approx((largest - 3) / 2)
    assert found.consistency_ratio == pytest.approx((largest - 3) / 2 / 0.58)
    assert found.consistency_ratio == pytest.approx(0.0332, abs=1e-4)
    assert found.weights == pytest.approx({"a": 0.637, "b": 0.258, "c": 0.105}, abs=5e-4)


def test_a_published_example_gives_the_published_weights() -> None:
    found = weigh_judgements(["experience", "education", "charisma", "age"], LEADER)
    assert found.weights == pytest.approx(
        {"experience": 0.547, "education": 0.127, "charisma": 0.270, "age": 0.056}, abs=1e-3
    )
    assert found.consistency_ratio == pytest.approx(0.044, abs=1e-3)


def test_contradiction_names_the_worst_judgement() -> None:
    """Inconsistent judgements are refused; the error names the one that disagrees most."""
    judgements = {**LEADER, "charisma/age": "1/7"}
    with pytest.raises(InconsistentError, match="charisma/age disagrees most") as refused:
        weigh_judgements(["experience", "education", "charisma", "age"], judgements)
    assert refused.value.ratio > 0.1
    assert refused.value.given == pytest.approx(1 / 7)
    # By way of experience 7/3, by way of education 3 * 3.
    assert refused.value.fitting == pytest.approx(math.sqrt(7 / 3 * 9))
    assert "it is 1/7, and about 4.58 would fit" in str(refused.value)


def test_the_judgement_is_named_as_it_was_written() -> None:
    judgements = {"b/a": "1/2", "c/b": "1/2", "c/a": 4}
    with pytest.raises(InconsistentError) as refused:
        weigh_judgements(["a", "b", "c"], judgements)
    assert refused.value.judgement in judgements
    corrected = judgements | {refused.value.judgement: as_text(refused.value.fitting)}
    assert weigh_judgements(["a", "b", "c"], corrected).consistency_ratio < 0.1


def test_one_or_two_names_cannot_contradict() -> None:
    assert weigh_judgements(["a"], {}).weights == {"a": 1}
    found = weigh_judgements(["a", "b"], {"a/b": 9})
    assert found.weights == pytest.approx({"a": 0.9, "b": 0.1})
    assert found.consistency_ratio == 0


@pytest.mark.parametrize(
    ("names", "judgements", "why"),
    [
        ("abc", {"a/b": 2, "b/c": 2}, "missing: a/c"),
        ("ab", {"a/b": 2, "b/a": 2}, "reciprocals"),
        ("ab", {"a/b": 2, "a / b": 2}, "given twice"),
        ("ab", {"a/a": 1}, "with itself"),
        ("ab", {"a/x": 1}, "nothing named 'x'"),
        ("ab", {"a": 1}, "nothing named ''"),
        ("ab", {"a/b": 10}, "from 1/9 to 9"),
        ("ab", {"a/b": "much"}, "a fraction such as 1/3"),
        ("aa", {}, "the same"),
        ("", {}, "1 to 10 names"),
        ("abcdefghijk", {}, "1 to 10 names"),
    ],
)
def test_incomplete_or_wrong_judgements_are_refused(
    names: str, judgements: dict[str, object], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        weigh_judgements(list(names), judgements)


def test_both_directions_may_be_rounded() -> None:
    """A judgement may be given in both directions, also if the reciprocal is rounded."""
    found = weigh_judgements(["a", "b"], {"a/b": 3, "b/a": 0.33})
    assert found.weights == pytest.approx({"a": 0.75, "b": 0.25})


@pytest.mark.parametrize("value", [0, -1, "1/0", "", "1/2/3", None, True, math.nan, math.inf])
def test_what_is_no_judgement_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a fraction such as 1/3"):
        parse_judgement(value)


@settings(deadline=None)
@given(st.lists(st.floats(1, 9), min_size=1, max_size=10))
def test_ratios(
    given_: list[float],
) -> None:
    names = [f"name-{index}" for index in range(len(given_))]
    weight_of = dict(zip(names, given_, strict=True))
    judgements = {
        f"{one}/{other}": weight_of[one] / weight_of[other] for one, other in combinations(names, 2)
    }
    found = weigh_judgements(names, judgements)
    total = sum(given_)
    expected = {name: one / total for name, one in zip(names, given_, strict=True)}
    assert found.weights == pytest.approx(expected, rel=1e-6)
    assert found.consistency_ratio == pytest.approx(0, abs=1e-6)


SCALE = st.sampled_from([*range(1, 10), *(f"1/{under}" for under in range(2, 10))])


def refusal(names: list[str], judgements: dict[str, object]) -> InconsistentError | None:
    try:
        found = weigh_judgements(names, judgements)
    except InconsistentError as error:
        return error
    assert found.consistency_ratio <= 0.1
    assert sum(found.weights.values()) == pytest.approx(1)
    assert all(weight > 0 for weight in found.weights.values())
    return None


@settings(deadline=None)
@given(st.lists(SCALE, min_size=6, max_size=6))
def test_fitting_value_improves_consistency(
    values: list[object],
) -> None:
    """With the value that would fit, the judgements are more consistent."""
    names = ["a", "b", "c", "d"]
    judgements = dict(zip(["a/b", "a/c", "a/d", "b/c", "b/d", "c/d"], values, strict=True))
    refused = refusal(names, judgements)
    if refused is not None:
        assert 1 / 9.001 <= refused.fitting <= 9.001
        better = refusal(names, judgements | {refused.judgement: refused.fitting})
        assert better is None or better.ratio < refused.ratio
