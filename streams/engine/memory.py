"""Returns free memory of the process to the operating system.

glibc's allocator keeps free memory that lies between blocks in use. After windows with many
scopes were closed, that is a quarter of a worker's memory. ``malloc_trim`` releases it.
"""

from __future__ import annotations

import asyncio
import ctypes

GIVEN_BACK_EVERY_S = 10.0


def give_back() -> None:
    """Release free memory, which takes some milliseconds; do nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def keep_giving_back() -> None:
    """Release free memory every `GIVEN_BACK_EVERY_S` seconds, for ever."""
    while True:
        await asyncio.sleep(GIVEN_BACK_EVERY_S)
        await asyncio.to_thread(give_back)
