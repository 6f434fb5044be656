"""The texts of the live page: both languages have all of them."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

from models.alerts import AlertState, Category, Severity
from models.events import SOURCE_KINDS
from models.names import DIMENSIONS
from models.rule_status import Why
from models.window import SHOWN_WINDOWS, Reference
from streams.analysis.funnel import BRANCHES, STEPS
from streams.analysis.scorecard_points import IndicatorState

FOLDER = resources.files("streams.export.page")


def texts(language: str) -> dict[str, str]:
    """Return the texts of a language by their key."""
    lines = FOLDER.joinpath(f"texts_{language}.js").read_text("utf-8").splitlines()
    return dict(re.findall(r"^  (\w+): (['\"].*['\"]),$", "\n".join(lines[2:-1]), re.MULTILINE))


def test_languages() -> None:
    """Each text is there in English and in Chinese, with the same places to fill in."""
    english, chinese = texts("en"), texts("zh")
    assert english.keys() == chinese.keys()
    assert len(english) > 100
    for key, text in english.items():
        places = [sorted(set(re.findall(r"\{\d\}", one))) for one in (text, chinese[key])]
        assert places[0] == places[1], key


def test_used() -> None:
    """Each text that the page asks for by name is there."""
    page = FOLDER.joinpath("live.html").read_text("utf-8")
    script = FOLDER.joinpath("live.js").read_text("utf-8")
    asked = {*re.findall(r'data-t="(\w+)"', page), *re.findall(r"\bt\('(\w+)'[,)]", script)}
    assert len(asked) > 50
    assert asked <= texts("en").keys()


def test_named() -> None:
    """Each name that the live view has of a window, a state and the like is there."""
    named = {
        "": (*get_args(Severity), *get_args(Category), *AlertState),
        "w_": SHOWN_WINDOWS,
        "r_": get_args(Reference),
        "o_": {**STEPS, **BRANCHES},
        "s_": IndicatorState,
        "u_": ("campaign", *DIMENSIONS, "metric"),
        "src_": SOURCE_KINDS,
        "v_": Why,
    }
    assert {prefix + name for prefix, names in named.items() for name in names} <= texts(
        "en"
    ).keys()
