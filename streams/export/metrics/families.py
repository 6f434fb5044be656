"""Declarations of metrics (`Spec`), from which each scrape builds families with samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Sample = tuple[tuple[str, ...], float]
"""The values of the labels in the order of `Spec.labels`, and the sample's value."""


class Spec(NamedTuple):
    """A declared metric: name, help text, names of labels, and whether it is a counter."""

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
