"""Loads configuration files: YAML, validated, with errors that name the line and key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.alerts import RuleBook
from models.campaigns.campaign import CampaignBook
from models.kpi.catalogue import CATALOGUE
from models.kpi.custom_measures import CustomMeasureBook
from models.kpi.definition import Catalogue
from models.kpi.user_catalogue import KpiBook
from models.money.exchange_rates import RateBook
from models.scorecards.scorecard import ScorecardBook
from streams.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def load_kpis(path: Path | None) -> KpiBook:
    """Read own measurements and KPIs, and what to export; without a file, the defaults.

    The measurements are read first, because the KPIs may name them.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    if path is None:
        return KpiBook()
    return load(path, KpiBook, custom=load(path, CustomMeasureBook).custom)


def load_scorecards(path: Path | None, *, catalogue: Catalogue) -> ScorecardBook:
    """Read scorecards on KPIs of the catalogue; without a file there are none.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return ScorecardBook() if path is None else load(path, ScorecardBook, catalogue=catalogue)


def load_rates(path: Path | None) -> RateBook:
    """Read exchange rates; without a file there are none.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return RateBook() if path is None else load(path, RateBook)


def load_rules(path: Path | None, *, catalogue: Catalogue = CATALOGUE) -> RuleBook:
    """Read alert rules on KPIs of the catalogue; without a file there are none.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return RuleBook() if path is None else load(path, RuleBook, catalogue=catalogue)


def load_campaigns(path: Path | None) -> CampaignBook:
    """Read campaigns; without a file there are none.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return CampaignBook() if path is None else load(path, CampaignBook)


def load(path: Path, model: type[Model], **context: object) -> Model:
    """Read a YAML file as a model.

    Args:
        path: the file.
        model: the model that it must fit.
        context: what the file may name, such as the ``catalogue`` of KPIs.

    Raises:
        ConfigError: the file can't be read, is not YAML, or does not fit the model.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(source=str(path), where="file", why=f"can't be read: {why}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "file"
        why = getattr(error, "problem", None) or "is not YAML"
        raise ConfigError(source=str(path), where=where, why=str(why)) from None
    _refuse_repeats(root, model, source=str(path))
    try:
        return model.model_validate(data if data is not None else {}, context=context)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key, line = _find(root, first["loc"])
        raise ConfigError(
            source=str(path), where=f"line {line}: {key or 'file'}", why=first["msg"]
        ) from None


def _refuse_repeats(root: yaml.Node | None, model: type[BaseModel], *, source: str) -> None:
    """Refuse a key that a mapping has twice, and an entry that a list has twice.

    Raises:
        ConfigError: there is one; it names both lines.
    """
    for node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            keys = [(key.value, key) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            _refuse_repeated(keys, what="key", source=source)
    identities = getattr(model, "IDENTITIES", {})
    entries = root.value if isinstance(root, yaml.MappingNode) else ()
    for key, listed in entries:
        identity = identities.get(key.value)
        if identity is None or not isinstance(listed, yaml.SequenceNode):
            continue
        named = []
        for entry in listed.value:
            fields = dict(_scalars(entry))
            if all(name in fields for name in identity):
                named.append((" ".join(fields[name] for name in identity), entry))
        _refuse_repeated(named, what=f"{key.value}: {' and '.join(identity)}", source=source)


def _refuse_repeated(named: Iterable[tuple[str, yaml.Node]], *, what: str, source: str) -> None:
    lines: dict[str, int] = {}
    for name, node in named:
        line = node.start_mark.line + 1
        if name in lines:
            why = f"{what} {name!r} is given already, in line {lines[name]}; leave one of them out"
            raise ConfigError(source=source, where=f"line {line}", why=why)
        lines[name] = line


def _scalars(node: yaml.Node) -> Iterator[tuple[str, str]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(value, yaml.ScalarNode):
            yield key.value, value.value


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield a node and all nodes below it, each once: aliases lead to nodes again."""
    known: set[int] = set()
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in known:
            continue
        known.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(one for pair in node.value for one in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _find(root: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[str, int]:
    """Return the key as written in the file, and the line of the nearest node."""
    node = root
    line = 1 if root is None else root.start_mark.line + 1
    named: list[str] = []
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                # Either a part of the model only, such as a union's tag, or a missing key.
                if part is location[-1]:
                    named.append(str(part))
                continue
            line = found[0].start_mark.line + 1
            node = found[1]
            named.append(str(part))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            named.append(f"[{part}]")
    return ".".join(named).replace(".[", "["), line
