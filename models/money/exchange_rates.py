"""Rates of exchange, by the date from which they hold."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.money.amounts import LARGEST_AMOUNT, MoneyError, to_units

_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Rate(BaseModel):
    """What one unit of a currency is worth in the reporting currency, from a date on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    date: date
    rate: Annotated[Decimal, Field(gt=0, le=10**9, max_digits=24)]


class RateBook(BaseModel):
    """A file of rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rates: tuple[Rate, ...] = ()


class NoRateError(MoneyError):
    """Nobody said what a currency was worth on that date."""


class Rates:
    """All rates that are known; grows.

    Args:
        currency: the reporting currency, ISO 4217.
    """

    def __init__(self, currency: str, rates: Iterable[Rate] = ()) -> None:
        self.currency = currency
        self._dates: dict[str, list[date]] = {}
        self._rates: dict[tuple[str, date], Decimal] = {}
        for rate in rates:
            self.define(rate)

    def __len__(self) -> int:
        """Return how many rates are known."""
        return len(self._rates)

    def define(self, rate: Rate) -> None:
        """Add a rate, or replace the one of the same currency and date."""
        key = (rate.currency, rate.date)
        if key not in self._rates:
            insort(self._dates.setdefault(rate.currency, []), rate.date)
        self._rates[key] = rate.rate

    def to_units(self, amount: Decimal, currency: str, *, on: date) -> int:
        """Return an amount in units of 1/10,000 of the reporting currency, half to even.

        The rate is the newest that holds on the date.

        Raises:
            NoRateError: there is none.
            MoneyError: the amount can't be held exactly.
        """
        units = to_units(amount)
        if currency == self.currency:
            return units
        dates = self._dates.get(currency, [])
        place = bisect_right(dates, on)
        if not place:
            raise NoRateError(f"no rate of {currency} holds on {on}; known: {self._known()}")
        rate = self._rates[currency, dates[place - 1]]
        converted = int(_WIDE.to_integral_value(_WIDE.multiply(Decimal(units), rate)))
        if abs(converted) > LARGEST_AMOUNT:
            raise MoneyError("too large")
        return converted

    def _known(self) -> str:
        return ", ".join(sorted({self.currency, *self._dates}))
