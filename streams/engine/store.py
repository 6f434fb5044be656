"""The local table store: what is broken there is rebuilt from the changelog."""

from __future__ import annotations

import logging
import shutil
from typing import Any

from faust import stores
from faust.stores import rocksdb

log = logging.getLogger(__name__)

REBUILDING_STORE = "rebuilding://"
"""The URL under which Faust finds the store below."""

stores.STORES.aliases["rebuilding"] = f"{__name__}:RebuildingStore"


class RebuildingStore(rocksdb.Store):  # type: ignore[misc]
    """Faust's RocksDB store, which removes a partition's files if they can't be opened."""

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if held_by_another(error):
                raise
            log.error(  # noqa: TRY400 - the store's own traceback says nothing more
                "the local store %s can't be opened (%s); it is rebuilt from the changelog",
                *(self.partition_path(partition), error),
            )
            discard(self, partition)
            return super()._open_for_partition(partition)


def held_by_another(error: Exception) -> bool:
    """Say whether a store can't be opened because another process has it open."""
    return "lock file" in str(error).lower()


def discard(store: Any, partition: int) -> None:
    """Remove the files of a partition, so that the next start rebuilds them."""
    shutil.rmtree(store.partition_path(partition), ignore_errors=True)
