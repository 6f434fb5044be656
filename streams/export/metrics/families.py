"""Declarations of metrics (`Spec`), from which each scrape builds families with samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from models.scope import Scope

Sample = tuple[tuple[str, ...], float]
"""The values of the labels in the order of `Spec.labels`, and the sample's value."""


class Spec(NamedTuple):
    """A declared metric: name, help text, names of labels, and whether it is a counter."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False


class ScopeSamples(NamedTuple):
    """Samples about one scope, which are exported together or not at all."""

    scope: Scope
    samples: Sequence[tuple[Spec, Sample]]


def families(specs: Iterable[Spec], about: Iterable[ScopeSamples]) -> Iterator[Metric]:
    """Yield the metrics of some declarations, with the samples of all scopes."""
    samples: dict[Spec, list[Sample]] = {spec: [] for spec in specs}
    for one in about:
        for spec, sample in one.samples:
            samples[spec].append(sample)
    for spec, found in samples.items():
        yield family(spec, found)


def family(spec: Spec, samples: Iterable[Sample]) -> Metric:
    """Return a metric with its samples."""
    kind = CounterMetricFamily if spec.counter else GaugeMetricFamily
    metric = kind(spec.name, spec.help, labels=spec.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric
