"""Decoding with one kind of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

T = TypeVar("T")


def refusing(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return a decoder that raises msgspec.DecodeError whatever is wrong with the bytes.

    msgspec's own raise UnicodeDecodeError too, for text that is not UTF-8, and
    RecursionError for what is nested too deeply.
    """

    def decode_or_refuse(data: bytes) -> T:
        try:
            return decode(data)
        except (UnicodeDecodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from error

    return decode_or_refuse
