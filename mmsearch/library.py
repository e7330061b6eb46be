"""An opened library: what searching, indexing and serving share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

from mmsearch import build
from mmsearch.errors import MMSearchError, SpaceMismatchError
from mmsearch.media.sandbox import confinement
from mmsearch.media.sandbox.pool import Sandbox
from mmsearch.media.thumbnails import thumbnails_of
from mmsearch.models.collection_models import CollectionModels
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import Reranker, Searcher
from mmsearch.settings import Settings
from mmsearch.settings_loading import load_settings
from mmsearch.settings_options import SettingsOptions
from mmsearch.stores.collections import named_collection
from mmsearch.stores.lexical.index import LexicalTotals
from mmsearch.stores.rows import StoredSpace
from mmsearch.stores.store import SqlStore
from mmsearch.types import Collection, Modality, Place, Source
from mmsearch.vectors.channels import ChannelIndexes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LibrarySnapshot:
    """What queries need to know of a library, kept until the change log moves.

    Metadata keys and lexical totals are read when they are first asked for, then kept too.
    """

    store: SqlStore
    last_change: int
    """Id of the newest change in the log."""
    collections: tuple[Collection, ...]
    spaces: tuple[StoredSpace, ...]
    """The active spaces of all collections, as the vector indexes know them."""
    channels: frozenset[tuple[int, Modality]]
    """(space id, modality) of every vector index."""
    _metadata_keys: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _lexical_totals: dict[int, LexicalTotals] = field(default_factory=dict)

    def collection(self, name: str | None = None) -> Collection:
        """The named one; without a name the only one, or "default". NotFoundError if none."""
        return named_collection(self.collections, name)

    def spaces_of(self, collection_id: int) -> dict[str, StoredSpace]:
        """The active spaces of a collection, by name."""
        return {s.space.name: s for s in self.spaces if s.collection_id == collection_id}

    def metadata_keys(self, collection_id: int) -> tuple[str, ...]:
        """Every metadata key that some source of the collection has, sorted."""
        if collection_id not in self._metadata_keys:
            self._metadata_keys[collection_id] = tuple(
                self.store.sources.metadata_keys(collection_id)
            )
        return self._metadata_keys[collection_id]

    def lexical_totals(self, collection_id: int) -> LexicalTotals:
        """Segments with words and their mean length, by modality."""
        if collection_id not in self._lexical_totals:
            self._lexical_totals[collection_id] = self.store.lexical.totals(collection_id)
        return self._lexical_totals[collection_id]


class Library:
    """Settings, store, vector indexes, models and sandbox of one library folder. Thread-safe.

    Close it, or use it in a `with`::

        with Library.open("my-library") as library:
            print(library.status()["sources"])
    """

    def __init__(
        self,
        settings: Settings,
        store: SqlStore,
        indexes: ChannelIndexes,
        models: Callable[..., ModelSet],
        sandbox: Sandbox,
        rerankers: Callable[[str, str], Sequence[Reranker]] = lambda _profile, _choice: (),
    ) -> None:
        self.settings = settings
        self.store = store
        self.indexes = indexes
        self.models = models
        """The models of a profile, by its name."""
        self.collection_models = CollectionModels(settings, models)
        self.sandbox = sandbox
        self.rerankers = rerankers
        """The rerankers that a choice of the setting `rerank` means in a profile."""
        self._snapshot: LibrarySnapshot | None = None
        self._follower: threading.Thread | None = None
        self._stop = threading.Event()

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        create: bool = False,
        models: Callable[..., ModelSet] | None = None,
        rerankers: Callable[[str, str], Sequence[Reranker]] | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> Self:
        """Open the library in a folder. Keyword arguments are settings (see `Settings`).

        `create` makes it if it does not exist. `models` and `rerankers` replace those that the
        profiles name. Raises LibraryNotFoundError, LibraryVersionError, SettingsError,
        StorageError.
        """
        loaded = load_settings(path, **settings)
        store = build.open_store(loaded, create=create)
        return cls(
            settings=loaded,
            store=store,
            indexes=build.open_indexes(loaded, store),
            models=models or build.models_of(loaded),
            sandbox=build.open_sandbox(loaded),
            rerankers=rerankers or build.rerankers_of(loaded),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following, end decoding workers, close the indexes and the database."""
        self._stop.set()
        if self._follower is not None:
            self._follower.join()
            self._follower = None
        self.sandbox.close()
        self.indexes.close()
        self.store.close()

    @property
    def path(self) -> Path:
        """The library's folder."""
        return self.settings.library

    # ------------------------------------------------------------------ following the change log

    def refresh(self) -> bool:
        """Apply what was committed since the last call. True if anything changed."""
        return self.indexes.refresh()

    def snapshot(self) -> LibrarySnapshot:
        """The library as of now: indexes are refreshed first. One SELECT where nothing changed."""
        last_change, collections = self.store.changes.head()
        if last_change != self.indexes.last_change:
            self.refresh()
        spaces, kept = self.indexes.spaces, self._snapshot
        if kept is None or (kept.last_change, kept.spaces) != (last_change, spaces):
            channels = frozenset(
                (stored.id, modality)
                for stored in spaces
                for modality in Modality
                if self.indexes.get(stored.id, modality) is not None
            )
            kept = LibrarySnapshot(self.store, last_change, collections, spaces, channels)
        elif kept.collections != collections:
            # Weights of a collection change without an entry in the change log.
            kept = replace(kept, collections=collections)
        self._snapshot = kept
        return kept

    def switched_since(self, snapshot: LibrarySnapshot) -> bool:
        """True if a collection of the snapshot has been switched to other models meanwhile.

        Another process may have done it, or this one may have closed the old indexes already.
        """
        if any(self.indexes.get(*channel) is None for channel in snapshot.channels):
            return True
        if self.store.changes.last_id() == snapshot.last_change:
            return False
        return not set(snapshot.spaces) <= set(self.store.spaces.active())

    def vector_count(self, snapshot: LibrarySnapshot, collection_id: int) -> int:
        """Vectors of a collection, in all spaces."""
        indexes = [
            self.indexes.get(stored.id, modality)
            for stored in snapshot.spaces
            if stored.collection_id == collection_id
            for modality in Modality
        ]
        return sum(len(index) for index in indexes if index is not None)

    def follow(self, on_refresh: Callable[[], None] = lambda: None) -> None:
        """Refresh in the background every `settings.follow_seconds`, until `close`.

        `on_refresh` is called after each refresh.
        """
        if self._follower is None:
            self._follower = threading.Thread(
                target=self._follow, args=(on_refresh,), name="mmsearch-follow", daemon=True
            )
            self._follower.start()

    def _follow(self, on_refresh: Callable[[], None]) -> None:
        while not self._stop.wait(self.settings.follow_seconds):
            try:
                self.refresh()
                on_refresh()
            except Exception:
                # The database may be away for a while; the next round tries again.
                logger.exception("could not follow the change log")

    # ------------------------------------------------------------------ models

    def models_of(self, collection: Collection) -> ModelSet:
        """The models of a collection. SpaceMismatchError if settings name another profile."""
        return self.collection_models.of(collection)

    def check_profile(self, collection: Collection) -> None:
        """Raise SpaceMismatchError if the settings name another profile than the collection's."""
        self.collection_models.check(collection)

    # ------------------------------------------------------------------ contents

    def delete_source(self, source_id: int) -> None:
        """Remove a source from the library (its file stays where it is). NotFoundError."""
        self.store.sources.get(source_id)
        self.delete_sources([source_id])
        self.refresh()

    def remove_collection(self, name: str) -> None:
        """Remove a collection with its sources and indexes. Files stay.

        NotFoundError; ConflictError while it is being indexed.
        """
        self.refresh()  # opens its indexes, so that the next call deletes what was saved of them
        self.store.collections.remove(name)
        self.refresh()

    def delete_sources(self, ids: Sequence[int]) -> int:
        """Remove sources and their thumbnails; returns how many there were."""
        contents = self.store.sources.contents_of(ids)
        count = self.store.sources.delete(ids)
        self.delete_thumbnails(contents)
        return count

    def delete_thumbnails(self, contents: Iterable[str]) -> None:
        """Delete the thumbnails of content (SHA-256) that no source has any more."""
        collections = self.store.collections.list()
        for sha256 in filter(None, contents):
            if not any(self.store.sources.by_content(c.id, sha256) for c in collections):
                for path in thumbnails_of(self.path, sha256):
                    path.unlink(missing_ok=True)

    def reindex(self) -> None:
        """Rebuild every index from SQL: vector indexes, and the words of full text."""
        self.store.sources.rewrite_words()
        self.indexes.rebuild()
        self._snapshot = None

    # ------------------------------------------------------------------ status

    def status(self, *, verify: bool = False, repair: bool = False) -> dict[str, Any]:
        """Counts and index states; with `verify`, also the result of `verify()`.

        `repair` mends what `verify` finds, and verifies again.
        """
        repaired = self.repair() if repair else None
        self.refresh()
        status = self.store.status.counts()
        status["name_only"] = self.store.names.counts()
        status["collections"] = {c.name: c.profile for c in self.store.collections.list()}
        status["switching"] = self._switching()
        status["sounds"] = self._sounds()
        status["index"] = self.indexes.stats()
        status["confinement"] = asdict(confinement.available())
        status["warnings"] = list(self.indexes.warnings())
        if verify:
            status["verify"] = self.verify()
            if repaired is not None:
                status["verify"]["repaired"] = repaired
        return status

    def repair(self) -> list[str]:
        """Mend what `verify` names; returns it.

        Rows that cannot be used are deleted or emptied, and their sources marked to be indexed
        again. Words, filter values and vector indexes are rebuilt.
        """
        problems = self.verify()["problems"]
        if problems:
            self.store.verification.repair()
            self.store.status.mark_incomplete(self._can_read)
            self.reindex()
        return list(problems)

    def verify(self) -> dict[str, Any]:
        """Compare indexes, full text and metadata with each other: `ok`, `problems`, `notes`."""
        problems = [
            *self.store.verification.problems(),
            *self.store.status.problems(self._can_read),
            *self.store.lexical.problems(),
            *self.indexes.problems(),
        ]
        verified: dict[str, Any] = {"ok": not problems, "problems": problems}
        if notes := self.store.status.notes():
            verified["notes"] = notes
        return verified

    def _can_read(self, stored: StoredSpace, texts: Sequence[str]) -> list[bool]:
        """Which texts the model of a space reads; all, if the model cannot be loaded."""
        collections = self.store.collections.list()
        (collection,) = (c for c in collections if c.id == stored.collection_id)
        try:
            embedder = self.models_of(collection).embedder(stored.space.name)
            readable: list[bool] = embedder.can_read(texts).tolist()
        except MMSearchError:
            return [True] * len(texts)
        return readable

    def _sounds(self) -> dict[str, bool]:
        """Whether the models of each collection embed sounds."""
        sounds: dict[str, bool] = {}
        for collection in self.store.collections.list():
            # Settings may name another profile: commands that need the models report that.
            with suppress(SpaceMismatchError):
                sounds[collection.name] = self.models_of(collection).knows_sounds
        return sounds

    def _switching(self) -> dict[str, Any]:
        """Per collection, the models that it is being switched to and the progress per space."""
        switching: dict[str, Any] = {}
        for collection in self.store.collections.list():
            target = self.store.switches.target(collection.id)
            if target is not None:
                filled = {
                    pair[1].space.name: self.store.switches.progress(pair)
                    for pair in self.store.switches.pairs(collection.id)
                }
                switching[collection.name] = {
                    "profile": target.profile,
                    "models": dict(target.models),
                    "spaces": {n: {"vectors": v, "of": of} for n, (v, of) in filled.items()},
                }
        return switching


class LibrarySearcher(Searcher, Protocol):
    """A `Searcher` whose library is open in this process: what the service is built on."""

    @property
    def library(self) -> Library: ...

    @property
    def settings(self) -> Settings: ...

    def thumbnail_path(self, source: Source, place: Place | None = None) -> Path:
        """Where the JPEG thumbnail of a source, or of a place in it, is if there is one."""

    def warm_up(self) -> None:
        """Load indexes and models. Raises what loading raises."""

    def ready(self) -> bool:
        """True once `warm_up` has finished."""

    def warm_up_notes(self) -> tuple[str, ...]:
        """Why some collections cannot be searched, although others can."""

    def start_following(self) -> None:
        """Apply committed changes in the background until the library is closed."""
