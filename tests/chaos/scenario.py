"""What a scenario is, and how one is run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from streams.embedded.synthetic import Oddities
from tests.chaos.arena import Arena, NotPlayableError, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault, and what the deployment looks like that suffers it.

    ``play`` gets the arena with its workers at work and the feed flowing, and
    returns when the fault is over. ``in_ci`` says whether CI plays it too;
    ``first_settings`` are environment variables of the workers' first start. A
    ``sabotage`` breaks the promises on purpose: it shows that the harness sees it. Of
    ``history`` there is no feed: ``play`` sends events of long ago, starts the workers itself
    and waits until they have read everything.
    """

    name: str
    play: Callable[[Arena], None]
    workers: tuple[str, ...] = ("a", "b")
    settings: dict[str, str] = field(default_factory=dict)
    oddities: Oddities | None = None
    rate: float = 40.0
    high: float = 2.0
    first_settings: Callable[[Arena], dict[str, str]] = lambda arena: {}
    feed_on_s: float = 12.0
    in_ci: bool = False
    module: str = "streams"
    sabotage: bool = False
    history: bool = False

    @property
    def title(self) -> str:
        """What happens, in words."""
        return (self.play.__doc__ or self.name).split("\n")[0].rstrip(".")


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *,
    workers: tuple[str, ...] = ("a", "b"),
    settings: dict[str, str] | None = None,
    oddities: Oddities | None = None,
    rate: float = 40.0,
    high: float = 2.0,
    first_settings: Callable[[Arena], dict[str, str]] = lambda arena: {},
    feed_on_s: float = 12.0,
    in_ci: bool = False,
    module: str = "streams",
    sabotage: bool = False,
    history: bool = False,
) -> Callable[[Callable[[Arena], None]], Callable[[Arena], None]]:
    """Take a function as a scenario; its name and docstring are the scenario's."""

    def take(play: Callable[[Arena], None]) -> Callable[[Arena], None]:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(
            name=name,
            play=play,
            workers=workers,
            settings=settings or {},
            oddities=oddities,
            rate=rate,
            high=high,
            first_settings=first_settings,
            feed_on_s=feed_on_s,
            in_ci=in_ci,
            module=module,
            sabotage=sabotage,
            history=history,
        )
        return play

    return take


def run(one: Scenario, folder: Path) -> Outcome:
    """Play a scenario in a folder of its own and return what became of it."""
    arena = Arena(
        folder,
        rate=one.rate,
        high=one.high,
        oddities=one.oddities,
        settings=dict(one.settings),
    )
    arena.outcome.scenario = one.name
    try:
        with arena:
            if one.history:
                one.play(arena)
                arena.compare(live=False)
            else:
                arena.start(*one.workers, module=one.module, **one.first_settings(arena))
                arena.feeder.start()
                arena.until_current()
                one.play(arena)
                arena.finish(feed_on_s=one.feed_on_s)
    except NotPlayableError as error:
        arena.outcome.not_played = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the scenario failed
        arena.fail(f"{type(error).__name__}: {error}")
        (folder / "traceback.txt").write_text(traceback.format_exc())
    return arena.outcome
