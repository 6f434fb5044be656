"""Writes configuration as YAML that people read: a line for each key, short values in a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_/.-]*|\d+-\d+-\d+T\S+")
_WORDS: Final = frozenset({"yes", "no", "true", "false", "null", "on", "off", "y", "n"})
_BLOCKS: Final = {"events": "fields", "files": "", "campaigns": "", "rules": ""}
"""Keys whose lists have an entry on lines of their own, and the key in it whose keys have."""


def document(content: Mapping[str, Any]) -> str:
    """Return a mapping of keys to values as a document of YAML."""
    lines = []
    for key, value in content.items():
        if key not in _BLOCKS or not isinstance(value, list):
            lines.append(f"{key}: {flow(value)}")
            continue
        lines.append(f"{key}:")
        for entry in value:
            inner = [*_entry({name: one for name, one in entry.items() if one != {}}, _BLOCKS[key])]
            lines += [f"  - {inner[0]}", *(f"    {line}" for line in inner[1:])]
    return "\n".join(lines) + "\n"


def _entry(entry: Mapping[str, Any], block: str) -> list[str]:
    lines = []
    for name, value in entry.items():
        if name == block:
            lines.append(f"{name}:")
            lines += [f"  {key}: {flow(one)}" for key, one in value.items()]
        else:
            lines.append(f"{name}: {flow(value)}")
    return lines


def flow(value: Any) -> str:
    """Return a value in one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str():
            plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
            return value if plain else json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
