"""Money as integers in units of 1/10,000 of the currency, so that sums are exact."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

UNITS_PER_CURRENCY = 10_000
LARGEST_AMOUNT = 10**15
"""The largest amount, in units of 1/10,000; a larger one is broken input."""

_SCALE = Decimal(UNITS_PER_CURRENCY)
_STEP = 1 / _SCALE


class MoneyError(ValueError):
    """An amount is not finite, or over `LARGEST_AMOUNT`."""


def to_units(amount: Decimal) -> int:
    """Convert a decimal amount to integer units of 1/10,000: 19.99 is 199,900.

    More than four decimals are rounded half to even: 182.45000000000002, as programs write a sum of
    floating-point numbers, is 1,824,500.

    Raises:
        MoneyError: the amount is not finite, or too large.
    """
    if not amount.is_finite():
        raise MoneyError("not a finite number")
    if amount.adjusted() > 15:
        raise MoneyError("too large")
    units = int((amount * _SCALE).to_integral_value(ROUND_HALF_EVEN))
    if abs(units) > LARGEST_AMOUNT:
        raise MoneyError("too large")
    return units


def is_rounded(amount: Decimal) -> bool:
    """Return whether `to_units` rounds an amount: it has more than four decimals, not all 0.

    Args:
        amount: an amount that `to_units` accepts.
    """
    return amount != amount.quantize(_STEP)


def to_currency(units: int | float) -> float:
    """Convert units of 1/10,000 to the currency."""
    return units / UNITS_PER_CURRENCY


def from_currency(amount: float) -> int:
    """Convert back what `to_currency` returned; exact up to `LARGEST_AMOUNT`."""
    return round(amount * UNITS_PER_CURRENCY)
