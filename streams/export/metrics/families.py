"""Metrics are declared once, as specs, and filled with samples for each scrape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Sample = tuple[tuple[str, ...], float]
"""The values of the labels, and the value."""


class Spec(NamedTuple):
    """A metric: its name, what it says, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False


def family(spec: Spec, samples: Iterable[Sample]) -> Metric:
    """Return a metric with its samples."""
    kind = CounterMetricFamily if spec.counter else GaugeMetricFamily
    metric = kind(spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric
