"""The project file: the files of a shop with their mappings, and the settings that belong to them.

Example::

    time_zone: Europe/Berlin
    currency: EUR
    start_from: earliest
    campaigns: campaigns.yaml
    rules: rules.yaml
    calendar: calendar.yaml
    files:
      - {file: clicks.csv, mapping: clicks.yaml}
      - {file: orders.csv, mapping: orders.yaml}

Paths are relative to the folder of the project file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from streams import config
from streams.settings import known_start, known_zone


def _not_empty(given: Any) -> Any:
    if given == "":
        raise ValueError("is empty; give the path of a file, or leave it out")
    return given


def _existing(given: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    path = folder / given.expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _existing_if_needed(given: Path, info: ValidationInfo) -> Path:
    if (info.context or {}).get("with_files"):
        return _existing(given, info)
    return given


ExistingFile = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_existing)]
FedFile = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(_existing_if_needed)]


class ProjectEntry(BaseModel):
    """A file of rows, and the mapping of its rows to events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: FedFile
    """File of rows."""
    mapping: FedFile
    """Its mapping file, see [mappings.md](mappings.md)."""


class Project(BaseModel):
    """The content of a project file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    IDENTITIES: ClassVar[Mapping[str, tuple[str, ...]]] = {"files": ("file",)}

    time_zone: Annotated[str, AfterValidator(known_zone)]
    """IANA time zone of the business day."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """Reporting currency, ISO 4217."""
    start_from: Annotated[str, AfterValidator(known_start)] | None = None
    """Where a worker without saved state starts: ``earliest`` reads all events that were fed, on
    whatever day that was."""
    campaigns: ExistingFile | None = None
    """File of campaigns."""
    rules: ExistingFile | None = None
    """File of alert rules."""
    calendar: ExistingFile | None = None
    """File of the calendar of special days."""
    hash_key_file: FedFile | None = None
    """File of the key by which mappings hash fields, such as e-mail addresses."""
    files: tuple[ProjectEntry, ...]
    """List of files to feed, each with its mapping; they are sent in the order of event time."""

    @field_validator("files")
    @classmethod
    def _has_files(cls, files: tuple[ProjectEntry, ...]) -> tuple[ProjectEntry, ...]:
        if not files:
            raise ValueError("is empty; give at least one file")
        return files

    @property
    def settings(self) -> dict[str, str | Path | None]:
        """The settings that the project gives, by their names in `Settings`."""
        return {
            "time_zone": self.time_zone,
            "currency": self.currency,
            "start_from": self.start_from,
            "campaigns_file": self.campaigns,
            "rules_file": self.rules,
            "calendar_file": self.calendar,
            "hash_key_file": self.hash_key_file,
        }


def load_project(path: Path, *, with_files: bool) -> Project:
    """Read a project file; the paths in the result begin with its folder.

    Args:
        path: the project file.
        with_files: whether the files and mappings that are fed must exist; a worker needs only the
            settings.

    Raises:
        ConfigError: the file is not valid, or a file that it names does not exist; the error names
            lines and keys.
    """
    return config.load(path, Project, folder=path.parent, with_files=with_files)
