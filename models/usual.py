"""The usual values of a KPI at a time, learned from its own past, and the evidence against one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Usual(BaseModel):
    """The band of usual values of a KPI in one scope and window, and how far the value is from it.

    The evidence may rest on several windows: a value inside the band is unusual, too, if the last
    16 windows are all near its low end.

    Args:
        learned: the past that is known, as a share of what a judgement needs, at most 1.
        expected: the expected value, in the unit of the KPI; None while too little is learned.
        low: the low end of the band for a single window; None likewise.
        high: the high end of it.
        score: the evidence as a share of what an alert needs: 1 or more is a reason to alert; 0 on
            a side that does not fire.
        side: 1 if the values are above what was expected, -1 if they are below.
        windows: the number of windows over which the evidence is strongest.
        widened_by: the name of the special day for which the band is wider, in English; empty on an
            ordinary day.
        widened_by_zh: the same in Chinese.
        settles: whether the campaign changed, or a phase of it began, so shortly before that the
            level is learned anew and there is no judgement.
        too_few: the number of events that are expected, if they are too few for a judgement.
    """

    model_config = ConfigDict(frozen=True)

    learned: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    score: float = 0.0
    side: int = 1
    windows: int = 1
    widened_by: str = ""
    widened_by_zh: str = ""
    settles: bool = False
    too_few: float | None = None
