"""Faust's local table store, made to rebuild damaged files from the changelog.

A store that can't be written (a full disk, a folder that became read-only) ends the worker.
Its state is safe in the changelog, and another worker takes over.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from typing import Any

from faust import stores
from faust.stores import rocksdb

from streams.engine.process_fence import end_process

log = logging.getLogger(__name__)

REBUILDING_STORE = "rebuilding://"
"""The URL under which Faust finds `RebuildingStore`."""

stores.STORES.aliases["rebuilding"] = f"{__name__}:RebuildingStore"


class RebuildingStore(rocksdb.Store):  # type: ignore[misc]
    """Faust's RocksDB store that removes a partition's files if they can't be opened."""

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
            with writing_to(self, partition):
                return super()._open_for_partition(partition)

    def apply_changelog_batch(self, *args: Any, **options: Any) -> None:
        """Write records of the changelog to the store, during recovery."""
        with writing_to(self):
            super().apply_changelog_batch(*args, **options)


@contextlib.contextmanager
def writing_to(store: Any, partition: int | None = None) -> Iterator[None]:
    """End the worker if its store can't be written.

    An error that another process has the store open is passed on.
    """
    try:
        yield
    except Exception as error:
        if held_by_another(error):
            raise
        path = store.path if partition is None else store.partition_path(partition)
        end_process(
            "the local store %s can't be written (%s): free space or mend KPI_DATA_DIR; the state "
            "is safe in the changelog, and another worker takes over",
            *(path, error),
        )


def held_by_another(error: Exception) -> bool:
    """Return whether the error says that another process has the store open."""
    said = str(error).lower()
    return "lock file" in said or "lock hold by" in said


def discard(store: Any, partition: int) -> None:
    """Remove the files of a partition; they are rebuilt from the changelog."""
    shutil.rmtree(store.partition_path(partition), ignore_errors=True)
