"""Anything as input: `make fuzz` tries 100,000 inputs and more, CI a sample."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzzed = settings(
    max_examples=int(os.environ.get("KPI_FUZZ_EXAMPLES", "300")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def edits(valid: bytes) -> st.SearchStrategy[bytes]:
    """Return what comes of a valid input when pieces of it are replaced by others."""

    def edit(changes: list[tuple[int, int, bytes]]) -> bytes:
        made = valid
        for place, length, piece in changes:
            at = place % (len(made) + 1)
            made = made[:at] + piece + made[at + length :]
        return made

    change = st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.binary(max_size=12))
    return st.lists(change, max_size=5).map(edit)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
