"""The text of /metrics: what a closed window says is written once, however often it is scraped.

Windows close every ten seconds to every quarter of an hour, and each of thousands of series
is text. The text of each window is therefore kept by family, and a scrape puts together what
the families of all windows say, with the few metrics that change at every moment.
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
"""How OpenMetrics ends."""
FORMATS_KEPT = 3
_QUICK = 1
"""The level of compression: a tenth of the size, for a few ms."""

Encode = Callable[[Collector], bytes]


class Answer(NamedTuple):
    """The body of a scrape and its headers."""

    body: bytes
    headers: Mapping[str, str]


class _Family(NamedTuple):
    """The text of a family: what it says about itself, and its samples."""

    header: bytes
    samples: bytes


_Families = Mapping[str, _Family]


class _Fixed(Collector):
    """Collects what was made before."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._metrics


class MetricsText:
    """Writes a worker's metrics.

    Args:
        view: returns the worker's view.
        exports: which series of KPIs there are.
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
            accept: its header; what can't be read is answered with plain text.
            accept_encoding: its header; with gzip the body is compressed.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # Of a version that is no number, such as version==0.0.4, it raises.
            encode, content_type = choose_encoder("")
        body = self._text(encode, self._memo_of(content_type))
        headers = {"Content-Type": content_type, "Vary": "Accept-Encoding"}
        if "gzip" in accept_encoding.lower():
            body = gzip.compress(body, _QUICK)
            headers["Content-Encoding"] = "gzip"
        return Answer(body, headers)

    def _memo_of(self, content_type: str) -> EvaluationCache:
        """Return what was written in a format; of those asked for last, as anybody may ask."""
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
        """Yield the text of closed windows, and of what is made of them."""
        if kpis is None:
            return
        evaluations = [*kpis.latest.values(), *kpis.stages]
        compared = [one for each in kpis.comparisons.values() for one in (each.now, each.then)]
        chosen = memo.of("chosen", [*evaluations, *compared], lambda: self._kpis.chosen(kpis))
        for number, evaluation in enumerate(evaluations):
            yield memo.of(
                f"window {number}",
                [evaluation],
                lambda evaluation=evaluation: self._of_window(evaluation, chosen, encode),  # type: ignore[misc]
                # Where not everything fits, what fits depends on all windows.
                besides=chosen.mark if chosen.shown.left_out else None,
            )
        yield memo.of(
            "beside",
            [*evaluations, *compared],
            lambda: _families(encode, self._kpis.beside(kpis, chosen)),
            # Scorecards may have exemptions that end on a day.
            besides=(self._kpis.day_of(kpis), tuple(kpis.effects)),
        )

    def _of_window(self, evaluation: Evaluation, chosen: Chosen, encode: Encode) -> _Families:
        return _families(encode, self._kpis.of_window(chosen.rows[id(evaluation)]))


def _families(encode: Encode, metrics: Iterable[Metric]) -> _Families:
    """Write metrics, each by itself."""
    found: dict[str, _Family] = {}
    for metric in metrics:
        text = encode(_Fixed([metric])).removesuffix(_END)
        lines = text.splitlines(keepends=True)
        header = b"".join(line for line in lines if line.startswith(b"#"))
        samples = b"".join(line for line in lines if not line.startswith(b"#"))
        found[metric.name] = _Family(header, samples)
    return found
