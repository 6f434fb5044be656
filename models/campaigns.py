"""Campaigns: who they are and what events may call them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Campaign(BaseModel):
    """A campaign by its id, with the names it is also known by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(min_length=1, max_length=200)]
    name: str = ""
    aliases: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    owner: str = ""


class CampaignBook(BaseModel):
    """A file of campaigns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaigns: tuple[Campaign, ...] = ()
