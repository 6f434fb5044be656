"""Wraps decoders so that they raise one kind of error for any broken input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")


def refusing(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return a decoder that raises only msgspec.DecodeError for broken bytes.

    The decoders of msgspec also raise UnicodeDecodeError for text that is not UTF-8, and
    RecursionError for values that are nested too deeply.
    """

    def decode_or_refuse(data: bytes) -> T:
        try:
            return decode(data)
        except (UnicodeDecodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from error

    return decode_or_refuse
