"""Writes the text of /metrics, reusing the text of windows that have not changed.

Windows close every ten seconds to every quarter of an hour, and writing thousands of series as
text is slow. The text of each window is therefore cached by metric family. A scrape joins, family
by family, the cached texts of all windows and the few metrics that change at every moment.

Example: between two scrapes only ``1m`` and ``5m`` closed. Their samples of ``kpi_clicks_count``
are written again, those of all other windows are taken from the cache, and all follow one
``# HELP`` and ``# TYPE`` line.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from streams.export.evaluation_cache import EvaluationCache
from streams.export.metrics.collector import Chosen, KpiMetrics, moment_metrics
from streams.export.report_queries import ReportQueries
from streams.export.worker_view import ViewSource
from streams.kpis.view import Evaluation, KpiView

_END = b"# EOF\n"
"""The last line of a scrape in OpenMetrics format."""
FORMATS_KEPT = 3
"""Number of text formats whose caches are kept, the most recently asked for."""
_QUICK = 1
"""Level of gzip: a tenth of the size, for a few ms of CPU."""

Encode = Callable[[Collector], bytes]


class Answer(NamedTuple):
    """The body of a scrape and its headers."""

    body: bytes
    headers: Mapping[str, str]


class _Family(NamedTuple):
    """The text of a metric family: its comment lines, and its samples."""

    header: bytes
    samples: bytes


_Families = Mapping[str, _Family]


class _Fixed(Collector):
    """Collects a fixed list of metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as the encoders of prometheus_client ask for them."""
        yield from self._metrics


class MetricsText:
    """Writes a worker's metrics in the format that a scrape asks for.

    Args:
        view: returns the worker's view.
        exports: says which series of KPIs are exported.
    """

    def __init__(self, view: ViewSource, exports: ReportQueries) -> None:
        self._view = view
        self._kpis = KpiMetrics(exports)
        self._memos: OrderedDict[str, EvaluationCache] = OrderedDict()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def answer(self, *, accept: str, accept_encoding: str) -> Answer:
        """Return the answer to a scrape.

        Args:
            accept: its header; a malformed one is answered in the plain text format.
            accept_encoding: its header; if it names gzip, the body is compressed.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # choose_encoder raises if a version is not a number, as in version==0.0.4.
            encode, content_type = choose_encoder("")
        body = self._text(encode, self._memo_of(content_type))
        headers = {"Content-Type": content_type, "Vary": "Accept-Encoding"}
        if "gzip" in accept_encoding.lower():
            body = gzip.compress(body, _QUICK)
            headers["Content-Encoding"] = "gzip"
        return Answer(body, headers)

    def _memo_of(self, content_type: str) -> EvaluationCache:
        """Return the cache of a format; the least recently used are dropped beyond a limit."""
        memo = self._memos.pop(content_type, None) or EvaluationCache()
        self._memos[content_type] = memo
        while len(self._memos) > FORMATS_KEPT:
            self._memos.popitem(last=False)
        return memo

    def _text(self, encode: Encode, memo: EvaluationCache) -> bytes:
        view = self._view()
        parts = [
            _families(encode, moment_metrics(view)),
            *self._of_kpis(view.kpis, encode, memo),
        ]
        families: dict[str, list[_Family]] = {}
        for part in parts:
            for name, one in part.items():
                families.setdefault(name, []).append(one)
        texts = [encode(self._process).removesuffix(_END)]
        for several in families.values():
            texts.append(several[0].header)
            texts += [one.samples for one in several]
        if encode(CollectorRegistry()).endswith(_END):
            texts.append(_END)
        return b"".join(texts)

    def _of_kpis(
        self, kpis: KpiView | None, encode: Encode, memo: EvaluationCache
    ) -> Iterator[_Families]:
        """Yield the text of each closed window, and of the metrics derived from all of them."""
        if kpis is None:
            return
        evaluations = [*kpis.latest.values(), *kpis.stages]
        compared = [one for each in kpis.comparisons.values() for one in (each.now, each.then)]
        # The day: exemptions of scorecards end with one.
        besides = (self._kpis.day_of(kpis), tuple(kpis.effects))
        chosen = memo.of(
            "chosen",
            [*evaluations, *compared],
            lambda: self._kpis.chosen(kpis),
            besides=besides,
        )
        for number, evaluation in enumerate(evaluations):
            yield memo.of(
                f"window {number}",
                [evaluation],
                lambda evaluation=evaluation: self._of_window(evaluation, chosen, encode),  # type: ignore[misc]
                # With series left out, the choice for one window depends on all windows.
                besides=chosen.mark if chosen.shown.left_out else None,
            )
        yield memo.of(
            "beside",
            [*evaluations, *compared],
            lambda: _families(encode, self._kpis.beside(kpis, chosen)),
            besides=besides,
        )

    def _of_window(self, evaluation: Evaluation, chosen: Chosen, encode: Encode) -> _Families:
        return _families(encode, self._kpis.of_window(chosen.rows[id(evaluation)]))


def _families(encode: Encode, metrics: Iterable[Metric]) -> _Families:
    """Return the text of each metric, by its name."""
    found: dict[str, _Family] = {}
    for metric in metrics:
        text = encode(_Fixed([metric])).removesuffix(_END)
        lines = text.splitlines(keepends=True)
        header = b"".join(line for line in lines if line.startswith(b"#"))
        samples = b"".join(line for line in lines if not line.startswith(b"#"))
        found[metric.name] = _Family(header, samples)
    return found
