"""The detectors of all rules that learn: one for each rule and scope.

A series is kept as bytes, as a checkpoint writes it, and decoded for each point: that takes some
10 µs, a third of the memory of its objects, and makes it immutable while a checkpoint is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Final, Literal, NamedTuple

import msgspec

from models.alerts import alert_id
from models.scope import Scope
from models.window import DAY_MS
from streams.alerting.numbered_segments import NumberedSegments
from streams.alerting.usual.detector import Detector, Judgement, Point
from streams.alerting.usual.rhythm import BandSettings
from streams.alerting.usual.value_scale import ScaleKind
from streams.engine.steps import Steps
from streams.kpis.judging import LEARNED_PREFIX
from streams.kpis.storage.bucket import Segment

Side = Literal["lower", "higher", "both"]
MOST_SERIES: Final = 20_000
"""Series that are kept, some 200 MB. Further ones are not learned."""
KEPT_WITHOUT_VALUES_MS: Final = 35 * DAY_MS
"""A series without any value for so long is forgotten."""
SERIES_A_SEGMENT: Final = 15
"""The most series in a segment, some 140 kB; 720 kB at most, in their first days."""


class Learner(NamedTuple):
    """Settings with which a rule learns what is usual.

    Args:
        settings: the settings of its detectors.
        scale: the kind of scale of its KPI.
        side: the side of what is expected on which evidence counts.
        rests_on_n: whether the KPI's values rest on a number of events.
    """

    settings: BandSettings
    scale: ScaleKind
    side: Side = "both"
    rests_on_n: bool = True


class About(NamedTuple):
    """The subject of the series of a rule: they are of no use once it is about something else.

    Args:
        rule: the name of the rule.
        kpi: its KPI.
        window: its window.
        scale: the kind of scale of the KPI.
        formula: the formula of the KPI.
    """

    rule: str
    kpi: str
    window: str
    scale: ScaleKind
    formula: str


class _Series(NamedTuple):
    """A series as it is saved. Fields may be appended.

    Args:
        about: what it is of.
        scope: its scope.
        end_ms: the end of the window that was observed last, event time in ms.
        seen_ms: that of the last one with a value that was not 0.
        judgement: the judgement on that window.
        detector: the encoded detector.
    """

    about: About
    scope: Scope
    end_ms: int
    seen_ms: int
    judgement: Judgement
    detector: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Series])


class LearnedSeries:
    """The series of rules that learn what is usual in their scopes.

    Args:
        most: the most series that are kept.
    """

    def __init__(self, *, most: int = MOST_SERIES) -> None:
        self._most = most
        self._series: dict[str, _Series] = {}
        """The series by the id of the alert of their rule and scope."""
        self._keys: defaultdict[str, dict[Scope, str]] = defaultdict(dict)
        """The ids by rule and scope."""
        self._segments = NumberedSegments(
            LEARNED_PREFIX, size=SERIES_A_SEGMENT, title="the learned series"
        )

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self._series)

    def scopes(self, rule: str) -> Set[Scope]:
        """Return the scopes in which a rule has learned anything. Callers must not modify them."""
        return self._keys[rule].keys()

    def learned(self, rule: str, scope: Scope, learner: Learner) -> float:
        """Return the past that is known of a series, as a share of what a judgement needs."""
        key = self._keys[rule].get(scope)
        if key is None:
            return 0.0
        return Detector.decode(self._series[key].detector, learner.settings).learned

    def observe(
        self, about: About, scope: Scope, point: Point, learner: Learner, *, end_ms: int
    ) -> Judgement | None:
        """Judge the value of a closed window, then learn from it.

        A window that was observed before is not learned again: its judgement stands.

        Args:
            about: what the series is of.
            scope: its scope.
            point: the value.
            learner: how the rule learns.
            end_ms: the end of the window, event time in ms.

        Returns:
            None if there is no room for another series.
        """
        key = self._keys[about.rule].get(scope)
        if key is not None:
            series = self._series[key]
            if end_ms <= series.end_ms:
                return series.judgement
            detector = Detector.decode(series.detector, learner.settings)
            seen_ms = end_ms if point.value else series.seen_ms
        elif len(self._series) < self._most:
            detector, seen_ms = Detector(learner.settings, scale=learner.scale), end_ms
        else:
            return None
        judgement = detector.observe(point)
        self._put(_Series(about, scope, end_ms, seen_ms, judgement, detector.encode()))
        return judgement

    def _put(self, series: _Series) -> None:
        rule, scope = series.about.rule, series.scope
        key = self._keys[rule].get(scope) or alert_id(rule, scope)
        self._keys[rule][scope] = key
        self._series[key] = series
        self._segments.put(key, rule)

    def forget_old(self, rule: str, *, at_ms: int) -> None:
        """Forget the series of a rule that had no value for `KEPT_WITHOUT_VALUES_MS`."""
        known = self._keys[rule]
        before_ms = at_ms - KEPT_WITHOUT_VALUES_MS
        for scope, key in list(known.items()):
            if self._series[key].seen_ms < before_ms:
                del known[scope], self._series[key]
                self._segments.drop(key)

    @property
    def live_segments(self) -> Sequence[int]:
        """The numbers of the segments that hold the series, after `take_segments`."""
        return self._segments.live

    def take_segments(self) -> Iterator[Segment]:
        """Yield the segments that changed since the last call, and removals of the old ones."""
        yield from self._segments.take(
            lambda keys: partial(_encoder.encode, [self._series[key] for key in keys])
        )

    def restore(
        self,
        segments: Mapping[bytes, bytes],
        *,
        live: Iterable[int],
        is_known: Callable[[About, Scope], bool],
    ) -> Steps[None]:
        """Restore saved series.

        Args:
            segments: the stored segments of series.
            live: the numbers of those that belong to the head.
            is_known: returns whether a rule still is about a series. Others are dropped.

        Raises:
            StateError: a segment is missing.
        """
        for data in (yield from self._segments.read(segments, live=live)):
            for series in _decoder.decode(data):
                if is_known(series.about, series.scope):
                    self._put(series)
            yield
