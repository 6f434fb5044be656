"""Paths of the checkout and of the data files that `scripts/test-data.sh` extracts from wheels."""

from __future__ import annotations

import os
from pathlib import Path

SHOP_LOG = "retentioneering/datasets/data/simple-onlineshop.csv"
CDNOW = "lifetimes/datasets/CDNOW_master.txt"


def repository() -> Path:
    """Return the checkout: ``TESTED_REPOSITORY``, or where this file is."""
    return Path(os.environ.get("TESTED_REPOSITORY", Path(__file__).parents[2]))


def folder(checkout: Path) -> Path:
    """Return the folder of the data files."""
    return checkout / "build" / "data"
