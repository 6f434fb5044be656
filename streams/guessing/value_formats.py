"""Guesses the format of times and numbers from their texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.time_format import TimeFormat

MOSTLY: Final = 0.98
"""Share of the values of a column that its format must fit."""
_TRIED: Final = 200
"""Values with which all formats are tried."""
_DATES: Final = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
    *("%Y-%m-%d", "%Y%m%d", "%d-%b-%Y", "%d-%b-%y"),
)
_CLOCKS: Final = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p", ", %H:%M")
PATTERNS: Final = (
    *(f"{date}{clock}" for clock in _CLOCKS for date in _DATES),
    *("%Y-%m-%d %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC", "%Y%m%d%H%M%S"),
)
_FIRST_MS: Final = 631_152_000_000
"""1990: earlier times are probably none."""
_LAST_MS: Final = 2_208_988_800_000
"""2040."""
_UNITS: Final = re.compile(r"[A-Za-z]{1,4}\.?")
_NUMBERS: Final = (
    NumberFormat(),
    NumberFormat(decimal=","),
    NumberFormat(decimal=",", thousands="."),
    NumberFormat(thousands=","),
    NumberFormat(decimal=",", thousands=" "),
    NumberFormat(thousands=" "),
    NumberFormat(thousands="'"),
)
DECIMAL_COMMA: Final = r"[^,]*,\d{1,2}\D*"
"""Regular expression of numbers that end with a comma and one or two digits."""


class TimeGuess(NamedTuple):
    """The format of times.

    Args:
        formats: of `TimeFormat.format`.
        needs_zone: whether some times have no offset from UTC.
        has_clock: whether they are more than dates.
        fits: the share of values that fit.
        unsure: what is not sure; empty if all is.
    """

    formats: tuple[str, ...]
    needs_zone: bool
    has_clock: bool
    fits: float
    unsure: str = ""


@dataclass(frozen=True, slots=True)
class NumberGuess:
    """The format of numbers.

    Args:
        numbers: the format.
        fits: the share of values that fit.
        is_mixed: whether numbers with a decimal comma and with a decimal point are mixed; then
            ``numbers`` is the format of those without the comma.
        unsure: what is not sure; empty if all is.
    """

    numbers: NumberFormat
    fits: float
    is_mixed: bool = False
    unsure: str = ""


def guess_time(values: Sequence[str]) -> TimeGuess | None:
    """Return the format of times, in the order of rows; None if most values are none."""
    tried = _spread(values)
    if not any(re.search(r"\d", value) for value in tried):
        return None
    found = _epoch(tried) or _iso(tried, values)
    if found is not None:
        return found
    likely = [one for one in PATTERNS if _share(_reader(one), tried[:20])]
    shares = {one: _share(_reader(one), tried) for one in likely}
    best = max(shares.values(), default=0)
    if best < 0.5:
        return None
    fitting = [one for one, share in shares.items() if share == best]
    chosen, unsure = _most_in_order(fitting, values)
    formats = [chosen]
    while (fits := _share(_reader(*formats), tried)) < MOSTLY and len(formats) < 3:
        rest = [value for value in tried if not _fits(_reader(*formats), value)]
        other = max(PATTERNS, key=lambda one: _share(_reader(one), rest))
        if not _share(_reader(other), rest):
            break
        formats.append(other)
    if fits < 0.9:
        return None
    needs_zone = any("%z" not in one for one in formats)
    has_clock = any("%H" in one or "%I" in one for one in formats)
    return TimeGuess(
        tuple(formats), needs_zone, has_clock, _share(_reader(*formats), values), unsure
    )


def guess_number(values: Sequence[str]) -> NumberGuess | None:
    """Return the format of numbers; None if most values are none."""
    tried = _spread(values)
    if sum(any(map(str.isdigit, text)) for text in tried) < max(1, 0.9 * len(tried)):
        return None
    units = {unit for text in tried for unit in _UNITS.findall(text)}
    if len(units) > 3 or any(re.search(r"[A-Za-z]\d|\d[A-Za-z]", text) for text in tried):
        return None
    signs = tuple(sorted(units))
    formats = [one.model_copy(update={"signs": signs}) for one in _NUMBERS]
    shares = [_share(one.reader(), values) for one in formats]
    best = max(shares)
    number = formats[shares.index(best)]
    unsure = ""
    if best >= MOSTLY and _is_ambiguous(values):
        mark = "point" if number.decimal == "." else "comma"
        unsure = (
            f"is the {mark} of {values[0]!r} a decimal mark? All values have three digits after"
        )
    if best < MOSTLY:
        with_comma = [text for text in values if re.fullmatch(DECIMAL_COMMA, text)]
        others = [text for text in values if not re.fullmatch(DECIMAL_COMMA, text)]
        point = next(
            (one for one in formats if one.decimal == "." and _share(one.reader(), others) == 1),
            None,
        )
        comma = NumberFormat(decimal=",", thousands=".", signs=signs).reader()
        if point is not None and _share(comma, with_comma) == 1:
            return NumberGuess(point, 1.0, is_mixed=True)
    if best < 0.9:
        return None
    return NumberGuess(number if unsure else _with_groups(number, values), best, unsure=unsure)


def _with_groups(number: NumberFormat, values: Iterable[str]) -> NumberFormat:
    """Return a format that reads thousands, too: a file without large numbers has none of them.

    Example: ``85,13`` has a decimal comma, so a point in later numbers groups thousands.
    """
    if number.thousands or not any(
        re.search(rf"\d{re.escape(number.decimal)}\d", one) for one in values
    ):
        return number
    return number.model_copy(update={"thousands": "," if number.decimal == "." else "."})


def _is_ambiguous(values: Iterable[str]) -> bool:
    texts = [text for text in values if re.search(r"[.,]", text)]
    return bool(texts) and all(re.fullmatch(r"\D*\d{1,3}[.,]\d{3}\D*", text) for text in texts)


def _spread(values: Sequence[str]) -> list[str]:
    """Return some distinct values from all over a column."""
    distinct = [*dict.fromkeys(values)]
    step = max(1, len(distinct) // _TRIED)
    return distinct[::step][:_TRIED]


def _reader(*formats: str) -> Callable[[str], object]:
    return TimeFormat.model_construct(format=formats, zone="UTC").reader()


def _fits(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except (ValueError, ArithmeticError):
        return False
    return True


def _share(read: Callable[[str], object], values: Sequence[str]) -> float:
    return sum(_fits(read, value) for value in values) / len(values) if values else 0.0


def _epoch(values: Sequence[str]) -> TimeGuess | None:
    for name, expression in (("epoch_s", r"\d{9,10}(\.\d+)?"), ("epoch_ms", r"\d{12,13}")):
        if all(re.fullmatch(expression, value) for value in values):
            read = TimeFormat(format=(name,)).reader()
            if all(_FIRST_MS <= read(value) <= _LAST_MS for value in values):
                unsure = "whole numbers in the range of epoch times" if name == "epoch_s" else ""
                return TimeGuess((name,), needs_zone=False, has_clock=True, fits=1.0, unsure=unsure)
    return None


def _iso(tried: Sequence[str], values: Sequence[str]) -> TimeGuess | None:
    expression = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
    shapes = [expression.fullmatch(value) for value in tried]
    read = _reader("rfc3339")
    if sum(map(bool, shapes)) < MOSTLY * len(tried) or _share(read, tried) < MOSTLY:
        return None
    needs_zone = any(found is not None and found[4] is None for found in shapes)
    has_clock = any(found is not None and found[1] is not None for found in shapes)
    return TimeGuess(("rfc3339",), needs_zone, has_clock, _share(read, values))


def _most_in_order(patterns: Sequence[str], values: Sequence[str]) -> tuple[str, str]:
    """Return the pattern by which most rows are in the order of time, and what is not sure.

    Example: by ``%d/%m/%Y``, 01/11, 01/12, 02/01 is in order, and not by ``%m/%d/%Y``.
    """
    if len(patterns) == 1:
        return patterns[0], ""
    ordered = {one: _order(one, values) for one in patterns}
    best = max(ordered.values())
    chosen = next(one for one in patterns if ordered[one] == best)
    rivals = [one for one in patterns if one != chosen and ordered[one] > best - 0.05]
    if not rivals:
        return chosen, ""
    return chosen, f"{values[0]!r} could also be {rivals[0]}"


def _order(pattern: str, values: Sequence[str]) -> float:
    read = TimeFormat.model_construct(format=(pattern,), zone="UTC").reader()
    times = []
    for value in values[:2_000]:
        try:
            times.append(read(value))
        except ValueError:
            continue
    pairs = [*pairwise(times)]
    if not pairs:
        return 0.0
    rising = sum(one <= other for one, other in pairs)
    falling = sum(one >= other for one, other in pairs)
    return max(rising, falling) / len(pairs)
