"""Parts shared by the generated pages of docs/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

GENERATED: Final = "<!-- Written by python -m tools.reference; edit the code instead. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def default_of(field: FieldInfo) -> str:
    """Return "yes" for a key that is required, else its default; empty for what stands for none."""
    match field.default:
        case _ if field.is_required():
            return "yes"
        case None | "" | () | False | BaseModel():
            return ""
        case tuple(names):
            return f"`{list(names)}`".replace("'", '"')
        case float(value):
            return f"`{value:g}`"
        case value:
            return f"`{value}`"
