"""Computes weights from pairwise judgements by the Analytic Hierarchy Process.

T. L. Saaty, "The Analytic Hierarchy Process", McGraw-Hill, 1980. The judgement ``a/b`` is how many
times as important ``a`` is as ``b``: 1 is equally, 9 is extremely, and a fraction means that ``b``
matters more. The weights are the principal eigenvector of the matrix of judgements.

Example: a/b is 2, b/c is 2, and a/c is 4. The judgements agree, and the weights of a, b and c are
4/7, 2/7 and 1/7. Were a/c 1/4, the judgements would contradict each other, and be refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.patterns import hint

LARGEST_JUDGEMENT: Final = 9.0
"""The largest value of Saaty's scale."""
LARGEST_RATIO: Final = 0.1
"""The largest consistency ratio that is accepted (Saaty)."""
RANDOM_INDICES: Final = (0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49)
"""The mean consistency index of random matrices of 1 to 10 names (Saaty)."""
ROUNDING: Final = 0.05
"""The tolerance of ``a/b`` times ``b/a`` from 1, since people write 0.33 for 1/3."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Priorities:
    """The weights, which sum to 1 and are in the order of the names, and their consistency."""

    weights: Mapping[str, float]
    largest_eigenvalue: float
    consistency_index: float
    consistency_ratio: float


class InconsistentError(ValueError):
    """The judgements contradict each other more than Saaty allows.

    Args:
        ratio: the consistency ratio.
        judgement: the name, ``a/b``, of the judgement that disagrees most with the weights.
        given: its value.
        fitting: the value that the other judgements imply for it.
    """

    def __init__(self, *, ratio: float, judgement: str, given: float, fitting: float) -> None:
        self.ratio = ratio
        self.judgement = judgement
        self.given = given
        self.fitting = fitting
        super().__init__(
            f"the judgements contradict each other: consistency ratio {ratio:.3f}, at most "
            f"{LARGEST_RATIO} is allowed; {judgement} disagrees most with the others: it is "
            f"{as_text(given)}, and about {as_text(fitting)} would fit"
        )


def parse_judgement(value: object) -> float:
    """Parse a judgement, written as a number or as a fraction such as 1/3.

    Raises:
        ValueError: it is neither, or outside Saaty's scale of 1/9 to 9.
    """
    parsed = _positive(value)
    if not 1 / (LARGEST_JUDGEMENT + 1e-9) <= parsed <= LARGEST_JUDGEMENT + 1e-9:
        raise ValueError(f"a judgement is from 1/9 to 9, and not {value}")
    return parsed


def as_text(judgement: float) -> str:
    """Format a judgement as people write it: 3, or 1/3."""
    return f"{judgement:.3g}" if judgement >= 1 else f"1/{1 / judgement:.3g}"


def weigh_judgements(names: Sequence[str], judgements: Mapping[str, object]) -> Priorities:
    """Return the weights from one judgement for each pair of names.

    A judgement is named ``a/b`` or ``b/a``. If both are given, they must be each other's
    reciprocals.

    Raises:
        ValueError: a pair is missing, unknown or given twice, or a value is wrong.
        InconsistentError: the consistency ratio is over 0.1.
    """
    _check_names(names)
    place = {name: index for index, name in enumerate(names)}
    matrix: Matrix = np.eye(len(names))
    called: dict[tuple[int, int], str] = {}
    for key, value in judgements.items():
        left, _, right = (part.strip() for part in key.partition("/"))
        for name in (left, right):
            if name not in place:
                nothing = f"{key}: there is nothing named {name!r} to compare"
                raise ValueError(nothing + hint(name, names))
        row, column = place[left], place[right]
        if row == column:
            raise ValueError(f"{key}: compares {left} with itself; leave it out")
        if (row, column) in called:
            raise ValueError(f"{key}: is given twice")
        try:
            judged = parse_judgement(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if (column, row) in called:
            _check_reciprocal(key, judged, called[column, row], float(matrix[column, row]))
            continue
        called[row, column] = key
        matrix[row, column], matrix[column, row] = judged, 1 / judged
    missing = [
        f"{names[row]}/{names[column]}"
        for row, column in _pairs(len(names))
        if (row, column) not in called and (column, row) not in called
    ]
    if missing:
        raise ValueError(f"compare every pair once; missing: {', '.join(missing)}")
    return _weigh(names, matrix, called)


def _weigh(
    names: Sequence[str], matrix: Matrix, called: Mapping[tuple[int, int], str]
) -> Priorities:
    size = len(names)
    values, vectors = np.linalg.eig(matrix)
    principal = int(np.argmax(values.real))
    # The principal eigenvector of a positive matrix has one sign (Perron), which `eig` may flip.
    vector = np.abs(vectors[:, principal].real)
    weights = vector / vector.sum()
    largest = float(values[principal].real)
    # One or two names are always consistent. Rounding must not make the index negative.
    index = max(0.0, (largest - size) / (size - 1)) if size > 2 else 0.0
    ratio = index / RANDOM_INDICES[size - 1] if size > 2 else 0.0
    if ratio > LARGEST_RATIO:
        raise _inconsistent(names, matrix, weights, called=called, ratio=ratio)
    return Priorities(
        weights=dict(zip(names, weights.tolist(), strict=True)),
        largest_eigenvalue=largest,
        consistency_index=index,
        consistency_ratio=ratio,
    )


def _inconsistent(
    names: Sequence[str],
    matrix: Matrix,
    weights: Matrix,
    *,
    called: Mapping[tuple[int, int], str],
    ratio: float,
) -> InconsistentError:
    """Return the error that names the judgement furthest from the weights.

    The fitting value of ``a/b`` is the geometric mean of ``a/c * c/b`` over each third name c,
    limited to the scale. A judgement that has its fitting value already is passed over. If several
    are equally far, as all are in a matrix of three, the one with the least extreme fitting value
    is named.
    """
    logs = np.log(matrix)
    off = np.abs(logs + np.log(weights)[None, :] - np.log(weights)[:, None])
    size = len(names)
    end = math.log(max(LARGEST_JUDGEMENT, float(matrix.max())))

    def fitting(row: int, column: int) -> float:
        others = [third for third in range(size) if third not in {row, column}]
        implied = np.mean([logs[row, third] + logs[third, column] for third in others])
        return min(end, max(-end, float(implied)))

    def agreement(pair: tuple[int, int]) -> tuple[bool, float, float]:
        fits = fitting(*pair)
        return abs(fits - float(logs[pair])) < 1e-6, -round(float(off[pair]), 9), abs(fits)

    row, column = min(_pairs(size), key=agreement)
    if (column, row) in called:
        row, column = column, row
    return InconsistentError(
        ratio=ratio,
        judgement=called.get((row, column), f"{names[row]}/{names[column]}"),
        given=float(matrix[row, column]),
        fitting=math.exp(fitting(row, column)),
    )


def _check_names(names: Sequence[str]) -> None:
    if not 1 <= len(names) <= len(RANDOM_INDICES):
        raise ValueError(
            f"compare 1 to {len(RANDOM_INDICES)} names, and not {len(names)}; group them"
        )
    if len(set(names)) < len(names):
        raise ValueError("two of the names are the same")


def _pairs(size: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(size) for column in range(row + 1, size)]


def _positive(value: object) -> float:
    try:
        over, _, under = ("" if isinstance(value, bool) else str(value)).partition("/")
        parsed = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        parsed = math.nan
    if not (math.isfinite(parsed) and parsed > 0):
        raise ValueError(f"write a number over 0, or a fraction such as 1/3, and not {value!r}")
    return parsed


def _check_reciprocal(one: str, value: float, other: str, reciprocal: float) -> None:
    if abs(value * reciprocal - 1) > ROUNDING:
        raise ValueError(
            f"{one} is {as_text(value)} and {other} is {as_text(reciprocal)}; "
            "they must be each other's reciprocals"
        )
