"""Generates docs/settings.md: the settings, their defaults, values and meanings.

What a setting means is the docstring below its field.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import NoneType
from typing import Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from models.alerts import Link
from streams import settings
from streams.settings import Settings
from tools.docstrings import docstrings_of, one_line
from tools.markdown import GENERATED, table

_FIELDS: Final = Settings.model_fields
_UNITS: Final = {"_s": "s", "_days": "days", "_bytes": "bytes"}
"""Units by the end of a setting's name."""

_PAGE: Final = """# Settings

{generated}

Each setting is an environment variable, or a line of a file `.env` in the folder where the command
starts. The common ones are options of the command too; an option takes precedence over the
variable, and the variable over the file. Wrong values end the command with exit code 2 and one
message that names all of them and where they are. A variable without a text counts as left out;
but a file must be named, and `KPI_GUEST_IDS=` means that no id is a guest's. Every command warns
about variables with the prefix `KPI_` that are no setting.

{settings}

## Durations

Names of durations end in `_S` (seconds) or `_DAYS`. They are event time where they speak of events.
`KPI_DEDUPE_HORIZON_S` must cover `KPI_CORRECTION_HORIZON_S` and `KPI_ALLOWED_DISORDER_S`: what may
still be counted must still be known. Ids take 8 bytes of memory for each event within the dedupe
horizon, and about 70 for those of the two newest minutes.

## Redis

`KPI_REDIS` is the URL of one server, or of one with replicas, not of a cluster. The server needs
`maxmemory-policy noeviction`. The user stands in the URL, and the password in the URL or in a file:
`rediss://monitor@host:6380/0`. Redis keeps the customers, and workers share the live view through
it. Without Redis, orders and refunds count where they say they belong, refunds at the rate of their
own day, and each `order_placed` is an order: only repetitions of its `event_id` are recognised.

## Files

Examples of the YAML files are in [config/](../config). The password in
`KPI_KAFKA_PASSWORD_FILE` takes precedence over `KPI_KAFKA_PASSWORD`.

`KPI_CACHE_DIR` is the folder of the embedded Kafka once it is downloaded; without it, the user's
cache folder. It is read from the environment only.
"""


def settings_page() -> str:
    """Return docs/settings.md.

    Raises:
        KeyError: a setting has no docstring.
    """
    meanings = docstrings_of(settings)[Settings.__name__]
    rows = (
        (_variable(name), _default(field), _values(name, field), _meaning(meanings[name]))
        for name, field in _FIELDS.items()
    )
    return _PAGE.format(
        generated=GENERATED,
        settings=table(("variable", "default", "values", "meaning"), rows),
    )


def _variable(name: str) -> str:
    return f"`KPI_{name.upper()}`"


def _default(field: FieldInfo) -> str:
    match field.default:
        case None | "" | SecretStr():
            return ""
        case bool(value):
            return f"`{str(value).lower()}`"
        case value:
            return f"`{value}`"


def _values(name: str, field: FieldInfo) -> str:
    """Return the kind of value, with its unit and bounds, or the values to choose from."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    (kind,) = [one for one in get_args(kind) or (kind,) if one is not NoneType]
    if kind == Link or get_args(Link)[-1] in field.metadata:
        return "URL"
    if kind is bool:
        return "`true`, `false`"
    if kind is SecretStr:
        files = [f"{name}_file", f"{name}_password_file"]
        return "secret; or " + ", ".join(_variable(file) for file in files if file in _FIELDS)
    if kind is Path:
        return "folder" if name.endswith("_dir") else "file"
    if kind is str:
        return "text"
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "whole number")
    return f"{unit}, {_bounds(field)}"


def _bounds(field: FieldInfo) -> str:
    shown = []
    for bound in field.metadata:
        match bound:
            case Ge(low):
                shown.append(f"from {low:,}")
            case Gt(low):
                shown.append(f"above {low:,}")
            case Le(high):
                shown.append(f"up to {high:,}")
    return " ".join(shown)


def _meaning(docstring: str) -> str:
    """Return a docstring in one line of Markdown, with settings by their variables."""
    return re.sub(
        r"`([^`]+)`",
        lambda found: _variable(found[1]) if found[1] in _FIELDS else found[0],
        one_line(docstring),
    )
