"""Metrics of outliers among peers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from models.scope import PARTS
from models.window import WindowName
from streams.analysis.peer_outliers import Z_LIMIT, Peer
from streams.export.metrics.families import ScopeSamples, Spec, family
from streams.export.report_queries import OUTLIERS_SHOWN

Z = Spec(
    "kpi_monitor_peer_z",
    f"Modified z-score of an outlier among its peers, above {Z_LIMIT} or below -{Z_LIMIT}; absent"
    f" for values that are no outliers and beyond the {OUTLIERS_SHOWN} largest of a window",
    ("kpi", "scope", *PARTS, "window"),
)
OUTLIERS = Spec(
    "kpi_monitor_peer_outliers",
    "Number of outliers among peers in a window; absent if records of the window were lost",
    ("window",),
)

SPECS = (Z, OUTLIERS)


def peer_samples(outliers: Mapping[WindowName, Sequence[Peer]]) -> Iterator[ScopeSamples]:
    """Yield the sample of each outlier that is exported.

    Args:
        outliers: of each window that was judged, the largest scores first.
    """
    for window, found in outliers.items():
        for peer in found[:OUTLIERS_SHOWN]:
            labels = (peer.kpi, *peer.scope, window)
            yield ScopeSamples(peer.scope, [(Z, (labels, peer.z))])


def outlier_counts(outliers: Mapping[WindowName, Sequence[Peer]]) -> Metric:
    """Return the metric of all outliers; a window that was not judged has no sample."""
    return family(OUTLIERS, [((window,), len(found)) for window, found in outliers.items()])
