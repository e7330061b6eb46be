"""Changing the models of a collection, which is searched with the old ones meanwhile.

::

    plan -> build the new spaces beside the old (resumable) -> switch (one transaction) -> remove

A run may be interrupted at any moment: what it has embedded is in SQL, and the next run goes on.
Files indexed meanwhile get the old models' vectors, so that they can be searched; they are
embedded before the switch, which is refused as long as a vector is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from indexer.recipe import recipe
from indexer.runs import remove_retired, write_lock
from indexer.switching.reembed import Reembedder
from mmsearch.errors import LibraryBusyError, ModelError, StorageError
from mmsearch.library import Library
from mmsearch.models.collection_models import models_in
from mmsearch.models.sets import ModelSet
from mmsearch.search.scoring.calibration import Calibrations
from mmsearch.stores.switches import Completion, Replacement, SwitchTarget, described
from mmsearch.types import Collection, Failure, Space

WRITER_SECONDS = 2.0
"""How long the switch waits for an indexing run before it embeds what that run has added."""
ROUNDS_WITHOUT_PROGRESS = 3


@dataclass(frozen=True, slots=True)
class SpaceChange:
    """A space, and the one that is to replace it."""

    old: Space
    new: Space
    done: int
    """Vectors that an interrupted run has written."""
    needed: int

    @property
    def name(self) -> str:
        return self.new.name


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """What a switch will do."""

    collection: str
    old: SwitchTarget
    new: SwitchTarget
    changes: tuple[SpaceChange, ...]
    kept: tuple[str, ...]
    """Spaces that the new models share with the old ones."""
    without: tuple[str, ...]
    """Spaces that the new models have no counterpart of."""
    heard_again: bool
    """The new models recognise other words or sounds: the next run indexes recordings again."""

    @property
    def needed(self) -> int:
        return sum(change.needed for change in self.changes)

    @property
    def done(self) -> int:
        return sum(change.done for change in self.changes)

    def lines(self) -> list[str]:
        """The plan in English, for the terminal."""
        where = f"Collection '{self.collection}'"
        lines = [f"{where} goes from {described(self.old)} to {described(self.new)}."]
        if self.old == self.new and not self.changes:
            lines = [f"{where} already uses {described(self.new)}."]
        for change in self.changes:
            done = f", {change.done} of them done" if change.done else ""
            lines.append(
                f"  {change.name}: {_model(change.old)} -> {_model(change.new)}: "
                f"{change.needed} vectors{done}"
            )
        lines += [f"  {name}: unchanged" for name in self.kept]
        lines += [
            f"  {name}: the new models have no such space; its vectors are removed"
            for name in self.without
        ]
        if self.heard_again:
            lines.append(
                "  Transcripts and sounds stay as they are until the next `mmsearch index` of "
                "their folder, which recognises them again with the new models."
            )
        if self.changes:
            lines.append(
                "Search uses the old models until all vectors are written. You can interrupt this: "
                "the same command goes on, and --abort removes the new vectors."
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "from": {"profile": self.old.profile, "models": dict(self.old.models)},
            "to": {"profile": self.new.profile, "models": dict(self.new.models)},
            "spaces": {
                change.name: {
                    "from": _model(change.old),
                    "to": _model(change.new),
                    "vectors": change.needed,
                    "there": change.done,
                }
                for change in self.changes
            },
            "kept": list(self.kept),
            "without": list(self.without),
            "heard_again": self.heard_again,
        }


@dataclass(slots=True)
class SwitchCounts:
    """Progress of a run."""

    needed: int = 0
    """Vectors of the spaces that are built, as far as is known."""
    done: int = 0
    made: int = 0
    """Vectors written by this run."""
    waiting: bool = False
    """All vectors are written, and an indexing run has to end first."""


@dataclass(frozen=True, slots=True)
class SwitchSummary:
    """What a run did; `to_json` is the last line of `mmsearch models switch --json`."""

    plan: SwitchPlan
    switched: bool
    made: int = 0
    removed: int = 0
    """Old vectors that were removed."""
    seconds: float = 0.0
    failures: tuple[Failure, ...] = field(default=())
    """Sources that had to be decoded again and could not be."""
    forgone: int = 0
    """Segments of those sources without a new vector: they cannot be found by it."""

    def to_json(self) -> dict[str, Any]:
        return {
            **self.plan.to_json(),
            "switched": self.switched,
            "made": self.made,
            "removed": self.removed,
            "seconds": round(self.seconds, 3),
            "failures": [
                {"path": f.path, "code": f.code, "reason": f.reason} for f in self.failures
            ],
            "segments_without": self.forgone,
        }


def switch_models(
    library: str | Path,
    profile: str | None = None,
    *,
    collection: str | None = None,
    allow_missing: bool = False,
    dry_run: bool = False,
    on_plan: Callable[[SwitchPlan], None] = lambda _plan: None,
    on_progress: Callable[[SwitchCounts], None] = lambda _counts: None,
    **settings: Any,
) -> SwitchSummary:
    """Embed everything in a collection with other models, then use those.

    Without a profile, an interrupted switch is resumed; if there is none, the collection keeps its
    profile and only models named by settings (clip_model, text_model ...) change. If a source that
    has to be decoded again cannot be, nothing is switched; with `allow_missing`, its segments have
    no such vector until it is indexed again. Raises what `index` raises.
    """
    with Library.open(library, **settings) as opened:
        return switch_in(
            opened,
            profile,
            collection=collection,
            allow_missing=allow_missing,
            dry_run=dry_run,
            on_plan=on_plan,
            on_progress=on_progress,
        )


def switch_in(
    library: Library,
    profile: str | None = None,
    *,
    collection: str | None = None,
    allow_missing: bool = False,
    dry_run: bool = False,
    on_plan: Callable[[SwitchPlan], None] = lambda _plan: None,
    on_progress: Callable[[SwitchCounts], None] = lambda _counts: None,
) -> SwitchSummary:
    """The same for an opened library."""
    with _switch_lock(library.path):
        target = library.store.collections.get(collection)
        switch = Switch(library, target, target_of(library, target, profile))
        on_plan(switch.plan)
        if dry_run:
            return SwitchSummary(switch.plan, switched=False)
        return switch.run(allow_missing=allow_missing, on_progress=on_progress)


def abort_switch(library: str | Path, *, collection: str | None = None, **settings: Any) -> bool:
    """Remove the new vectors of an interrupted switch; False if there was none."""
    with Library.open(library, **settings) as opened, _switch_lock(opened.path):
        dropped = opened.store.switches.abort(opened.store.collections.get(collection).id)
        remove_retired(opened)
        return dropped


def target_of(library: Library, collection: Collection, profile: str | None) -> SwitchTarget:
    """The models that settings and `profile` request. Raises ProfileError."""
    requested = models_in(library.settings)
    begun = library.store.switches.target(collection.id)
    if profile is None:
        if begun is not None and requested.items() <= dict(begun.models).items():
            return begun
        kept = dict(collection.models) | requested
        return SwitchTarget(collection.profile, tuple(sorted(kept.items())))
    return SwitchTarget(profile, tuple(sorted(requested.items())))


class Switch:
    """One run of a switch of one collection. Not reused."""

    def __init__(self, library: Library, collection: Collection, target: SwitchTarget) -> None:
        self.library = library
        self.store = library.store
        self.collection = collection
        self.target = target
        choose = library.collection_models.chosen
        self.models = choose(target.profile, target.models, asked=False)
        # The models of sources that are up to date: as recorded, or as set since.
        self._before: tuple[ModelSet, ...] = tuple(
            choose(collection.profile, collection.models, asked=with_settings)
            for with_settings in (False, True)
        )
        self.new_spaces = self._spaces()
        self.plan = self._plan()

    # ------------------------------------------------------------------ plan

    def _spaces(self) -> list[Space]:
        """The new models' spaces, of those that this collection has vectors in."""
        active = {stored.space.name for stored in self.store.spaces.active(self.collection.id)}
        names = ["clip", "text", *(["sound"] if self.models.knows_sounds else [])]
        return [self.models.embedder(name).space for name in names if name in active]

    def _plan(self) -> SwitchPlan:
        active = {
            stored.space.name: stored for stored in self.store.spaces.active(self.collection.id)
        }
        begun = {
            stored.space.fingerprint: stored
            for stored in self.store.spaces.building(self.collection.id)
        }
        changes: list[SpaceChange] = []
        kept: list[str] = []
        for space in self.new_spaces:
            old = active[space.name]
            if old.space.fingerprint == space.fingerprint:
                kept.append(space.name)
                continue
            done, needed = self.store.switches.progress((old, begun.get(space.fingerprint)))
            changes.append(SpaceChange(old.space, space, done, needed))
        return SwitchPlan(
            collection=self.collection.name,
            old=SwitchTarget(self.collection.profile, self.collection.models),
            new=self.target,
            changes=tuple(changes),
            kept=tuple(kept),
            without=tuple(sorted(set(active) - {space.name for space in self.new_spaces})),
            heard_again=all(old.hearing != self.models.hearing for old in self._before),
        )

    # ------------------------------------------------------------------ run

    def run(
        self, *, allow_missing: bool, on_progress: Callable[[SwitchCounts], None]
    ) -> SwitchSummary:
        """Build, switch, remove. Raises MMSearchError; written vectors are kept."""
        began = time.monotonic()
        remove_retired(self.library)
        pairs = self.store.switches.begin(self.collection.id, self.target, self.new_spaces)
        counts = SwitchCounts(self.plan.needed, self.plan.done)

        def add_written(count: int) -> None:
            counts.made += count
            counts.done += count
            counts.needed = max(counts.needed, counts.done)
            on_progress(counts)

        on_progress(counts)
        reembedder = Reembedder(self.library, self.models, add_written)
        # Read before embedding: all changes up to here will then be in the new spaces.
        last = self.store.changes.last_id()
        _catch_up(reembedder, pairs)
        switched = allow_missing or not reembedder.failures
        removed = 0
        if switched:
            for _, new in pairs:
                self.library.indexes.build_space(new, last)
            switched = self._take_over(reembedder, pairs, counts, on_progress, allow_missing)
        if switched:
            self.library.refresh()
            removed = remove_retired(self.library)
            Calibrations(self.library).prepare(self.store.collections.get(self.collection.name))
        return SwitchSummary(
            plan=self.plan,
            switched=switched,
            made=counts.made,
            removed=removed,
            seconds=time.monotonic() - began,
            failures=tuple(reembedder.failures.values()),
            forgone=len(reembedder.skipped_segments),
        )

    def _take_over(
        self,
        reembedder: Reembedder,
        pairs: list[Replacement],
        counts: SwitchCounts,
        on_progress: Callable[[SwitchCounts], None],
        allow_missing: bool,
    ) -> bool:
        """Switch once nothing is missing; False if a newly indexed source cannot be decoded."""
        idle = 0
        while idle < ROUNDS_WITHOUT_PROGRESS:
            written_before = counts.made
            try:
                # The lock only spares a run from breaking off: the transaction checks for writers.
                with write_lock(self.library.path, WRITER_SECONDS):
                    _catch_up(reembedder, pairs)
                    if reembedder.failures and not allow_missing:
                        return False
                    missing = self.store.switches.complete(
                        self.collection.id, self._completion(reembedder)
                    )
                if not missing:
                    return True
                idle = 0 if counts.made > written_before else idle + 1
            except LibraryBusyError:
                counts.waiting = True
                on_progress(counts)
                _catch_up(reembedder, pairs)
        raise ModelError(f"{missing} segments cannot be embedded by the new models")

    def _completion(self, reembedder: Reembedder) -> Completion:
        settings = self.library.settings
        new = recipe(settings, self.models)
        old = {recipe(settings, models) for models in self._before}
        return Completion(
            recipes={before: new for before in sorted(old) if before != new},
            speech_changed=self.plan.heard_again,
            dropped=frozenset(self.plan.without),
            unreadable=frozenset(reembedder.skipped_segments),
            unknown_words=frozenset(reembedder.unknown_words),
        )


def _catch_up(reembedder: Reembedder, pairs: list[Replacement]) -> None:
    """Until a whole round finds no missing vector."""
    while sum(reembedder.fill(pair) for pair in pairs):
        pass


def _model(space: Space) -> str:
    return f"{space.model} {space.revision}".strip()


@contextmanager
def _switch_lock(library: Path) -> Iterator[None]:
    """One switch at a time. Indexing goes on."""
    lock = FileLock(library / "switch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LibraryBusyError("another switch of models is under way in this library") from None
    except OSError as error:
        raise StorageError(f"the library cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
