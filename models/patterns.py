"""Names in configuration, and patterns: ``*`` is any text, ``?`` any character.

Example: ``[Search] Br*`` matches ``[Search] Brand``, and not ``S Brand``: brackets are not special.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache


def is_pattern(name: str) -> bool:
    """Return whether a name in configuration stands for more than itself."""
    return "*" in name or "?" in name


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is matched by any of some patterns."""
    return any(name == pattern or _compiled(pattern).fullmatch(name) for pattern in patterns)


def overlap(one: str, other: str) -> bool:
    """Return whether some name is matched by both of two patterns.

    Example: ``618-*`` and ``*-main`` both match ``618-main``; ``a*`` and ``b*`` share no name.
    """
    # shared[j] is whether the rest of ``one`` and other[j:] match a common name.
    shared = [not other[at:].strip("*") for at in range(len(other) + 1)]
    for char in reversed(one):
        below = shared
        shared = [char == "*" and below[-1]]
        for at in range(len(other) - 1, -1, -1):
            if "*" in {char, other[at]}:
                found = below[at] or shared[0]
            else:
                found = below[at + 1] and (char == other[at] or "?" in {char, other[at]})
            shared.insert(0, found)
    return shared[0]


def hint(name: str, known: Collection[str]) -> str:
    """Return the end of an error message: the known name that is nearest, or all known names."""
    return nearest(name, known) or f"; known: {', '.join(known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message with the known name that is nearest; empty if none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    # fnmatch writes expressions that do not backtrack.
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
