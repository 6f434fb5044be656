"""Reads the docstrings below the fields of classes: what a field means stands beside it."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from types import ModuleType


def docstrings_of(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the docstrings below fields, by class and by the name of the field."""
    return {
        cls.name: dict(_fields(cls))
        for cls in ast.parse(inspect.getsource(module)).body
        if isinstance(cls, ast.ClassDef)
    }


def _fields(cls: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for pair in pairwise(cls.body):
        match pair:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found.append((name, text))
    return found


def one_line(docstring: str) -> str:
    """Return a docstring as one line of Markdown, without the full stop."""
    return " ".join(docstring.split()).removesuffix(".").replace("``", "`")
