"""Writes a project from files: mappings, campaigns, a first rule, and the file that names them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
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
KEY_FILE: Final = "hash.key"
"""The file of the key by which users are hashed, beside the project file."""
_LISTED: Final = 5
_ALIKE: Final = 0.6
"""The least likeness of names that may be of one campaign, see `difflib`."""
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
    _find_campaigns(found.files)
    return found


def _campaign_names(files: Iterable[FileGuess]) -> dict[str, str]:
    """Return the campaigns that files name, as they are first written, by their canonical names."""
    rows: Counter[str] = Counter()
    for one in files:
        column = one.column(Role.CAMPAIGN)
        if column is not None:
            rows.update(column.counts)
    found: dict[str, str] = {}
    for text, _ in rows.most_common():
        if not names_nothing(canonical(text)) and len(text) <= 200:
            found.setdefault(canonical(text), text)
    return found


def _find_campaigns(files: Sequence[FileGuess]) -> None:
    """Find the campaign of files whose columns do not say it: its values are those of another file.

    Example: ``Ref`` of orders has ``brand-search`` and ``spring``, which are campaigns of visits.
    """
    for one in files:
        if one.column(Role.CAMPAIGN) is not None:
            continue
        others = {
            file.probe.path.name: _campaign_names([file]) for file in files if file is not one
        }
        for name, role in one.roles.items():
            own = {canonical(text) for text in one.columns[name].counts}
            file = next((file for file, known in others.items() if _are_among(own, known)), None)
            if role is Role.UNUSED and file is not None:
                one.roles[name] = Role.CAMPAIGN
                one.notes.append(f"campaign: {name}, as its values are campaigns of {file}")
                break


def _are_among(own: set[str], known: Collection[str]) -> bool:
    """Return whether most of the values of a column, and two at least, are names that are known."""
    return len(own.intersection(known)) >= max(2, len(own) / 2)


def written(
    guess: ProjectGuess, folder: Path, name: str, defaults: Defaults, *, own_key: bool = True
) -> tuple[dict[str, str], list[str]]:
    """Return the texts of the files of a project by their names, and what is not sure.

    Args:
        guess: what its files are.
        folder: where the project will be; paths are relative to it.
        name: the name of the project file.
        defaults: time zone and currency.
        own_key: whether the project has a key of hashes of its own, if users are hashed.
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
    campaigns = [{"id": text} for text in [*_campaign_names(guess.files).values()]][:MOST_CAMPAIGNS]
    if campaigns:
        project["campaigns"] = "campaigns.yaml"
        unsure = _of_campaigns(guess)
        notes += [f"campaigns.yaml: {note}" for note in unsure]
        head = "".join([_CAMPAIGNS_HEAD, *(f"# Not sure: {note}\n" for note in unsure)])
        texts["campaigns.yaml"] = head + yaml_text.document({"campaigns": campaigns})
    rule = _rule(guess)
    if rule is not None:
        project["rules"] = "rules.yaml"
        texts["rules.yaml"] = _RULES_HEAD + yaml_text.document({"rules": [rule]})
    if guess.hashes and own_key:
        project["hash_key_file"] = KEY_FILE
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


def _of_campaigns(guess: ProjectGuess) -> list[str]:
    """Return a note for each file of spend with campaigns that no other file names."""
    notes = []
    for one in guess.files:
        others = [other for other in guess.files if other is not one and other.kind != "spend"]
        known = _campaign_names(others)
        own = _campaign_names([one]) if one.kind == "spend" and known else {}
        alone = [text for name, text in own.items() if name not in known]
        if not alone:
            continue
        alike = _alike(alone, [*known.values()])
        example = alike or (next(iter(known.values())), alone[0])
        aliases = yaml_text.flow({"id": example[0], "aliases": [example[1]]})
        notes.append(
            f"{len(alone):,} of {len(own):,} campaigns of {one.probe.path.name} are in no other "
            f"file, so their spend has no orders: {yaml_text.flow(alone[:_LISTED])}; where two "
            f"names are one campaign, put one entry in place of both: {aliases}"
        )
    return notes


def _alike(names: Iterable[str], known: Sequence[str]) -> tuple[str, str] | None:
    """Return a known name and one that is like it, but for case, blanks and signs."""
    plain = {re.sub(r"[\W_]+", "", canonical(one)): one for one in known}
    for name in names:
        found = get_close_matches(re.sub(r"[\W_]+", "", canonical(name)), plain, 1, _ALIKE)
        if found:
            return plain[found[0]], name
    return None


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
