"""Health of the data: collects all that is known of their completeness."""

from __future__ import annotations

from models.window import MINUTE_MS
from streams.kpis.coverage.frontier import Frontier
from streams.kpis.coverage.observation import Observation
from streams.kpis.coverage.silent_sources import SilentSources
from streams.kpis.coverage.waits import WaitingSources
from streams.kpis.intake.shares import Shares
from streams.kpis.view import Health

GAP_TOLD_MS = 15 * MINUTE_MS
"""A gap is counted until the frontier is this far past its end, in ms of event time."""


def health_at(
    now_ms: int,
    completeness: Frontier,
    observation: Observation,
    silences: SilentSources,
    shares: Shares,
    waits: WaitingSources,
    *,
    reading_history: bool,
) -> Health:
    """Return the health of the data at present.

    Args:
        now_ms: the present time.
        completeness: the frontier.
        observation: the gaps.
        silences: the silent sources.
        shares: the shares of unusual records.
        waits: the partitions that wait for a service.
        reading_history: whether windows of days ago are closed much faster than live.
    """
    return Health(
        now_ms=now_ms,
        expected=completeness.expected,
        reporting=completeness.reporting,
        missing=completeness.missing,
        read_up_to_ms=completeness.read_up_to_ms,
        behind=completeness.behind,
        reading_history=reading_history,
        gaps=observation.gaps_after(completeness.frontier_ms - GAP_TOLD_MS),
        silent=silences.silent,
        waiting=waits.at(now_ms),
        dead_letter_share=shares.share("dead_letters/", now_ms=now_ms),
        mis_keyed_share=shares.share("mis_keyed", now_ms=now_ms),
        late_share=shares.share("late", now_ms=now_ms),
        duplicate_share=shares.share("duplicates", now_ms=now_ms),
    )
