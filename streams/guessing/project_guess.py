"""Writes a project from files: mappings, campaigns, a first rule, and the file that names them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from models.names import canonical, names_nothing
from streams.errors import FeedError
from streams.guessing import yaml_text
from streams.guessing.columns import Role
from streams.guessing.file_guess import Defaults, FileGuess, guess_file, mapping_text
from streams.guessing.file_probe import probe

MOST_CAMPAIGNS: Final = 200
"""Campaigns that are written, those with the most rows."""
_ORDER: Final = ("clicks", "visits", "events", "orders", "spend")


@dataclass(slots=True)
class ProjectGuess:
    """The files of a shop, and what they probably are.

    Args:
        files: the guesses, in the order of the files given.
        unusable: the files that can't be events, and why.
    """

    files: list[FileGuess] = field(default_factory=list)
    unusable: list[FeedError] = field(default_factory=list)

    @property
    def currencies(self) -> Counter[str]:
        """The currencies of the files, by how many files have them."""
        return Counter(code for one in self.files for code in one.currencies)

    @property
    def hashes(self) -> bool:
        """Whether users are hashed, so that a key is needed."""
        return any(one.hashes for one in self.files)

    @property
    def needs_zone(self) -> bool:
        """Whether times without an offset need a zone."""
        return any(one.time.needs_zone for one in self.files)


def look_at(paths: Sequence[Path]) -> ProjectGuess:
    """Return what files probably are; those that can't be events are listed, too."""
    found = ProjectGuess()
    for path in paths:
        try:
            found.files.append(guess_file(probe(path)))
        except FeedError as error:
            found.unusable.append(error)
    return found


def written(
    guess: ProjectGuess, folder: Path, name: str, defaults: Defaults
) -> tuple[dict[str, str], list[str]]:
    """Return the texts of the files of a project by their names, and what is not sure.

    Args:
        guess: what its files are.
        folder: where the project will be; paths are relative to it.
        name: the name of the project file.
        defaults: time zone and currency.
    """
    texts: dict[str, str] = {}
    notes: list[str] = []
    entries = []
    taken = {name, "campaigns.yaml", "rules.yaml"}
    for one in guess.files:
        path = one.probe.path
        stem = path.name.split(".")[0] or "file"
        mapping = next(
            own
            for number in range(len(guess.files) + 4)
            if (own := f"{stem}{f'-{number}' if number else ''}.yaml") not in taken
        )
        taken.add(mapping)
        texts[mapping] = mapping_text(one, defaults)
        notes += [f"{mapping}: {note}" for note in one.notes]
        entries.append({"file": os.path.relpath(path, folder), "mapping": mapping})
    project: dict[str, Any] = {
        "time_zone": defaults.time_zone,
        "currency": defaults.currency,
        "start_from": "earliest",
    }
    campaigns = _campaigns(guess)
    if campaigns:
        project["campaigns"] = "campaigns.yaml"
        texts["campaigns.yaml"] = _CAMPAIGNS_HEAD + yaml_text.document({"campaigns": campaigns})
    rule = _rule(guess)
    if rule is not None:
        project["rules"] = "rules.yaml"
        texts["rules.yaml"] = _RULES_HEAD + yaml_text.document({"rules": [rule]})
    project["files"] = entries
    notes += _of_users(guess)
    others = sorted(set(guess.currencies) - {defaults.currency})
    if others:
        notes.append(
            f"{name}: amounts in {', '.join(others)} need exchange rates to {defaults.currency}; "
            "send them with kpi-monitor rates, or set currency"
        )
    head = f"# The project of {', '.join(one.probe.path.name for one in guess.files)}.\n"
    texts[name] = head + yaml_text.document(project)
    return texts, notes


_CAMPAIGNS_HEAD: Final = (
    "# The campaigns that the files name. Add what you know: channels, budget, starts, ends;\n"
    "# docs/events.md explains them under campaign_defined. Events of other campaigns count in\n"
    "# (unknown).\n"
)
_RULES_HEAD: Final = (
    "# A first rule, whose limit follows from the files. docs/alert-rules.md explains every key,\n"
    "# and kpi-monitor check --rules FILE --offline says what a rule means.\n"
)


def _campaigns(guess: ProjectGuess) -> list[dict[str, Any]]:
    """Return the campaigns that files name; spellings of one name are one campaign."""
    rows: Counter[str] = Counter()
    for one in guess.files:
        column = one.column(Role.CAMPAIGN)
        if column is not None:
            rows.update(column.counts)
    by_name: dict[str, str] = {}
    for text, _ in rows.most_common():
        if not names_nothing(canonical(text)) and len(text) <= 200:
            by_name.setdefault(canonical(text), text)
    return [{"id": text} for text in [*by_name.values()][:MOST_CAMPAIGNS]]


def _rule(guess: ProjectGuess) -> dict[str, Any] | None:
    """Return a rule whose limit follows from the files; None if they give none."""
    rows = Counter(dict.fromkeys(_ORDER, 0))
    for one in guess.files:
        rows[one.kind] += len(one.probe.rows)
    base = {"kind": "threshold", "severity": "warning"}
    if rows["clicks"] > rows["orders"] > 0:
        limit = f"{rows['orders'] / rows['clicks'] / 2:.1g}"
        return {
            "name": "conversion-low",
            **base,
            "kpi": "conversion_rate",
            "window": "1h",
            "below": float(limit),
            "min_n": 100,
            "summary_en": "Half as many clicks become orders as in the files",
        }
    if rows["orders"]:
        return {
            "name": "refunds-high",
            **base,
            "kpi": "refund_rate",
            "window": "day",
            "above": 0.3,
            "min_n": 20,
            "summary_en": "Of today's orders, many are paid back",
        }
    if rows["clicks"]:
        return {
            "name": "clicks-absent",
            **base,
            "kpi": "clicks",
            "window": "1h",
            "below": 1,
            "summary_en": "Nobody has clicked for an hour",
        }
    return None


def _of_users(guess: ProjectGuess) -> list[str]:
    """Return a note for each file of orders whose users are not those of the clicks."""
    users = {
        one.probe.path.name: {text.lower() for text in column.counts}
        for one in guess.files
        if one.kind != "spend" and (column := one.column(Role.USER)) is not None
    }
    orders = [one.probe.path.name for one in guess.files if one.kind == "orders"]
    return [
        f"user_id: {name} and {other} have no user in common, so no order is attributed to clicks; "
        "use a column that both have"
        for name in orders
        for other, theirs in users.items()
        if other not in orders and users.get(name) and theirs.isdisjoint(users[name])
    ]
