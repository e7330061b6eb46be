"""Unchanged, moved and copied files: what a collection has already is not embedded again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from indexer.inputs.content import Item
from indexer.outcomes import RunOutcomes
from indexer.recipe import same_recipe
from mmsearch.stores.places import local_path
from mmsearch.stores.rows import KnownFile, SourceWrite
from mmsearch.stores.store import SqlStore
from mmsearch.types import Collection, Failure, SourceFile


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file whose content is in the collection, or will be when the run has written it."""

    item: Item
    file: SourceFile
    sha256: str


class IndexedFiles:
    """Compares a run's files with those that the collection has, by name and by content.

    `recipe` is that of the run: what was indexed by another recipe counts as changed. With
    `rehash`, the content of files that look unchanged is compared too. `claim` is thread-safe;
    all else is for the run's own thread.
    """

    def __init__(
        self,
        store: SqlStore,
        collection: Collection,
        recipe: str,
        outcomes: RunOutcomes,
        *,
        retry_failed: bool = False,
        rehash: bool = False,
    ) -> None:
        self._store = store
        self._collection = collection
        self._recipe = recipe
        self._outcomes = outcomes
        self._retry_failed = retry_failed
        self._rehash = rehash
        self._compared: dict[str, KnownFile] = {}
        """By URI: files that look unchanged, but whose content is compared."""
        self._claimed: set[str] = set()
        self._claim_lock = threading.Lock()
        self._waiting: list[CopiedFile] = []
        self._failures: dict[str, Failure] = {}
        """By sha256, of this run."""

    def recipe_of(self, item: Item) -> str:
        """What is recorded with a source: metadata from outside of the file counts too."""
        return f"{self._recipe}:{item.stamp}" if item.stamp else self._recipe

    def changed(self, items: Sequence[Item]) -> Iterator[Item]:
        """Count `items` as seen, and yield those that are new or changed. The others get their
        outcome from SQL alone."""
        known = self._store.sources.by_uri(self._collection.id, [item.file.uri for item in items])
        self._record_weights(items, known)
        for item in items:
            self._outcomes.counts.seen += 1
            stored = known.get(item.file.uri)
            if stored is None or not self._unchanged(stored, item):
                yield item
            elif self._rehash or _touched(stored, item.file):
                if stored.status == "indexed":
                    self._compared[item.file.uri] = stored
                yield item
            elif stored.status != "failed":
                self._outcomes.unchanged(item.file.path)
            elif self._retry_failed:
                yield item
            else:
                failure = self._store.sources.get(stored.id).failure
                assert failure is not None
                self._outcomes.failed(failure)

    def _record_weights(self, items: Sequence[Item], known: Mapping[str, KnownFile]) -> None:
        """Complete recipes that do not name the models' files, so that a change is noticed."""
        recipes = {
            stored.id: self.recipe_of(item)
            for item in items
            if (stored := known.get(item.file.uri)) is not None
            and self._unchanged(stored, item)
            and len(stored.recipe) < len(self.recipe_of(item))
        }
        if recipes:
            self._store.sources.update_recipes(recipes)

    def _unchanged(self, stored: KnownFile, item: Item) -> bool:
        same_file = (stored.size, stored.mtime_ns) == (item.file.size, item.file.mtime_ns)
        return same_file and same_recipe(stored.recipe, self.recipe_of(item))

    # ------------------------------------------------------------------ equal content

    def claim(self, item: Item, sha256: str) -> bool:
        """Whether the caller is to index this content; else it is, or will be, indexed already.

        A file with metadata from outside of it is unlike others of its content.
        """
        if self._has_same_content(item, sha256):
            return False
        if item.stamp:
            return True
        with self._claim_lock:
            is_first = sha256 not in self._claimed
            self._claimed.add(sha256)
        return is_first and not self._same_content(sha256)

    def add_copy(self, copy: CopiedFile) -> None:
        """A file that `claim` has refused; `settle` gives it its outcome."""
        self._waiting.append(copy)

    def add_failure(self, sha256: str, failure: Failure) -> None:
        """Content that could not be indexed: its copies fail for the same reason."""
        self._failures[sha256] = failure

    def settle(self) -> None:
        """Give copies the segments and vectors of the source they equal, once it is written."""
        copies, self._waiting = self._waiting, []
        for copy in copies:
            failure = self._failures.get(copy.sha256)
            if self._has_same_content(copy.item, copy.sha256):
                stored = self._compared[copy.file.uri]
                self._store.sources.move(stored.id, copy.file)
                self._outcomes.unchanged(copy.file.path)
            elif same := self._same_content(copy.sha256):
                self._write_copy(copy, same)
            elif failure is not None:
                failure = Failure(copy.file.path, failure.code, failure.reason)
                write = SourceWrite(copy.file, copy.sha256, "", self._recipe, failure=failure)
                self._store.sources.write(self._collection.id, [write])
                self._outcomes.failed(failure)
            else:
                self._waiting.append(copy)

    def _has_same_content(self, item: Item, sha256: str) -> bool:
        """Whether it was indexed from the same content by the same recipe."""
        stored = self._compared.get(item.file.uri)
        return stored is not None and stored.sha256 == sha256

    def take_orphan(self) -> CopiedFile | None:
        """At the end of a run: a copy of a source that was deleted meanwhile, if there is any."""
        return self._waiting.pop(0) if self._waiting else None

    def _same_content(self, sha256: str) -> list[KnownFile]:
        known = self._store.sources.by_content(self._collection.id, sha256)
        return [source for source in known if same_recipe(source.recipe, self._recipe)]

    def _write_copy(self, copy: CopiedFile, same: Sequence[KnownFile]) -> None:
        for source in same:
            if source.uri == copy.file.uri:
                self._store.sources.move(source.id, copy.file)
                self._outcomes.unchanged(copy.file.path)
                return
        for source in same:
            if is_gone(source.uri):
                self._store.sources.move(source.id, copy.file)
                self._outcomes.moved(copy.file.path, source.path)
                return
        original = self._store.sources.get(same[0].id)
        metadata, segments, vectors = self._store.sources.contents(original.id)
        write = SourceWrite(
            file=copy.file,
            sha256=copy.sha256,
            mime=original.mime,
            recipe=self._recipe,
            metadata=metadata,
            segments=segments,
            vectors=vectors,
        )
        self._store.sources.write(self._collection.id, [write])
        self._outcomes.copied(write)


def _touched(stored: KnownFile, file: SourceFile) -> bool:
    """Whether the system has changed the file or its record since it was indexed: programs can
    give other content the size and time of the old one, but not `st_ctime`."""
    indexed_at = stored.indexed_at
    if indexed_at.tzinfo is None:
        indexed_at = indexed_at.replace(tzinfo=UTC)
    return file.ctime_ns > indexed_at.timestamp() * 1e9


def is_gone(uri: str) -> bool:
    """True only if there surely is no such file: one that we may not look at is not gone."""
    try:
        os.lstat(local_path(uri))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
