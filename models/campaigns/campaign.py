"""Campaigns: their names, budgets, stages, and the times at which they run."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from models.names import AsShown, canonical, names_nothing
from models.window import BEGINNING_MS

CampaignKind = Literal["routine", "strategic", "ad_hoc"]


Amount = Annotated[Decimal, Field(gt=0, max_digits=19, decimal_places=4)]


class Budget(BaseModel):
    """The budget of a campaign's advertising, in a currency of ISO 4217.

    Args:
        amount: the whole budget.
        channels: the parts of it that are planned for some of the channels.
        daily: the part of it that is planned for one business day; None without such a plan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    amount: Amount
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    channels: dict[Annotated[str, Field(min_length=1)], Amount] = {}
    daily: Amount | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Budget:
        if sum(self.channels.values()) > self.amount:
            raise ValueError("channels: their budgets exceed the whole budget")
        if self.daily is not None and self.daily > self.amount:
            raise ValueError("daily: exceeds the whole budget")
        return self

    def part_of(self, channel: str) -> Decimal | None:
        """Return the part planned for a channel, None without one; the whole budget for ``""``."""
        return self.channels.get(channel) if channel else self.amount

    def with_shown_channels(self, as_shown: AsShown) -> Budget:
        """Return the budget with its channels as they are shown; spellings of one are added up."""
        channels: dict[str, Decimal] = {}
        for name, amount in self.channels.items():
            shown = as_shown("channel", name)
            channels[shown] = channels.get(shown, Decimal()) + amount
        return self.model_copy(update={"channels": channels})


Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)),
]
"""A time from 1970 until 2200, which calendars and clocks in ms can hold."""


class Stage(BaseModel):
    """A part of a campaign's run (warm-up, peak, encore), from its start to that of the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1)]
    starts: Moment


def _is_no_bucket(campaign_id: str) -> str:
    if names_nothing(canonical(campaign_id)):
        raise ValueError(f"{campaign_id!r} stands for no campaign")
    return campaign_id


class Campaign(BaseModel):
    """A campaign with its other names and its plan.

    ``ends`` is its planned end, ``ended`` the time at which somebody ended it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_is_no_bucket)]
    name: str = ""
    aliases: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    owner: str = ""
    kind: CampaignKind = "routine"
    objective: str = ""
    budget: Budget | None = None
    starts: Moment | None = None
    ends: Moment | None = None
    ended: Moment | None = None
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def _times_follow_each_other(self) -> Campaign:
        starts_ms, ends_ms = (
            None if at is None else milliseconds(at) for at in (self.starts, self.ends)
        )
        if ends_ms is not None and (starts_ms is None or ends_ms <= starts_ms):
            raise ValueError("ends must be after starts")
        times = [milliseconds(stage.starts) for stage in self.stages]
        if any(after <= before for before, after in pairwise(times)):
            raise ValueError("stages must be in the order of their starts")
        if times and starts_ms is not None and times[0] < starts_ms:
            raise ValueError("the first stage starts before the campaign")
        if times and ends_ms is not None and times[-1] >= ends_ms:
            raise ValueError("the last stage starts after the campaign ends")
        return self

    def with_shown_channels(self, as_shown: AsShown) -> Campaign:
        """Return the campaign with its channels, and those of its budget, as they are shown."""
        channels = tuple(as_shown("channel", name) for name in self.channels)
        budget = None if self.budget is None else self.budget.with_shown_channels(as_shown)
        return self.model_copy(update={"channels": channels, "budget": budget})

    @property
    def run(self) -> Run:
        """The campaign with its planned times."""
        return Run.of(self.id, self.starts, self.ends)

    @property
    def over_ms(self) -> int | None:
        """The end of the campaign in ms: ``ends`` or ``ended``, the earlier; None if neither."""
        known = [milliseconds(at) for at in (self.ends, self.ended) if at is not None]
        return min(known, default=None)

    def is_over(self, at_ms: int) -> bool:
        """Return whether the campaign is over at an event time in ms."""
        over_ms = self.over_ms
        return over_ms is not None and over_ms <= at_ms

    def runs(self, from_ms: int, until_ms: int) -> bool:
        """Return whether the campaign should run during all of [from, until).

        A campaign without times always runs. An interval that starts at `BEGINNING_MS`, as the
        all-time window does, need only end while the campaign runs.

        Args:
            from_ms: event time in ms.
            until_ms: event time in ms.
        """
        starts_ms = BEGINNING_MS if self.starts is None else milliseconds(self.starts)
        begun = starts_ms <= (until_ms - 1 if from_ms == BEGINNING_MS else from_ms)
        return begun and not self.is_over(until_ms - 1)

    def stage_at(self, at_ms: int) -> Stage | None:
        """Return the current stage; None before the first one and after the campaign's end.

        Args:
            at_ms: event time in ms.
        """
        if self.is_over(at_ms):
            return None
        begun = [stage for stage in self.stages if milliseconds(stage.starts) <= at_ms]
        return begun[-1] if begun else None

    def elapsed(self, at_ms: int) -> Elapsed | None:
        """Return how much of the planned run has passed; None without a planned start and end.

        Once the campaign is over, the result no longer changes.

        Args:
            at_ms: event time in ms.
        """
        if self.starts is None or self.ends is None:
            return None
        starts_ms, ends_ms = milliseconds(self.starts), milliseconds(self.ends)
        over_ms = self.over_ms
        until_ms = at_ms if over_ms is None else min(at_ms, over_ms)
        return Elapsed(max(0, until_ms - starts_ms), ends_ms - starts_ms)


class Run(NamedTuple):
    """A campaign with its planned times in ms. With other times it is another run."""

    campaign: str
    starts_ms: int | None
    ends_ms: int | None

    @classmethod
    def of(cls, campaign: str, starts: datetime | None, ends: datetime | None) -> Run:
        """Return the run of a campaign with these times."""
        return cls(campaign, *(None if at is None else milliseconds(at) for at in (starts, ends)))


class Elapsed(NamedTuple):
    """The time that a campaign has run to date, and the length of its whole run, in ms."""

    so_far_ms: int
    whole_ms: int


class Ending(BaseModel):
    """The end of one run of a campaign. Defined with other times, the campaign goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: Annotated[str, Field(min_length=1)]
    ended: Moment
    starts: Moment | None = None
    ends: Moment | None = None

    @property
    def run(self) -> Run:
        """The run that was ended."""
        return Run.of(self.campaign, self.starts, self.ends)


class CampaignBook(BaseModel):
    """The content of a file of campaigns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[dict[str, tuple[str, ...]]] = {"campaigns": ("id",)}
    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {"campaigns": ("id", "name", "aliases")}

    campaigns: tuple[Campaign, ...] = ()


def milliseconds(moment: datetime) -> int:
    """Return a time in ms since the epoch."""
    return round(moment.timestamp() * 1000)
