"""Converts amounts to the reporting currency by the exchange rate of a date.

A rate holds from its date until the date of the next rate of the same currency.

Example, with the reporting currency EUR and the rates USD 0.92 from March 1 and 0.90 from March 4:

    19.99 USD on March 3       199,900 units * 0.92 = 183,908 units, which is 18.3908 EUR
    19.99 USD on March 4       199,900 units * 0.90 = 179,910 units
    0.0025 USD on March 4      25 units * 0.90 = 22.5, half to even: 22 units
    19.99 USD on February 29   NoRateError
    19.99 EUR on any date      199,900 units
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from models.money.amounts import LARGEST_AMOUNT, MoneyError, to_units

_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Rate(BaseModel):
    """The value of 1 of a currency in the reporting currency, from a date on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    date: date
    rate: Annotated[Decimal, Field(gt=0, le=10**9, max_digits=24)]


class RateBook(BaseModel):
    """The content of a file of rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"rates": ("currency", "date")}

    rates: tuple[Rate, ...] = ()


class NoRateError(MoneyError):
    """No rate of the currency holds on the date."""


def converted(units: int, rate: Decimal) -> int:
    """Convert units of 1/10,000 of a currency at a rate; rounds half to even."""
    return int(_WIDE.to_integral_value(_WIDE.multiply(Decimal(units), rate)))


class Rates:
    """All known rates. Rates are added or replaced, never removed.

    Args:
        currency: the reporting currency, ISO 4217.
        rates: the first rates.
    """

    def __init__(self, currency: str, rates: Iterable[Rate] = ()) -> None:
        self.currency = currency
        self._dates: dict[str, list[date]] = {}
        self._rates: dict[tuple[str, date], Decimal] = {}
        for rate in rates:
            self.define(rate)

    def __len__(self) -> int:
        """Return the number of rates."""
        return len(self._rates)

    def define(self, rate: Rate) -> None:
        """Add a rate, or replace the one with the same currency and date."""
        key = (rate.currency, rate.date)
        if key not in self._rates:
            insort(self._dates.setdefault(rate.currency, []), rate.date)
        self._rates[key] = rate.rate

    def to_units(self, amount: Decimal, currency: str, *, on: date) -> int:
        """Convert an amount to units of 1/10,000 of the reporting currency.

        Uses the newest rate whose date is not after ``on``, and rounds half to even.

        Args:
            amount: in the given currency; more than four decimals are rounded half to even.
            currency: the currency of the amount, ISO 4217.
            on: the business day of the event.

        Raises:
            NoRateError: no rate holds on the date.
            MoneyError: the amount is not finite, or too large.
        """
        units = to_units(amount)
        if currency == self.currency:
            return units
        units = converted(units, self.rate_of(currency, on=on))
        if abs(units) > LARGEST_AMOUNT:
            raise MoneyError("too large")
        return units

    def rate_of(self, currency: str, *, on: date) -> Decimal:
        """Return the value of 1 of another currency in the reporting currency on a date.

        Raises:
            NoRateError: no rate holds on the date.
        """
        dates = self._dates.get(currency, [])
        place = bisect_right(dates, on)
        if not place:
            if dates:
                raise NoRateError(
                    f"no rate of {currency} holds on {on}; the first begins on {dates[0]}"
                )
            raise NoRateError(f"no rate of {currency} is known; known: {self._known()}")
        return self._rates[currency, dates[place - 1]]

    def _known(self) -> str:
        return ", ".join(sorted({self.currency, *self._dates}))
