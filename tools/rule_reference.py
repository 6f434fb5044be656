"""Generates docs/alert-rules.md: the kinds of rules, their keys, examples, and what is refused."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from textwrap import indent
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from models.kpi.catalogue import CATALOGUE
from streams import config
from streams.alerting.rule_text import explain
from streams.alerting.rules import keys, limit
from streams.alerting.rules.health import HEALTH_RULES, HealthRule
from streams.alerting.rules.keys import Match, RuleKeys
from streams.alerting.rules.registry import KINDS, AnyRule
from streams.alerting.rules.rule import Rule
from streams.alerting.words import duration
from streams.errors import ConfigError
from tools.docstrings import docstrings_of, one_line
from tools.markdown import GENERATED, default_of, table
from tools.rule_examples import EXAMPLES, REFUSED, Moment, Past, RuleExample

CURRENCY: Final = "CNY"
"""The reporting currency of the page: the default."""

_MEANINGS: Final = {
    name: fields
    for module in (keys, limit, *(sys.modules[kind.__module__] for kind in KINDS))
    for name, fields in docstrings_of(module).items()
}
_PAGE: Final = """# Alert rules

{generated}

Rules are in a YAML file, `KPI_RULES_FILE`: a list `rules`, of which each entry is one rule
([config/rules.yaml](../config/rules.yaml)). `kpi-monitor check --rules FILE --offline` checks the
file, explains each rule in a sentence, and warns about names that nobody knows. The live page shows
the sentence beside the rule's name, and Alertmanager gets it as the annotation `rule`.
`kpi-monitor backtest` says when rules would have fired on recorded events
([how-to/backtest.md](how-to/backtest.md)).
[alerts.md](alerts.md) describes the states of an alert, and what becomes of it without data and
after a restart.

## Kinds
{kinds}
## Keys of every rule

{keys}

Keys of `match`, each a list. A rule may use those that its scope has:

{match}

## Rules about the data

These rules are the monitor's own, and can't be configured. Each is broken while its value is above
its limit. [runbooks/kpi-monitor.md](runbooks/kpi-monitor.md) says what to do.

{health}

## Examples

Each example is an entry of `rules`. Below it is the sentence of `kpi-monitor check`, and what
becomes of the alert as windows close. Ratios are fractions, as in the rule.
{examples}
## What is refused

`kpi-monitor check` and the worker refuse a file with a rule that can't mean anything, with the line
and the key, and exit code 2. In these examples, `kind` is `threshold` and `name` is `r` if left
out.

{refused}

A key that is given twice, a name that two rules have, and two rules that raise the same alerts of
some scope (equal in all but `name`, `match` and texts) are refused, too; an alias and its name are
the same.

## What is warned about

A warning names the line and the key. The exit code stays 0, or is 1 with `--strict`.

- Campaigns in `match` that are not defined, in the file of campaigns or, without `--offline`, in
  the registry topic. Without any campaign they are not checked. `match` takes ids, names and
  aliases of campaigns in the file, and ids only of the others.
- Channels, regions and segments in `match` that nobody knows: neither the file of names nor, for
  channels, a campaign's definition. Those of which none is defined are not checked.
- Campaigns that a `pace` rule names and that have no planned start and end, or no budget.
- Patterns that match none of these. Scorecards are checked likewise, and so are the KPIs that the
  file of KPIs names in `export` and `outcome`.
- A KPI whose coefficient is not configured, or that rests on customers while none are stored, or
  in a window of more business days than `KPI_CUSTOMER_DAYS`.
- A limit of a ratio from 500 % on, or above 100 % of a share that seldom gets so far, such as
  `conversion_rate`: it is probably meant in percent.
- `for` and `keep_firing_for` that are no multiple of the time in which the window closes.
- `min_n` of a rule about too little of a sum: it is silent when least comes.
- An upper limit of a sum of all time, whose alert never resolves.
"""


def rules_page() -> str:
    """Return docs/alert-rules.md."""
    return _PAGE.format(
        generated=GENERATED,
        kinds="".join(_kind(kind) for kind in KINDS),
        keys=_keys(RuleKeys),
        match=_keys(Match),
        examples="".join(_example(example) for example in EXAMPLES),
        health=_health(),
        refused=table(
            ("rule", "why, and what to do"), ((f"`{rule}`", _why(rule)) for rule in REFUSED)
        ),
    )


def _kind(kind: type[Rule]) -> str:
    text = (inspect.getdoc(kind) or "").replace("``", "`")
    return f"\n### `{_name_of(kind)}`\n\n{text}\n\n{_keys(kind)}\n"


def _health() -> str:
    """Return the table of the rules about the data."""
    return table(
        ("rule", "severity", "broken above", "fires after", "what is wrong", "rules on KPIs"),
        (
            (
                f"`{rule.name}`",
                rule.severity,
                "`KPI_LAG_ALERT_S`" if rule.limit is None else _limit(rule),
                duration(rule.for_ms / 1000).en,
                rule.summary_en,
                "are held back" if rule.holds_kpi_alerts else "",
            )
            for rule in HEALTH_RULES
        ),
    )


def _limit(rule: HealthRule) -> str:
    assert rule.limit is not None
    return f"{100 * rule.limit:g} %" if rule.unit == "ratio" else f"{rule.limit:g}"


def _name_of(kind: type[Rule]) -> str:
    (name,) = get_args(kind.model_fields["kind"].annotation)
    return str(name)


def _keys(model: type[BaseModel]) -> str:
    """Return the table of the keys that a model has, without those of every rule."""
    own = takewhile(lambda one: one is not RuleKeys, model.__mro__)
    classes = [model] if model is RuleKeys else list(own)
    meanings = {
        name: text for one in classes for name, text in _MEANINGS.get(one.__name__, {}).items()
    }
    rows = [
        (
            f"`{field.alias or name}`",
            _type(field),
            default_of(field),
            one_line(meanings[name]),
        )
        for name, field in model.model_fields.items()
        if name in meanings
    ]
    return table(("key", "type and unit", "required, or default", "meaning"), rows)


def _type(field: FieldInfo) -> str:
    """Return the type and unit of a key: the description of its type, or what its type is."""
    for described in (field, *_described(field.annotation)):
        if described.description is not None:
            return described.description
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    assert kind is str
    return "text"


def _described(kind: object) -> Iterator[FieldInfo]:
    """Yield what the members of an optional type say of themselves."""
    for member in get_args(kind):
        for told in getattr(member, "__metadata__", ()):
            if isinstance(told, FieldInfo):
                yield told


def _example(example: RuleExample) -> str:
    entry = "- " + indent(example.rule, "  ").lstrip()
    rule = load(f"rules:\n{entry}\n")[0]
    meaning = explain(rule, CATALOGUE[rule.kpi], currency=CURRENCY)
    text = f"\n{example.text}\n" if example.text else ""
    return (
        f"\n### {example.title}\n{text}\n```yaml\n{entry}\n```\n\n"
        f"*{meaning.en}.*\n\n*{meaning.zh}。*\n\n{_past(example.past)}"
        f"{_series(example.moments, rule)}\n"
    )


def _past(past: Past | None) -> str:
    if past is None:
        return ""
    return (
        f"Before: {past.days} days of windows with about {past.value:g} from {past.n} each, as "
        "chance has it.\n\n"
    )


def _series(moments: tuple[Moment, ...], rule: Rule) -> str:
    scoped = any(moment.scope for moment in moments)
    compared = any(moment.earlier is not None for moment in moments)
    head = ["closes at", *([rule.scope] if scoped else []), "value", "95 % interval", "n"]
    head += [*(["earlier", "its interval"] if compared else []), "alert"]
    return table(
        head,
        (
            (
                _clock(moment.at_s),
                *([moment.scope] if scoped else []),
                "none" if moment.value is None else f"{moment.value:g}",
                _bounds(moment.interval),
                f"{moment.n}",
                *([f"{moment.earlier:g}", _bounds(moment.earlier_interval)] if compared else []),
                moment.state,
            )
            for moment in moments
        ),
    )


def _bounds(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else "{:g} to {:g}".format(*interval)


def _clock(at_s: int) -> str:
    days, rest = divmod(12 * 3600 + at_s, 86_400)
    shown = f"{timedelta(seconds=rest)}".zfill(8)
    return shown if not days else f"{shown}, a day later"


def _why(rule: str) -> str:
    """Return the message that refuses a rule, without its file and line.

    Raises:
        AssertionError: the rule is not refused.
    """
    given = rule.removeprefix("{").removesuffix("}")
    defaults = [f"{key}: {value}" for key, value in (("name", "r"), ("kind", "threshold"))]
    missing = [text for text in defaults if f"{text.split(':')[0]}:" not in given.split("match")[0]]
    try:
        load(f"rules:\n  - {{{', '.join([*missing, given])}}}\n")
    except ConfigError as error:
        known = error.why.find("; known: ")
        why = error.why if known < 0 else error.why[:known]
        key = error.where.partition("rules[0].")[2]
        return f"`{key}`: {why}" if key else why
    raise AssertionError(f"{rule} is not refused")


def load(text: str) -> tuple[AnyRule, ...]:
    """Return the rules of a file with this text.

    Raises:
        ConfigError: the file is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        return config.load_rules(path).rules
