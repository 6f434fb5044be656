"""Loads configuration files: YAML, validated, with errors that name the line and key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails

from models.calendar.calendar_book import NONE, CalendarBook
from models.campaigns.campaign import CampaignBook
from models.kpi.catalogue import CATALOGUE
from models.kpi.custom_measures import CustomMeasureBook
from models.kpi.definition import Catalogue
from models.kpi.user_catalogue import KpiBook
from models.money.exchange_rates import RateBook
from models.names import AsShown, NameBook, canonical
from models.patterns import hint
from models.scorecards.scorecard import ScorecardBook
from streams.alerting.rules.registry import RuleBook
from streams.errors import ConfigError, FaultsError, in_words

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Reads YAML, and as numbers only what people write as such.

    YAML 1.1 reads ``1:30`` as 90, ``010`` as 8 and ``1_000`` as 1000. Here they are texts: a model
    that wants a number refuses them, and a campaign with the id 007 keeps it. So is a date that
    there is not, such as ``2026-02-30``: a model that wants a date refuses it.
    """


def _date_or_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> date | str:
    """Return the date or time of a node, or its text if there is no such date."""
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date_or_text)

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {_INT, _FLOAT}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"""[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$""", re.IGNORECASE
    ),
    list("-+0123456789."),
)

Location = tuple[int | str, ...]
"""A place in a file: keys, and numbers of entries in lists."""


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


def shown_rules(path: Path | None, book: RuleBook, *, as_shown: AsShown) -> RuleBook:
    """Return the rules of a file with the names in their matches as they are shown.

    Raises:
        ConfigError: two rules raise the same alerts, as two names are of one campaign or channel.
    """
    try:
        return book.shown(as_shown)
    except ValueError as error:
        assert path is not None
        location, why = _named_place(str(error))
        raise ConfigError(source=str(path), where=place(path, location), why=why) from None


def load_campaigns(path: Path | None) -> CampaignBook:
    """Read campaigns; without a file there are none.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return CampaignBook() if path is None else load(path, CampaignBook)


def load_names(path: Path | None) -> NameBook:
    """Read the names of channels, regions and segments; without a file none are defined.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return NameBook() if path is None else load(path, NameBook)


def load_calendar(path: Path | None) -> CalendarBook:
    """Read the calendar of special days; without a file no day is special.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    return CalendarBook(country=NONE) if path is None else load(path, CalendarBook)


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
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # it is a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "file"
        why = getattr(error, "problem", None) or "is not YAML"
        raise ConfigError(source=str(path), where=where, why=str(why)) from None
    _refuse_repeats(root, model, source=str(path))
    try:
        return model.model_validate(data if data is not None else {}, context=context)
    except ValidationError as error:
        found = {}
        for fault in error.errors(include_url=False, include_input=False):
            for location, why in _blamed(model, fault):
                key, line = _find(root, location)
                found[f"line {line}: {key or 'file'}", why] = line
        (where, why), *others = sorted(found, key=found.__getitem__)
        raise ConfigError(source=str(path), where=where, why=why, others=others) from None


_KEY = re.compile(r"([a-z_0-9]+(?:\[\d+\]|\.[a-z_0-9]+)*): ")
"""The key that a message of a model begins with, such as ``match.region`` or ``rules[1].name``."""


def _blamed(model: type[BaseModel], error: ErrorDetails) -> Iterator[tuple[Location, str]]:
    """Yield the places that an error is about, each with a message.

    An error about several keys has the place of all of them, and its messages begin with the key
    to change.
    """
    location, context = error["loc"], error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        fields = _fields(model, location[:-1])
        yield location, f"there is no such key{_replaced(model, location[-1], sorted(fields))}"
        return
    if error["type"].startswith("union_tag_"):
        # Which of several models an entry is depends on a key, its discriminator.
        key = context["discriminator"].strip("'")
        known = _choices(model, location, key)
        if "tag" in context:
            tag = context["tag"]
            yield (*location, key), f"there is no {key} {tag!r}{hint(tag, known)}"
        else:
            yield (*location, key), f"is missing; give one of {', '.join(known)}"
        return
    cause = context.get("error")
    for why in cause.faults if isinstance(cause, FaultsError) else [in_words(error)]:
        within, rest = _named_place(why)
        if within and within[0] in _fields(model, location):
            yield (*location, *within), rest
        else:
            yield location, why


def with_faults(error: ValidationError, faults: Sequence[str]) -> ValidationError:
    """Return a validation error with further faults, for a wrap validator to raise.

    Args:
        error: what pydantic found.
        faults: messages that begin with their keys, as in `FaultsError`.
    """
    lines = [
        InitErrorDetails(
            type=one["type"], loc=one["loc"], input=one["input"], ctx=one.get("ctx", {})
        )
        for one in error.errors(include_url=False)
    ]
    more = InitErrorDetails(
        type="value_error", loc=(), input=None, ctx={"error": FaultsError(faults)}
    )
    return ValidationError.from_exception_data(error.title, [*lines, more])


def _replaced(model: type[BaseModel], key: int | str, known: Sequence[str]) -> str:
    """Return the end of the message about an unknown key: what replaced it, or what is near."""
    removed: Mapping[str, str] = getattr(model, "REMOVED", {})
    instead = removed.get(str(key))
    return hint(str(key), known) if instead is None else f" any more; write {instead}"


def _named_place(message: str) -> tuple[Location, str]:
    """Return the place that a message of a model begins with, if it does, and the rest of it."""
    named = _KEY.match(message)
    if named is None:
        return (), message
    parts = re.findall(r"[a-z_0-9]+", named[1])
    return tuple(int(part) if part.isdigit() else part for part in parts), message[named.end() :]


def _choices(model: type[BaseModel], location: Location, key: str) -> list[str]:
    """Return the values of the key that tells apart the models that may be at a place."""
    fields = (_by_key(one)[key] for one in _models_at(model, location))
    return sorted({str(value) for field in fields for value in get_args(field.annotation)})


def _fields(model: type[BaseModel], location: Location) -> dict[str, FieldInfo]:
    """Return the fields, by key, of the models that may be at a place in a file."""
    return {
        key: field for one in _models_at(model, location) for key, field in _by_key(one).items()
    }


def _models_at(model: type[BaseModel], location: Location) -> set[type[BaseModel]]:
    """Return the models that may be at a place in a file."""
    models = {model}
    for part in location:
        found = {
            one
            for candidate in models
            for key, field in _by_key(candidate).items()
            if key == part
            for one in _models_in(field.annotation)
        }
        # Other parts are indices, and the tags of unions.
        tagged = {
            one
            for one in models
            for field in one.model_fields.values()
            if get_args(field.annotation) == (part,)
        }
        models = found or tagged or models
    return models


def _by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def place(path: Path, location: Location) -> str:
    """Return the line and key of a place in a file that was loaded, as errors name them."""
    key, line = _find(yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader), location)
    return f"line {line}: {key}"


def _refuse_repeats(root: yaml.Node | None, model: type[BaseModel], *, source: str) -> None:
    """Refuse a key that a mapping has twice, and an entry or a name that a list has twice.

    The model says in ``IDENTITIES`` which fields identify the entries of a list, and in ``NAMES``
    which fields have names: no two entries may have one that is the same in its canonical form.

    Raises:
        ConfigError: there is one; it names both lines.
    """
    for node in _nodes(root):
        if isinstance(node, yaml.MappingNode):
            keys = [(key.value, key) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            _refuse_repeated(keys, what="key", source=source)
    identities, names = getattr(model, "IDENTITIES", {}), getattr(model, "NAMES", {})
    entries = root.value if isinstance(root, yaml.MappingNode) else ()
    for key, listed in entries:
        if not isinstance(listed, yaml.SequenceNode):
            continue
        if identity := identities.get(key.value):
            named = []
            for entry in listed.value:
                fields = dict(_scalars(entry))
                if all(name in fields for name in identity):
                    named.append((" ".join(fields[name] for name in identity), entry))
            _refuse_repeated(named, what=f"{key.value}: {' and '.join(identity)}", source=source)
        if fields_of_names := names.get(key.value):
            by_entry = (
                {canonical(text.value): text for text in _texts_in(entry, fields_of_names)}
                for entry in listed.value
            )
            given = [named for names_of_one in by_entry for named in names_of_one.items()]
            _refuse_repeated(given, what=f"{key.value}: name", source=source)


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


def _texts_in(node: yaml.Node, fields: Sequence[str]) -> Iterator[yaml.ScalarNode]:
    """Yield the texts of some fields of a mapping; a field has one, or a list of them."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value in fields:
            listed = value.value if isinstance(value, yaml.SequenceNode) else [value]
            yield from (one for one in listed if isinstance(one, yaml.ScalarNode))


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


def _find(root: yaml.Node | None, location: Location) -> tuple[str, int]:
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
