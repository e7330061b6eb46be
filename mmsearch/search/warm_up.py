"""Loads indexes and models ahead of the first query."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmsearch.errors import MMSearchError
from mmsearch.library import Library
from mmsearch.models.rerankers.choice import NONE
from mmsearch.search.rerank.stage import RerankStage
from mmsearch.search.scoring.calibration import Calibrations
from mmsearch.stores.rows import StoredSpace
from mmsearch.types import Collection

logger = logging.getLogger(__name__)


class WarmUp:
    """Whether a library is ready to be searched without delay, and what makes it so."""

    def __init__(
        self, library: Library, calibrations: Calibrations, reranking: RerankStage
    ) -> None:
        self._library = library
        self._calibrations = calibrations
        self._reranking = reranking
        self._spaces: Sequence[StoredSpace] = ()
        self.done = False
        self.notes: tuple[str, ...] = ()
        """Why some collections could not be loaded, although others could."""

    def run(self) -> None:
        """Load indexes and models, and measure calibrations that are missing.

        A collection that cannot be loaded becomes a note. Raises its error if there is no other.
        """
        self._library.refresh()
        self._spaces = self._library.indexes.spaces
        collections = self._library.store.collections.list()
        failures: list[tuple[str, MMSearchError]] = []
        for collection in collections:
            try:
                self._load(collection)
            except MMSearchError as error:
                failures.append((collection.name, error))
        if failures and len(failures) == len(collections):
            raise failures[0][1]
        self.notes = tuple(f"collection '{name}': {error.message}" for name, error in failures)
        for note in self.notes:
            logger.warning("%s", note)
        self.done = True

    def _load(self, collection: Collection) -> None:
        models = self._library.models_of(collection)
        models.clip.encode_texts(["warm up"], "query")
        models.text.encode_texts(["warm up"], "query")
        self._calibrations.prepare(collection)
        if self._library.settings.rerank != NONE:
            self._reranking.warm_up(collection.profile)

    def run_again_if_switched(self) -> None:
        """Load the models of collections that have been switched since `run`."""
        if self.done and set(self._spaces) != set(self._library.indexes.spaces):
            self.run()
