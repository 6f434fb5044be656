"""Generates docs/mappings.md: the keys of mapping files, examples, and what is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from streams.errors import MonitorError
from streams.feed.events.event_sorter import MEMORY_BYTES
from streams.feed.events.mapped_file import MappedFile
from streams.feed.mapping import (
    field_helpers,
    mapping_file,
    number_format,
    row_filters,
    time_format,
)
from streams.feed.mapping.field_helpers import FieldSource
from streams.feed.mapping.mapping_file import EventMapping, FileMapping
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_filters import ColumnTest
from streams.feed.mapping.time_format import EventTime, TimeFormat
from tools.docstrings import docstrings_of, one_line
from tools.mapping_examples import EXAMPLES, FAULTY_FILE, FAULTY_MAPPING, MappingExample
from tools.markdown import GENERATED, default_of, table

_MEANINGS: Final = {
    name: fields
    for module in (mapping_file, number_format, time_format, row_filters, field_helpers)
    for name, fields in docstrings_of(module).items()
}

_PAGE: Final = """# Mappings

{generated}

A mapping says which rows of a file are which events. `kpi-monitor feed FILE --mapping MAP.yaml`
sends them. CSV with any separator, NDJSON and Parquet are read, also compressed by gzip. Parquet
needs an extra: `pip install '.[parquet]'`. The events and their fields are in
[events.md](events.md). Begin with `--dry-run`: it sends nothing, shows the first rows and their
events side by side, and says what the monitor would count.

[config/](../config) has three whole mappings: [an export of orders](../config/shop-export.yaml),
[a click log](../config/shop-log.yaml), and [a table of purchases](../config/cdnow.yaml).

## The file

{file}

## Events

Each entry of `events` has these keys. A row becomes an event of each entry whose condition it
meets. If one of its events can't be read, the whole row is refused and none of them is sent.

{events}

## Times

`time` of the file and of an entry has these keys. Patterns are those of Python's
[strptime](https://docs.python.org/3/library/datetime.html#format-codes).

{time}

When clocks are put back, an hour comes twice: its times count in the first. When clocks are put
forward, an hour is skipped: a time in it is refused, because the zone must be wrong.

## Numbers

`numbers` of the file and of a field has these keys.

{numbers}

A number that does not fit exactly is refused: with a decimal comma, `12.50` could be 12.5 or 1250.
Constants of the mapping and numbers of NDJSON have a decimal point in any case.

## Fields

A field is a template, such as `"{{user}}"`, a constant, or an object with these keys. The helpers
are applied in this order. A value that is absent stays absent, and so does the field.

{fields}

A template is text with the names of columns in braces. White space around values is left out.
`{{event_id}}` is the id of the event. In NDJSON, `{{user.id}}` is the `id` of the object `user`.

## Conditions

`when` and `leave_out` are a condition, or a list of conditions of which one must hold. A condition
has a test for each of some columns, all of which must hold: `{{status: [paid, shipped], total:
{{above: 0}}}}`. A text alone is compared as it is, a list has the texts of which one must be equal.
Other tests are objects with these keys:

{tests}

Values in YAML are texts here: `yes`, `true`, `1.50` and dates need quotes, because YAML would
change them.

## What feed does

1. It reads the whole file and reports its rows: how many, the events by type, the rows that
   `leave_out` names, those that matched no entry, and the refused ones by reason.
2. **Nothing is sent if the mapping can't fit**: a column that a template or filter names is not
   there, a required field is missing, or no row became an event.
3. Events are sorted by time, in bounded memory; what does not fit in {memory} MB is sorted on disk,
   in `TMPDIR`. With `out_of_order: refuse` a file that is not in order is refused.
4. The events are sent. Ctrl-C stops: `feed` says after how many events, keeps the position in
   `FILE.position.json` beside the file, and continues there with `--resume`.

**Refused rows** are kept in `FILE.refused.ndjson` beside the file, or in the file of `--refused`:
a line for each with the columns of the row, its `_line`, and `_why` it was refused. Mend them and
feed that file by the same mapping; soon, because events that are more than
`KPI_CORRECTION_HORIZON_S` behind the newest are too late. With `--strict`, nothing is sent if a row
is refused.

**Ids.** Events that were not corrected have the same ids when a corrected file is fed, whatever its
name. The monitor recognises ids for `KPI_DEDUPE_HORIZON_S` of event time. Older events are too late
the second time: `feed` then sends nothing, and says so. [how-to/history.md](how-to/history.md) says
how to correct history, and how to feed several files at once, merged by time.

**Secrets.** `hash` needs the setting `KPI_HASH_KEY` or `KPI_HASH_KEY_FILE`
([settings.md](settings.md)). The file of refused rows and the dry run show the rows as they are.

{exit_codes}

## Examples

Each shows a mapping, the rows of a file, and the events without their ids.
{examples}
## What is refused

All faults of a mapping are reported at once, before the file is read:

```yaml
{faulty}```

```
{faults}
```

So are the columns that a file does not have, before anything is sent:

```yaml
{unfit_mapping}```

```
{unfit}
```
"""

_EXIT_CODES: Final = (
    (
        "0",
        "every row is an event, matched no entry, or was left out; with `--dry-run`: all events "
        "would count",
    ),
    (
        "1",
        "rows were refused, and all others were sent; with `--strict` nothing was sent; with "
        "`--dry-run`: rows are refused, or events would be dead letters",
    ),
    (
        "2",
        "the mapping, the file, an option or a setting is wrong, and nothing was sent; or the "
        "broker stopped answering, and the message says after how many events",
    ),
    ("130", "Ctrl-C stopped it; `--resume` continues"),
)


def mappings_page() -> str:
    """Return docs/mappings.md."""
    unfit_mapping, unfit_rows = FAULTY_FILE
    return _PAGE.format(
        generated=GENERATED,
        file=_keys(FileMapping),
        events=_keys(EventMapping),
        time=_keys(EventTime, TimeFormat),
        numbers=_keys(NumberFormat),
        fields=_keys(FieldSource),
        tests=_keys(ColumnTest),
        memory=MEMORY_BYTES >> 20,
        examples="".join(map(_example, EXAMPLES)),
        faulty=FAULTY_MAPPING,
        faults=_refusal(FAULTY_MAPPING, ""),
        exit_codes=table(("exit code", "meaning"), _EXIT_CODES),
        unfit_mapping=unfit_mapping,
        unfit=_refusal(unfit_mapping, unfit_rows),
    )


def _keys(*models: type[Any]) -> str:
    """Return the table of the keys that models define."""
    rows = {
        field.alias or name: (
            f"`{field.alias or name}`",
            default_of(field),
            one_line(_MEANINGS[model.__name__][name]),
        )
        for model in models
        for name, field in model.model_fields.items()
        if name in _MEANINGS[model.__name__]
    }
    return table(("key", "required, or default", "meaning"), rows.values())


def _example(example: MappingExample) -> str:
    language = "json" if example.rows.startswith("{") else "csv"
    refused = f"\n\nRefused:\n\n```\n{example.refused}\n```" if example.refused else ""
    return (
        f"\n### {example.title}\n\n{example.text}\n\n```yaml\n{example.mapping}\n```\n\n"
        f"```{language}\n{example.rows}\n```\n\n```json\n{example.events}\n```{refused}\n"
    )


def _refusal(text: str, rows: str) -> str:
    """Return the message that refuses a mapping or a file.

    Raises:
        AssertionError: it is not refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "map.yaml", Path(folder) / "orders.csv"
        path.write_text(text, encoding="utf-8")
        log.write_text(rows, encoding="utf-8")
        try:
            MappedFile(log, path, largest_bytes=1_000, refused_path=log.with_suffix(".x")).read()
        except MonitorError as error:
            return str(error).replace(f"{folder}/", "")
    raise AssertionError("it is not refused")
