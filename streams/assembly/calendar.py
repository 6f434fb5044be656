"""The special days of a worker, from its calendar file."""

from __future__ import annotations

from models.calendar.special_days import SpecialDays
from streams import config
from streams.settings import Settings


def special_days_of(settings: Settings) -> SpecialDays:
    """Read the special days; without a calendar file no day is special.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return SpecialDays(config.load_calendar(settings.calendar_file))
