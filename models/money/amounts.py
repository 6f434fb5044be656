"""Money as integers of 1/10,000 of the currency: sums are exact, never floats."""

from __future__ import annotations

from decimal import Decimal

UNITS_PER_CURRENCY = 10_000
LARGEST_AMOUNT = 10**15
"""Larger amounts, in units of 1/10,000, are taken for broken input."""

_SCALE = Decimal(UNITS_PER_CURRENCY)


class MoneyError(ValueError):
    """An amount is not finite, has over four decimals or is absurdly large."""


def to_units(amount: Decimal) -> int:
    """Turn a decimal amount into integer units of 1/10,000.

    Raises:
        MoneyError: the amount can't be held exactly.
    """
    if not amount.is_finite():
        raise MoneyError("not a finite number")
    if amount.adjusted() > 15:
        raise MoneyError("too large")
    scaled = amount * _SCALE
    units = int(scaled)
    if units != scaled:
        raise MoneyError("more than four decimals")
    if abs(units) > LARGEST_AMOUNT:
        raise MoneyError("too large")
    return units


def to_currency(units: int | float) -> float:
    """Turn units of 1/10,000 into the currency, for showing."""
    return units / UNITS_PER_CURRENCY
