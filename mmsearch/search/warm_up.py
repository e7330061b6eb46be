"""Loads indexes and models ahead of the first query."""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.library import Library
from mmsearch.models.rerankers.choice import NONE
from mmsearch.search.rerank.stage import RerankStage
from mmsearch.search.scoring.calibration import Calibrations
from mmsearch.stores.rows import StoredSpace


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

    def run(self) -> None:
        """Load indexes and models, and measure calibrations that are missing."""
        self._library.refresh()
        self._spaces = self._library.indexes.spaces
        for collection in self._library.store.collections.list():
            models = self._library.models_of(collection)
            models.clip.encode_texts(["warm up"], "query")
            models.text.encode_texts(["warm up"], "query")
            self._calibrations.prepare(collection)
            if self._library.settings.rerank != NONE:
                self._reranking.warm_up(collection.profile)
        self.done = True

    def run_again_if_switched(self) -> None:
        """Load the models of collections that have been switched since `run`."""
        if self.done and set(self._spaces) != set(self._library.indexes.spaces):
            self.run()
