"""The events of the three source topics, as they stand on the wire.

JSON, UTF-8, one event a record; ``type`` selects the shape. Unknown fields are
ignored, an unknown ``type`` is a dead letter. Event times are milliseconds
since the epoch in UTC, or RFC 3339 text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import msgspec

SourceKind = Literal["clicks", "orders", "campaigns"]
"""A kind of source topic; settings name the topic of each."""
SOURCE_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)
EventTime = int | str
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
UserId = Annotated[str, msgspec.Meta(max_length=256)]
Name = str
"""A name of any length; it is compared and shown as `models.names` says."""
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=10**10)]


class Event(msgspec.Struct, tag_field="type", gc=False, kw_only=True):
    """The fields of every event: a unique id and the event time."""

    event_id: Id
    """Id, unique among events of its type; a repetition with the same time counts once."""
    event_time: EventTime
    """Time of the event: ms since the Unix epoch in UTC, or RFC 3339 text with an offset."""


class CompleteThrough(Event, tag="complete_through", kw_only=True):
    """No events before ``event_time`` follow in this partition: history ends there.

    Windows up to then need not wait for newer events. It counts nothing, has no user and no key,
    and a repetition is no duplicate. In a partition without events it changes nothing.
    `kpi-monitor feed` sends one to each partition of a topic after its last event. Live sources
    need none: while they are read to their end, time goes on by itself. Workers of a version that
    does not know this type make it a dead letter (``unknown_type``), and count all else.
    """


class UserEvent(Event, kw_only=True):
    """An event of one user; its record key must be ``user_id``."""

    user_id: UserId | None = None
    """Id of the user, the same in all topics; also the key of the record. An event without one, or
    with the id of a guest, is of no user.
    """
    campaign_id: Name | None = None
    """Id of the campaign; an event of a campaign that is not defined counts in ``(unknown)``."""
    campaign: Name | None = None
    """Name or alias of the campaign, instead of its id; an event without either counts in
    ``(none)``, an order in the campaign of its clicks.
    """
    channel: Name = ""
    """Marketing channel, e.g. ``search``; an event without one counts in ``(none)``."""
    region: Name = ""
    """Region; events without one are not counted in any region."""
    segment: Name | None = None
    """Customer segment; events without one are not counted in any segment."""
    variant: str | None = None
    """Variant of an A/B test; not used yet."""


class Impression(UserEvent, tag="impression"):
    """An advertisement was shown, ``count`` times if the source pre-aggregates."""

    count: Count = 1
    """Number of impressions, if the source pre-aggregates."""


class Click(UserEvent, tag="click"):
    """A user clicked an advertisement."""

    traffic: Literal["paid", "natural"] = "paid"
    """Whether the traffic is paid; ``paid`` and ``natural`` visitors are counted separately."""
    page: str | None = None
    """Page that was viewed; not used yet."""


class Visit(UserEvent, tag="visit", kw_only=True):
    """A user looked at ``pages`` pages for ``dwell_ms`` milliseconds."""

    page: str | None = None
    pages: Count = 1
    """Number of pages viewed."""
    dwell_ms: Milliseconds | None = None
    """Duration of the visit, ms."""
    traffic: Literal["paid", "natural"] = "natural"


class OrderPlaced(UserEvent, tag="order_placed", kw_only=True):
    """A user placed an order of ``amount`` in ``currency``, or the order was edited.

    If customers are stored in Redis, the events of a user with the same ``order_id`` are one
    order, whatever their ``event_id``, and however long after the first they come. It counts at the
    time of its first event, in the campaign, channel, region and segment of that event, with
    ``amount`` and ``items`` of the last. First and last go by ``event_time``. So a confirmation
    page that is loaded again adds no order, and an order is edited by sending it again with the
    new amount and items. Amounts in the currency of the first event are converted at its rate.

    Without stored customers, and for guests, each event is an order of its own, except a repetition
    of its ``event_id``.
    """

    order_id: Id
    """Id of the order, unique among the orders of its user."""
    amount: Decimal
    """Amount of money, not negative; rounded half to even at 4 decimals."""
    currency: str
    """ISO 4217 code; without a rate on the day of the event, the event is a dead letter."""
    items: Count = 0
    """Number of items ordered."""


class OrderRefunded(UserEvent, tag="order_refunded", kw_only=True):
    """``amount`` of the order ``order_id`` was paid back, which may be a part of it.

    If customers are stored and the order is known, the refund counts in the campaign and at the
    time of its order, and is converted at the rate of its order if it is in its currency: a full
    refund leaves nothing, also if it is made in parts. What was paid back at a time
    (`refund_outflow`) is at the rate of its own day. Otherwise the refund counts where and when it
    says, at the rate of its own day.
    """

    order_id: Id
    """Id of the order of the same user."""
    amount: Decimal
    currency: str


class Registration(UserEvent, tag="registration"):
    """A user opened an account."""


class Lead(UserEvent, tag="lead", kw_only=True):
    """A lead reached a stage of the sales funnel."""

    stage: Literal["lead", "mql", "sql", "opportunity", "won", "lost"]
    """Stage of the lead in the sales funnel."""


class Survey(UserEvent, tag="survey"):
    """A user answered a survey: NPS 0 to 10 or CSAT 1 to 5."""

    nps: Annotated[int, msgspec.Meta(ge=0, le=10)] | None = None
    """Answer to how likely the user is to recommend us, 0 to 10."""
    csat: Annotated[int, msgspec.Meta(ge=1, le=5)] | None = None
    """Answer to how satisfied the user is, 1 to 5."""


class Identity(Event, tag="identity", kw_only=True):
    """Two ids are of one person, such as a cookie in clicks and an e-mail address in orders.

    Clicks of ``same_as``, earlier and later ones, are then touches of ``user_id``, too: its orders
    from ``event_time`` on are attributed to them. What was counted before stays. Of several events
    that link the same ids the earliest counts. Links are not chained, and ``user_id`` is the id
    that orders have. Without stored customers the event has no effect.
    """

    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """Id of the user in orders; also the key of the record."""
    same_as: Id
    """Another id of the same person, which clicks have."""


class CampaignEvent(Event, kw_only=True):
    """An event of one campaign; its record key must be ``campaign_id``."""

    campaign_id: Annotated[str, msgspec.Meta(min_length=1)]
    """Id of the campaign; also the key of the record."""


class BudgetPlan(msgspec.Struct, gc=False):
    """The budget for a campaign's advertising."""

    amount: Decimal
    """The whole budget."""
    currency: str
    """ISO 4217 code of all amounts of the budget."""
    channels: dict[str, Decimal] = {}
    """Parts of the budget that are planned for channels, by channel."""
    daily: Decimal | None = None
    """Part of the budget that is planned for one business day."""


class StagePlan(msgspec.Struct, gc=False):
    """A phase of a campaign, and when it starts."""

    name: str
    starts: EventTime


class CampaignDefined(CampaignEvent, tag="campaign_defined", kw_only=True):
    """Defines a campaign: its names in events, and its plan.

    It replaces an earlier definition of the campaign. An impossible plan is a dead letter
    (``invalid_shape``): an end without a start or before it, phases out of order or outside of
    the campaign, a budget that is not above 0, channels with more than the whole budget.
    """

    name: str
    """Name of the campaign."""
    aliases: list[str] = []
    """Other names in events; a name that two campaigns share identifies neither."""
    channels: list[str] = []
    """Channels of the campaign."""
    owner: str = ""
    """Person or team responsible for the campaign."""
    kind: Literal["routine", "strategic", "ad_hoc"] = "routine"
    """Kind of campaign."""
    objective: str = ""
    """Objective of the campaign."""
    budget: BudgetPlan | None = None
    """Budget for the campaign's advertising: ``amount``, ``currency``; optionally ``channels``,
    amounts by channel, and ``daily``, the amount for one business day.
    """
    starts: EventTime | None = None
    """Start of the campaign."""
    ends: EventTime | None = None
    """Planned end of the campaign."""
    stages: list[StagePlan] = []
    """Phases of the campaign in their order: ``name``, ``starts``."""


class CampaignChanged(CampaignEvent, tag="campaign_changed", kw_only=True):
    """A running campaign was changed."""

    what: str
    """The object of the change: budget, bid, creative, landing page or the like."""
    from_value: str | None = msgspec.field(default=None, name="from")
    """The old value."""
    to_value: str | None = msgspec.field(default=None, name="to")
    """The new value."""
    who: str = ""
    """Person or system that made the change."""


class CampaignEnded(CampaignEvent, tag="campaign_ended"):
    """A campaign has ended before its planned end.

    Of several such events the first counts. A campaign that is then defined with another start
    or end continues. The event has no effect on a campaign that is not defined.
    """


class SpendReported(CampaignEvent, tag="spend_reported", kw_only=True):
    """A cost of a campaign: advertising as reported by a channel, the channel itself, or labour.

    A cost with a ``period`` is spread evenly over it. A later report of the same campaign, channel,
    kind of cost and period replaces the earlier one, for 35 days after the period; the one with the
    newest ``event_time`` counts, in whatever order they come. So it does if the campaign was
    defined, or renamed, between the two.
    """

    amount: Decimal
    """Amount of money, below 0 for a credit; rounded half to even at 4 decimals."""
    currency: str
    channel: Name = ""
    cost: Literal["ads", "channel", "labour"] = "ads"
    """Kind of cost: ``ads`` is spend, ``channel`` and ``labour`` are other costs."""
    period: str | None = None
    """Period that the amount is for: a date, a month (``2026-06``), an hour (``2026-06-18T10``), or
    two dates or times with ``/`` between. Without a period the cost counts at the event time.
    """


class Measurement(CampaignEvent, tag="measurement", kw_only=True):
    """A value that was measured elsewhere (followers, brand searches, stock)."""

    metric: str
    """Name of what was measured, see below; one that nobody knows is counted as unknown."""
    value: Decimal
    """Measured value; rounded half to even at 4 decimals."""


ClicksTopic = Impression | Click | Visit | CompleteThrough
OrdersTopic = (
    OrderPlaced | OrderRefunded | Registration | Lead | Survey | Identity | CompleteThrough
)
CampaignsTopic = (
    CampaignDefined
    | CampaignChanged
    | CampaignEnded
    | SpendReported
    | Measurement
    | CompleteThrough
)

SHAPES: dict[SourceKind, object] = {
    "clicks": ClicksTopic,
    "orders": OrdersTopic,
    "campaigns": CampaignsTopic,
}
"""The types of event that each source topic may carry."""


def events_of(kind: SourceKind) -> tuple[type[Event], ...]:
    """Return the types of event that a kind of source topic may carry."""
    union: Any = SHAPES[kind]
    return tuple(union.__args__)


def type_of(event: type[Event]) -> str:
    """Return the value of an event's field ``type``."""
    return str(event.__struct_config__.tag)


KIND_OF_TYPE = {
    type_of(event): kind
    for kind in SHAPES
    for event in events_of(kind)
    if event is not CompleteThrough
}
"""The kind of source topic of each type of event that belongs to one."""
