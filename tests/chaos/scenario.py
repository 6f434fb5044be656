"""The definition of scenarios, their registry, and the run of one."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from streams.operations.synthetic import Oddities
from tests.chaos.arena import Arena, NotPlayableError, Outcome

OWN_MEASUREMENTS = {"KPI_KPIS_FILE": str(Path(__file__).with_name("measurements.yaml"))}
"""Settings with which workers know measurements of one's own, and the feeder sends them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault, and the deployment that it is played on.

    Attributes:
        name: on the command line.
        play: gets the arena with current workers and a running feed; returns when the fault is
            over.
        workers: names of the workers.
        settings: environment variables of all workers.
        oddities: shares of late, repeated and broken records; None for the defaults.
        rate: clicks a second.
        high: the rule ``clicks-high`` fires above this multiple of the usual clicks.
        first_settings: returns environment variables that the workers are started with.
        feed_on_s: seconds that the feed goes on after the fault.
        in_ci: whether CI plays the scenario.
        module: the Python module that the workers run.
        sabotage: whether the scenario breaks the promises on purpose, to show that the harness
            notices.
        history: whether there is no feed: ``play`` sends events of long ago, starts the workers
            itself and waits until they have read everything.
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
        """What happens: the first line of the docstring of ``play``."""
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
    """Return a decorator that registers a function as a scenario.

    The function's name and docstring become the scenario's name and title; the arguments are those
    of `Scenario`.
    """

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
    """Play a scenario in a folder of its own and return its outcome."""
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
