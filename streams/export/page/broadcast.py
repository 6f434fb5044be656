"""Shares one rendering of the live view among all who look at it.

However many browsers are open, the view is rendered, encoded and compressed at most once a second.
Streams wait for the moment from which the newest picture is too old; the first that asks then has
the next one rendered, and the others get the same bytes.

A stream is compressed once for all of its readers. Each message is a run of deflate blocks that
refer to no earlier message (`zlib.Z_FULL_FLUSH`), so a browser can begin with any of them: it gets
the gzip header first, and then the messages as they are rendered.

Example:
    Three browsers connect at 0.0 s, 0.4 s and 0.9 s. The first has a picture rendered, and all
    three get it. At 1.0 s one of them has the next rendered, and again all three get it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

EVERY_S: Final = 1.0
"""Least time between two pictures, in s."""
_QUICK: Final = 1
"""Level of compression: a tenth of the size, for a few ms of CPU."""
_encode: Final = msgspec.json.Encoder().encode
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Beginning of a gzip stream; blocks of deflate follow."""


@dataclass(frozen=True, eq=False)
class Picture:
    """The live view at one moment.

    Args:
        content: the view.
        due_s: when the next picture is due, on the clock of `Pictures`.
    """

    content: dict[str, Any]
    due_s: float

    @cached_property
    def json(self) -> bytes:
        """The picture as JSON."""
        return _encode(self.content)

    @cached_property
    def message(self) -> bytes:
        """The picture as a server-sent event."""
        return b"data: %b\n\n" % self.json

    @cached_property
    def deflated(self) -> bytes:
        """The server-sent event as blocks of deflate, to follow `GZIP_HEADER` or other messages."""
        packer = zlib.compressobj(_QUICK, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(self.message) + packer.flush(zlib.Z_FULL_FLUSH)


class Pictures:
    """The newest picture, rendered when somebody asks and the last one is too old.

    Args:
        render: returns the live view.
        clock: returns the time in s; it never goes back.
    """

    def __init__(
        self, render: Callable[[], dict[str, Any]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._render = render
        self._clock = clock
        self._newest: Picture | None = None

    def newest(self) -> Picture:
        """Return a picture that is at most `EVERY_S` old."""
        now_s = self._clock()
        if self._newest is None or now_s >= self._newest.due_s:
            self._newest = Picture(self._render(), due_s=now_s + EVERY_S)
        return self._newest

    def wait_s(self, picture: Picture) -> float:
        """Return in how many seconds the picture after that one is due; not below 0."""
        return max(0.0, picture.due_s - self._clock())
