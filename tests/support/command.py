"""Runs the installed command, as a stranger does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``kpi-monitor`` to its end, with variables added to the environment."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("kpi-monitor")), *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
