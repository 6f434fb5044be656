"""Counts the orders that have a click of their user before them, while events are tried.

Example: u7 clicks at 10:00, u8 orders at 11:00, and u7 orders at 12:00: one order of two has a
touch. If an ``identity`` event had linked u8 to u7 before 11:00, both would have one.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from models.aggregates.distinct_users import hash_user
from models.events import Click, Identity, OrderPlaced, type_of
from streams.feed.rows.row_mapper import MappedEvent

MOST_USERS = 1_000_000
"""Users with clicks that are kept, about 100 MB. With more of them nothing is said of orders."""

_CLICK, _ORDER, _IDENTITY = (type_of(event) for event in (Click, OrderPlaced, Identity))
_identity = msgspec.json.Decoder(Identity).decode


class OrderTouches:
    """Counts orders and those with a touch; the lookback of attribution is left out.

    ``orders`` counts the orders of users, and ``touched`` those of them with a touch. Guests are
    left out.
    """

    def __init__(self) -> None:
        self.orders = 0
        self.touched = 0
        self._clicked: set[int] = set()
        self._others: defaultdict[int, set[int]] = defaultdict(set)

    def add(self, event: MappedEvent) -> None:
        """Add an event; events come in the order of their times."""
        if not event.key:
            return
        user = hash_user(event.key)
        if event.type == _CLICK:
            if self.known:
                self._clicked.add(user)
        elif event.type == _ORDER:
            self.orders += 1
            self.touched += not self._clicked.isdisjoint((user, *self._others.get(user, ())))
        elif event.type == _IDENTITY:
            self._others[user].add(hash_user(_identity(event.value).same_as.encode()))

    @property
    def known(self) -> bool:
        """Whether the clicks of all users are kept."""
        return len(self._clicked) <= MOST_USERS

    @property
    def clicks(self) -> bool:
        """Whether there are clicks of users."""
        return bool(self._clicked)
