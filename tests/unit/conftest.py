"""What all fast tests need."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from streams.export.worker_view import WorkerView
from tests.factories.views import synthetic_view
from tests.support.process_end import ProcessEndedError

# How long an example takes depends on what else the machine does; pytest limits each test.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def _no_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int) -> NoReturn:
        raise ProcessEndedError(code)

    monkeypatch.setattr(os, "_exit", ended)


@pytest.fixture(scope="session")
def view() -> WorkerView:
    """The view of a worker that read a minute of the synthetic campaign."""
    return synthetic_view()
