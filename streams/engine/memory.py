"""Memory that is free in the process goes back to the operating system.

The allocator keeps what lies between blocks that are in use: after windows of many scopes were
closed, a quarter of what a worker holds. It gives that back when it is asked to.
"""

from __future__ import annotations

import asyncio
import ctypes

GIVEN_BACK_EVERY_S = 10.0


def give_back() -> None:
    """Give free memory back, in some milliseconds; does nothing where glibc is not."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def keep_giving_back() -> None:
    """Give free memory back every few seconds."""
    while True:
        await asyncio.sleep(GIVEN_BACK_EVERY_S)
        await asyncio.to_thread(give_back)
