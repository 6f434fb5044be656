"""Names of campaigns, channels, regions and segments: when two are the same, and how one is shown.

Producers write one name in many ways. Names are compared in their canonical form: URL encoding is
undone, width, case and white space are normalised, and invisible characters are left out.

Example: ``Search``, `` search``, ``ｓｅａｒｃｈ`` and ``sea%72ch`` are one name, ``search``; so are
``Black Friday``, ``black+friday`` and ``black%20friday``.

A name is shown as a file of names (`NameBook`) defines it; one that is not defined is shown in its
canonical form. Neither depends on what came before, so all workers show the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.patterns import is_pattern, matches
from models.scope import BUCKETS

Dimension = Literal["channel", "region", "segment"]
"""A part of a scope whose names a file of names may define. Campaigns have definitions of their
own."""
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
Change = Literal["alias", "spelling", "shortened"]
"""The reason why a name is shown otherwise than it was reported: it is an alias; it is spelt in
another way; it is too long."""

LONGEST: Final = 100
"""The length of the longest name that is shown whole, in characters."""
_HASH_BYTES: Final = 4
KEPT: Final = LONGEST - 2 * _HASH_BYTES - 1
"""The number of characters that stay of a longer name; the mark ``~`` and a hash follow."""
_ROUNDS: Final = 4
"""The most times that a form is normalised again; one that needs more was made to."""
_HEX: Final = "0123456789abcdefABCDEF"
_BYTE_OF: Final = {f"{high}{low}".encode(): int(high + low, 16) for high in _HEX for low in _HEX}
"""The byte that two hexadecimal digits stand for, in either case."""
_UNDECODED: Final = re.compile("[\udc80-\udcff]")
_PLUS: Final = re.compile(r"(?<=\w)\+(?=\w)")
_JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible, and yet a part of words in Persian and Indic scripts."""
_NOTHING: Final = BUCKETS | {"", "(not set)"}


def canonical(name: str) -> str:
    """Return the form in which names are compared; that of a canonical form is itself.

    ``%XX`` is decoded where the bytes are UTF-8, and ``+`` between two letters or digits is a
    space, also in names that were encoded more than once. Then follow NFKC (width), case folding,
    and single spaces for white space, with none at the ends. Invisible characters are left out.
    """
    for _ in range(_ROUNDS):
        form = _normalised(_decoded(name) if "%" in name else name)
        if form == name:
            break
        name = form
    return name


def _normalised(name: str) -> str:
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    if not name.isprintable():
        name = "".join(filter(_is_visible, name))
    return " ".join(_PLUS.sub(" ", name).split())


def _is_visible(character: str) -> bool:
    hidden = unicodedata.category(character) in {"Cc", "Cf"}
    return not hidden or character.isspace() or character in _JOINERS


def _decoded(name: str) -> str:
    """Undo URL encoding, however often it was applied, in one pass.

    What a byte completes is decoded at once, so that ``%2541`` is ``%41``, and that is ``A``.
    Bytes that are no UTF-8 stay as they were written.
    """
    done = bytearray()
    for byte in name.encode("utf-8", "surrogatepass"):
        done.append(byte)
        while done[-3:-2] == b"%" and (value := _BYTE_OF.get(bytes(done[-2:]))) is not None:
            done[-3:] = bytes((value,))
    text = done.decode("utf-8", "surrogateescape")
    return _UNDECODED.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02x}", text)


def names_nothing(form: str) -> bool:
    """Return whether a canonical form stands for no name: it is empty, ``(not set)`` or a bucket.

    The monitor's own buckets, such as ``(none)``, can therefore not collide with names.
    """
    return form in _NOTHING


def shortened(text: str, *, longest: int = LONGEST) -> str:
    """Return a text of at most ``longest`` characters: a longer one ends with ``~`` and its hash.

    Example: of 120 characters the first 91 stay, followed by ``~`` and 8 hexadecimal digits. Two
    long names that begin alike stay different.
    """
    if len(text) <= longest:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
    return f"{text[: longest - len(digest) - 1]}~{digest}"


_canonical_of = lru_cache(maxsize=10_000)(canonical)


def matches_name(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a shown name is matched by any of some patterns, in their canonical forms.

    Among a thousand names, one is looked up and not compared with each.
    """
    canonical_name = _canonical_of(name)
    outright, others = _canonical_parts(patterns)
    return canonical_name in outright or matches(canonical_name, others)


@lru_cache(maxsize=1_000)
def _canonical_parts(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return names and patterns apart, in their canonical forms."""
    found = [canonical(pattern) for pattern in patterns]
    others = tuple(pattern for pattern in found if is_pattern(pattern))
    return frozenset(found).difference(others), others


class ShownName(NamedTuple):
    """A name as it is shown.

    Args:
        name: the shown name; empty if nothing was named.
        change: how it came to differ from what was reported; None if it does not.
        unknown: whether the names of its dimension are defined, and this one is not.
    """

    name: str
    change: Change | None = None
    unknown: bool = False


def _is_a_name(name: str) -> str:
    if names_nothing(canonical(name)):
        raise ValueError(f"{name!r} stands for no name")
    return name.strip()


DefinedText = Annotated[str, AfterValidator(_is_a_name)]


class DefinedName(BaseModel):
    """A name as it is shown, and its other names in events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[DefinedText, Field(max_length=LONGEST)]
    aliases: tuple[DefinedText, ...] = ()


class NameBook(BaseModel):
    """The content of a file of names: the channels, regions and segments, with their aliases.

    If a dimension has no names here, none of its names is unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        f"{dimension}s": ("name", "aliases") for dimension in DIMENSIONS
    }

    channels: tuple[DefinedName, ...] = ()
    regions: tuple[DefinedName, ...] = ()
    segments: tuple[DefinedName, ...] = ()

    @cached_property
    def _defined(self) -> Mapping[str, Mapping[str, tuple[str, Change]]]:
        """By dimension and canonical form: the shown name, and how another spelling differs."""
        lists: dict[str, tuple[DefinedName, ...]] = {
            dimension: getattr(self, f"{dimension}s") for dimension in DIMENSIONS
        }
        return {
            dimension: {
                canonical(alias): (one.name, "alias") for one in found for alias in one.aliases
            }
            | {canonical(one.name): (one.name, "spelling") for one in found}
            for dimension, found in lists.items()
        }

    def shown(self, dimension: str, reported: str) -> ShownName:
        """Return how a name of a dimension is shown."""
        form = canonical(reported)
        if names_nothing(form):
            return ShownName("")
        defined = self._defined[dimension]
        if form in defined:
            name, change = defined[form]
            return ShownName(name, None if reported == name else change)
        name = shortened(form)
        change = "shortened" if name != form else "spelling"
        return ShownName(name, None if reported == name else change, unknown=bool(defined))

    def as_shown(self, dimension: str, name: str) -> str:
        """Return the shown form of a name in configuration; a bucket is shown as it is."""
        return self.shown(dimension, name).name or name


AsShown = Callable[[str, str], str]
"""Returns the shown form of a name in configuration, by part of a scope (`PARTS`) and name."""


def shown_names(names: Iterable[str], part: str, as_shown: AsShown) -> tuple[str, ...]:
    """Return names in configuration as they are shown, each once; patterns stay as they are."""
    shown = (name if is_pattern(name) else as_shown(part, name) for name in names)
    return tuple(dict.fromkeys(shown))
