"""Guesses which rows of a file are which events, and writes the mapping that says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from streams.errors import FeedError
from streams.feed.mapping.number_format import NumberFormat
from streams.guessing import yaml_text
from streams.guessing.columns import (
    CURRENCIES,
    Column,
    Role,
    columns_of,
    event_of,
    roles_of,
    status_of,
)
from streams.guessing.file_probe import Probe
from streams.guessing.value_formats import DECIMAL_COMMA, MOSTLY, TimeGuess, guess_time

_SIGNS: Final = {
    "€": "EUR",
    "£": "GBP",
    "$": "USD",
    "¥": "CNY",
    "￥": "CNY",
    "₹": "INR",
    "₩": "KRW",
}
_SHARED_SIGNS: Final = frozenset("$¥￥")
_LISTED: Final = 5


class Defaults(NamedTuple):
    """Answers that files do not give.

    Args:
        time_zone: the zone of times without an offset.
        currency: the currency of amounts without one.
    """

    time_zone: str
    currency: str


@dataclass(slots=True)
class FileGuess:
    """A guess at the rows of a file.

    Args:
        probe: what the file looks like.
        columns: its columns by name.
        roles: what each column is.
        kind: ``orders``, ``clicks``, ``visits``, ``spend`` or ``events``.
        time: the format of the time of its events.
        notes: what is not sure, each beginning with the key of the mapping.
    """

    probe: Probe
    columns: dict[str, Column]
    roles: dict[str, Role]
    kind: str
    time: TimeGuess
    notes: list[str] = field(default_factory=list)

    def column(self, role: Role) -> Column | None:
        """Return the column of a role."""
        name = next((name for name, one in self.roles.items() if one is role), None)
        return None if name is None else self.columns[name]

    @property
    def is_named_clicks(self) -> bool:
        """Whether its name, or that of a column, says that its rows are clicks."""
        return _names_clicks(self.probe, self.columns)

    @property
    def equal_rows(self) -> int:
        """The number of rows that are equal to one before in every column."""
        rows = self.probe.rows
        return len(rows) - len({tuple(row.items()) for row in rows})

    @property
    def hashes(self) -> bool:
        """Whether users are e-mail addresses, which are hashed."""
        user = self.column(Role.USER)
        return user is not None and user.is_email

    @property
    def currencies(self) -> dict[str, bool]:
        """The currencies of its amounts, and whether each is sure."""
        column = self.column(Role.CURRENCY)
        if column is not None:
            return {code.upper(): True for code, _ in column.counts.most_common()}
        money = self.column(Role.AMOUNT) or self.column(Role.COST)
        if money is None:
            return {}
        found = {}
        for text in [*money.counts][:1_000]:
            for sign, code in _SIGNS.items():
                if sign in text:
                    found[code] = sign not in _SHARED_SIGNS
        codes = re.findall(r"\b[A-Z]{3}\b", " ".join([money.name, *[*money.counts][:100]]))
        return found | {code: True for code in codes if code in CURRENCIES}


def guess_file(probe: Probe) -> FileGuess:
    """Return what the rows of a file probably are.

    Raises:
        FeedError: they can't be events; the message says what is missing.
    """
    columns = {one.name: one for one in columns_of(probe)}
    roles = roles_of([*columns.values()])
    role_names = {role: name for name, role in roles.items()}
    if Role.TIME not in role_names:
        raise FeedError(
            f"{probe.path}: no column has times, so its rows can't be events; it has: "
            f"{', '.join(probe.names)}"
        )
    kind = _kind(probe, columns, role_names)
    time = columns[role_names[Role.TIME]].time
    if Role.CLOCK in role_names:
        names = role_names[Role.TIME], role_names[Role.CLOCK]
        both = [" ".join(row.get(name, "") for name in names) for row in probe.rows]
        time = guess_time(both) or time
    assert time is not None
    return FileGuess(probe, columns, roles, kind, time, list(probe.notes))


def _kind(probe: Probe, columns: dict[str, Column], role_names: dict[Role, str]) -> str:
    if Role.EVENT in role_names:
        return "events"
    if Role.COST in role_names and not {Role.USER, Role.ORDER} & role_names.keys():
        return "spend"
    if Role.AMOUNT in role_names and {Role.USER, Role.ORDER, Role.STATUS} & role_names.keys():
        return "orders"
    if Role.ORDER in role_names and Role.USER in role_names:
        return "visits"
    if Role.USER in role_names:
        named = _names_clicks(probe, columns)
        return "clicks" if named or Role.CAMPAIGN in role_names else "visits"
    raise FeedError(
        f"{probe.path}: no column is a user, an order or a cost, so its rows are no known events; "
        f"it has: {', '.join(probe.names)}"
    )


def _names_clicks(probe: Probe, columns: Iterable[str]) -> bool:
    """Return whether the name of a file, or of one of its columns, speaks of clicks."""
    hints = f"{probe.path.stem} {' '.join(columns)}".lower()
    return re.search(r"click|klick|gclid|\bads?\b|anzeige", hints) is not None


def mapping_text(guess: FileGuess, defaults: Defaults) -> str:
    """Return the mapping of a file; what is not sure is added to the notes of the guess."""
    body = yaml_text.document(_Mapping(guess, defaults).content())
    used = [
        f"#   {name}: {role}{', e-mail addresses' if guess.columns[name].is_email else ''}"
        for name, role in guess.roles.items()
    ]
    looked_at = f"{len(guess.probe.rows):,} rows" + ("" if guess.probe.is_whole else ", the first")
    head = [
        f"# The {guess.kind} of {guess.probe.path.name}, guessed by kpi-monitor init from "
        f"{looked_at}.",
        "# Every key is explained in docs/mappings.md. The columns are taken for (- is not used):",
        *used,
        *(["# Not sure:"] if guess.notes else []),
        *(f"#   {note}" for note in guess.notes),
    ]
    return "\n".join([*head, body])


class _Mapping:
    """Makes the content of a mapping."""

    def __init__(self, guess: FileGuess, defaults: Defaults) -> None:
        self._guess = guess
        self._defaults = defaults
        self._nulls: set[str] = set()
        self._equal_rows = guess.equal_rows
        money = guess.column(Role.AMOUNT) or guess.column(Role.COST) or guess.column(Role.REFUND)
        self._money = money
        self._numbers = (
            NumberFormat() if money is None or not money.number else money.number.numbers
        )

    def content(self) -> dict[str, Any]:
        """Return the keys of the mapping with their values."""
        guess = self._guess
        makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "orders": self._orders,
            "events": self._of_kinds,
            "spend": self._spend,
            "clicks": lambda: [self._of_user("click")],
            "visits": lambda: [self._of_user("visit")],
        }
        leave_out: dict[str, Any] = {}
        time = self._time(guess.column(Role.TIME), guess.time, guess.column(Role.CLOCK))
        events = makers[guess.kind]()
        status = guess.column(Role.STATUS)
        if guess.kind == "orders" and status is not None:
            refused = [one for one in status.counts if status_of(one) in {"cancelled", "open"}]
            if refused and len(refused) < len(status.counts):
                leave_out = {status.name: refused}
            if waiting := [one for one in refused if status_of(one) == "open"]:
                self._note("leave_out", f"rows with {_listed(waiting)} are left out as not paid")
        numbers = {} if guess.probe.in_json else _numbers(self._numbers)
        return {
            **guess.probe.layout,
            **({"nulls": sorted(self._nulls)} if self._nulls else {}),
            **({"numbers": numbers} if numbers else {}),
            "time": time,
            **({"leave_out": leave_out} if leave_out else {}),
            **({"equal_events": "once"} if self._equal_once() else {}),
            "events": events,
        }

    def _equal_once(self) -> bool:
        """Return whether equal rows are repetitions, and note what becomes of them."""
        guess, equal = self._guess, self._equal_rows
        if not equal or guess.kind == "spend":
            return False
        rows = f"rows that are equal to one before in every column: {equal:,};"
        order = guess.column(Role.ORDER)
        if order is None or guess.kind != "orders":
            self._note(
                "equal_events", f"{rows} they count, too; write once if the export repeats rows"
            )
            return False
        # Rows of one order that differ are its items, of which two may be equal.
        if equal < len(order.values) - len(order.counts):
            self._note("equal_events", f"{rows} each is a refund if its order is refunded")
            return False
        self._note("equal_events", f"{rows} they count once; write each if they are items")
        return True

    def _note(self, key: str, text: str) -> None:
        self._guess.notes.append(f"{key}: {text}")

    def _use(self, column: Column) -> str:
        self._nulls |= column.nulls
        return f"{{{column.name}}}"

    def _time(
        self, column: Column | None, guessed: TimeGuess | None, clock: Column | None = None
    ) -> dict[str, Any]:
        assert column is not None
        assert guessed is not None
        value = " ".join(self._use(one) for one in (column, clock) if one is not None)
        formats: Any = guessed.formats[0] if len(guessed.formats) == 1 else [*guessed.formats]
        made: dict[str, Any] = {"value": value}
        if formats != "rfc3339":
            made["format"] = formats
        if guessed.needs_zone:
            is_utc = all(one.endswith("UTC") for one in guessed.formats)
            made["zone"] = "UTC" if is_utc else self._defaults.time_zone
            if not is_utc:
                self._note(
                    "time.zone", f"{column.name} has no offset from UTC; taken for {made['zone']}"
                )
        if guessed.unsure:
            self._note("time.format", guessed.unsure)
        if guessed.fits < 1:
            self._note("time.format", f"{1 - guessed.fits:.1%} of {column.name} do not fit it")
        return made

    def _user(self) -> Any:
        column = self._guess.column(Role.USER)
        if column is None:
            self._note("user_id", "no column is the user, so all events are of guests")
            return "guest"
        if column.absent:
            share = f"{column.absent:,} of {column.rows:,} rows"
            self._note("user_id", f"{share} have no {column.name}; they count as guests")
        value = self._use(column)
        return {"value": value, "case": "lower", "hash": True} if column.is_email else value

    def _places(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields of campaign, channel, region and segment."""
        guess = self._guess
        page = guess.column(Role.PAGE)
        campaign, channel = guess.column(Role.CAMPAIGN), guess.column(Role.CHANNEL)
        utm = "" if page is None else " ".join([*page.counts][:2_000])
        if campaign is not None:
            yield "campaign", self._use(campaign)
        elif page is not None and "utm_campaign=" in utm:
            yield "campaign", {"value": self._use(page), "query": "utm_campaign"}
        if channel is not None:
            yield "channel", self._channel(channel)
        elif page is not None and "utm_source=" in utm:
            yield "channel", {"value": self._use(page), "query": "utm_source", "case": "lower"}
        for role in (Role.REGION, Role.SEGMENT):
            column = guess.column(role)
            if column is not None:
                yield role.value, self._use(column)

    def _channel(self, column: Column) -> Any:
        value = self._use(column)
        parted = sum(n for text, n in column.counts.items() if " / " in text)
        if parted < 0.5 * len(column.values):
            return value
        self._note("channel", f"the first part of {column.name}; the second is part: 2")
        return {"value": value, "split": "/", "part": 1, "case": "lower"}

    def _of_user(self, type_name: str) -> dict[str, Any]:
        page = self._guess.column(Role.PAGE)
        fields = {"user_id": self._user(), **dict(self._places())}
        if page is not None:
            fields["page"] = self._use(page)
        if type_name == "visit" and self._guess.kind == "visits":
            self._note("type", "every row is a visit; write click if they are clicks on ads")
        elif type_name == "click" and not self._guess.is_named_clicks:
            self._note("type", "rows have campaigns, so each is a click; write visit if it is not")
        return {"type": type_name, "fields": fields}

    def _currency(self) -> str:
        column = self._guess.column(Role.CURRENCY)
        if column is not None:
            return self._use(column)
        found = self._guess.currencies
        if not found:
            self._note("currency", f"the file names none; taken for {self._defaults.currency}")
        elif not all(found.values()) or len(found) > 1:
            self._note("currency", f"a guess; it could also be another than {next(iter(found))}")
        return next(iter(found), self._defaults.currency)

    def _order_fields(self) -> dict[str, Any]:
        guess = self._guess
        user, order, items = self._user(), guess.column(Role.ORDER), guess.column(Role.ITEMS)
        if order is None:
            self._note("order_id", "no column is the order's number, so each row is an order")
        elif not order.is_unique and guess.kind == "orders":
            repeated = len(order.values) - len(order.counts) - self._equal_rows
            if repeated > 0:
                self._note(
                    "order_id",
                    f"values of {order.name} that come again in other rows: {repeated:,}; the last "
                    "row of an order counts. If rows are items of orders, add them up before",
                )
        return {
            "user_id": user,
            "order_id": "{event_id}" if order is None else self._use(order),
            "amount": self._amount(self._money),
            "currency": self._currency(),
            **({"items": self._use(items)} if items is not None else {}),
            **dict(self._places()),
        }

    def _amount(self, column: Column | None, *, absolute: bool = False) -> Any:
        assert column is not None
        value = self._use(column)
        made: dict[str, Any] = {"value": value}
        number = column.number
        if number is not None:
            if number.unsure:
                self._note("numbers", number.unsure)
            if number.fits < MOSTLY:
                self._note("numbers", f"{1 - number.fits:.1%} of {column.name} do not fit")
            if number.numbers != self._numbers and not self._guess.probe.in_json:
                made["numbers"] = _numbers(number.numbers) or {"decimal": "."}
        cents = re.search(r"\b(cents?|minor)\b", column.words) is not None
        whole = all(re.fullmatch(r"-?\d{3,}", text) for text in [*column.counts][:1_000])
        if cents or "micros" in column.words:
            made["divide"] = 100 if cents else 1_000_000
        elif whole and len(column.counts) > 1:
            self._note("amount", f"if {column.name} is in cents, add divide: 100")
        if absolute:
            made["absolute"] = True
        return value if made.keys() == {"value"} else made

    def _orders(self) -> list[dict[str, Any]]:
        guess = self._guess
        status, refund = guess.column(Role.STATUS), guess.column(Role.REFUND)
        fields = self._order_fields()
        meant: dict[str, list[str]] = {}
        for text in status.counts if status is not None else ():
            meant.setdefault(status_of(text), []).append(text)
        if meant.keys() <= {"", "open", "cancelled"}:
            # Nothing is known to be paid, so the column does not say it.
            if status is not None:
                self._note("when", f"no value of {status.name} is known; every row is an order")
                guess.roles[status.name] = Role.UNUSED
            status = None
        when: dict[str, Any] = {}
        if status is not None:
            paid = [one for name in ("paid", "refunded", "part", "") for one in meant.get(name, [])]
            when = {status.name: paid}
            if unknown := meant.get("", []):
                self._note("when", f"{_listed(unknown)}: unknown values of {status.name}, as paid")
            if status.absent:
                self._note(
                    "when", f"{status.absent:,} rows have no {status.name}, and match nothing"
                )
        entries = [{"type": "order_placed", "when": when, "fields": fields}]
        refunds = self._refunds(status, refund, meant, fields)
        if refunds is not None:
            entries.append(refunds)
        elif self._money is not None and any(one.startswith("-") for one in self._money.counts):
            name = self._money.name
            entries[0]["when"] = {**when, name: {"at_least": 0}}
            back = {**fields, "amount": self._amount(self._money, absolute=True)}
            back.pop("items", None)
            entries.append({"type": "order_refunded", "when": {name: {"below": 0}}, "fields": back})
            self._note("events", f"rows with a {name} below 0 are taken for refunds")
        return [one for entry in entries for one in self._by_style(entry)]

    def _refunds(
        self,
        status: Column | None,
        refund: Column | None,
        meant: dict[str, list[str]],
        fields: dict[str, Any],
    ) -> dict[str, Any] | None:
        guess = self._guess
        back = {name: value for name, value in fields.items() if name != "items"}
        if refund is not None:
            negative = any(text.startswith(("-", "−")) for text in refund.counts)
            when: Any = {refund.name: {"below" if negative else "above": 0}}
            back["amount"] = self._amount(refund, absolute=negative)
        elif status is not None and meant.get("refunded"):
            when = {status.name: meant["refunded"]}
            self._note("events", "no column is the refund's amount; all of the order's is taken")
        else:
            if meant.get("part"):
                self._note("events", f"refunds of {_listed(meant['part'])} are not counted")
            return None
        entry: dict[str, Any] = {"type": "order_refunded", "when": when}
        at = guess.column(Role.REFUND_TIME)
        if at is not None:
            rows = [
                row for row in guess.probe.rows if self._is_refunded(row, status, refund, meant)
            ]
            if all(row.get(at.name) for row in rows):
                entry["time"] = self._time(at, at.time)
            else:
                at = None
        if at is None:
            self._note("events", "a refund has no time of its own, and is given that of its order")
        return {**entry, "fields": back}

    @staticmethod
    def _is_refunded(
        row: dict[str, str],
        status: Column | None,
        refund: Column | None,
        meant: dict[str, list[str]],
    ) -> bool:
        if refund is not None:
            return bool(row.get(refund.name, "").strip("0.,-− €$£"))
        return status is not None and row.get(status.name) in meant.get("refunded", [])

    def _by_style(self, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield an entry, or one for each style of numbers if two are mixed."""
        money = self._money
        number = None if money is None else money.number
        if money is None or number is None or not number.is_mixed:
            yield entry
            return
        if f"{{{money.name}}}" not in str(entry["fields"].get("amount")):
            yield entry
            return
        if entry["type"] == "order_placed":
            self._note("numbers", f"{money.name} has decimal commas and points; both are read")
        when, fields = entry.get("when", {}), entry["fields"]
        comma = {**_numbers(number.numbers), "decimal": ",", "thousands": "."}
        amount = (
            fields["amount"] if isinstance(fields["amount"], dict) else {"value": fields["amount"]}
        )
        yield {
            **entry,
            "when": {**when, money.name: {"regex": DECIMAL_COMMA}},
            "fields": {**fields, "amount": {**amount, "numbers": comma}},
        }
        yield {**entry, "when": {**when, money.name: {"not": {"regex": DECIMAL_COMMA}}}}

    def _of_kinds(self) -> list[dict[str, Any]]:
        """Return the entries of a file in which a column names the kind of each event."""
        column = self._guess.column(Role.EVENT)
        assert column is not None
        kinds: dict[str, list[str]] = {}
        for text in column.counts:
            kinds.setdefault(event_of(text), []).append(text)
        entries = []
        visit = self._of_user("visit")
        for type_name, texts in kinds.items():
            is_order = type_name.startswith("order")
            if is_order and self._money is None:
                self._note(
                    "events",
                    f"{_listed(texts)} may be orders, but no column is their amount: add them",
                )
                continue
            fields = dict(visit["fields"])
            if is_order:
                fields = self._order_fields()
            if type_name == "order_refunded":
                fields.pop("items", None)
                fields["amount"] = self._amount(self._money, absolute=True)
            if type_name not in {"click", "visit"}:
                fields.pop("page", None)
            elif "page" not in fields:
                fields["page"] = f"{{{column.name}}}"
            entries.append({"type": type_name, "when": {column.name: texts}, "fields": fields})
        if kinds.get("visit"):
            self._note("events", f"taken for visits: {_listed(kinds['visit'])}")
        if not entries:
            raise FeedError(f"{self._guess.probe.path}: no row is an event that is known")
        return entries

    def _spend(self) -> list[dict[str, Any]]:
        guess = self._guess
        campaign, channel = guess.column(Role.CAMPAIGN), guess.column(Role.CHANNEL)
        if campaign is None:
            self._note("campaign_id", "no column is the campaign; all spend is of one, all-ads")
        fields: dict[str, Any] = {
            "campaign_id": "all-ads" if campaign is None else self._use(campaign),
            "amount": self._amount(self._money),
            "currency": self._currency(),
        }
        if channel is not None:
            fields["channel"] = self._channel(channel)
        time = guess.column(Role.TIME)
        if time is not None and not guess.time.has_clock and len(guess.time.formats) == 1:
            value, pattern = self._use(time), guess.time.formats[0]
            fields["period"] = value if pattern == "rfc3339" else {"value": value, "date": pattern}
        return [{"type": "spend_reported", "fields": fields}]


def _numbers(numbers: NumberFormat) -> dict[str, Any]:
    return {
        name: [*value] if isinstance(value, tuple) else value
        for name, value in numbers.model_dump(exclude_defaults=True).items()
    }


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
