"""Where the checkout is, and the files that `scripts/test-data.sh` takes out of wheels."""

from __future__ import annotations

import os
from pathlib import Path

SHOP_LOG = "retentioneering/datasets/data/simple-onlineshop.csv"
CDNOW = "lifetimes/datasets/CDNOW_master.txt"


def repository() -> Path:
    """Return the checkout, which the tests may run away from."""
    return Path(os.environ.get("KPI_REPOSITORY", Path(__file__).parents[2]))


def folder(checkout: Path) -> Path:
    """Return the folder of the data."""
    return checkout / "build" / "data"
