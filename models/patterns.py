"""Patterns of names in configuration: ``*`` is any text, ``?`` any character, the rest is itself.

Example: ``[Search] Br*`` matches ``[Search] Brand``, and not ``S Brand``: brackets are not special.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache


def is_pattern(name: str) -> bool:
    """Return whether a name in configuration stands for more than itself."""
    return "*" in name or "?" in name


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is matched by any of some patterns."""
    return any(name == pattern or _compiled(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    # fnmatch writes expressions that do not backtrack.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
