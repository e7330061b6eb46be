"""Switching a collection to other models while searches go on with the old ones.

::

    building ── complete ──► active ── complete ──► retired ──► removed
        └──────────────── abort ──────────────────────►┘

A space of the new models is filled beside the active one, vector by vector, and replaces it in
one transaction. Retired spaces are removed in batches (`SpaceStore.remove_retired`). After each
step another process can continue from what the database holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from mmsearch.errors import SpaceMismatchError
from mmsearch.stores.change_log import ChangeLog
from mmsearch.stores.database import Database
from mmsearch.stores.rows import STALE_RECIPE, StoredSpace, chunks, to_segment, to_stored_space
from mmsearch.stores.spaces import SpaceStore, State, has_vector, insert_space
from mmsearch.stores.tables import CollectionRow, SegmentRow, SourceRow, SpaceRow, VectorRow
from mmsearch.types import Modality, Segment, Space

RECIPE_LENGTH = 32
"""Characters of a source's recipe that name models and settings; more may follow them."""

Replacement = tuple[StoredSpace, StoredSpace]
"""(the active space, the one that is built to replace it)."""


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """The models that a collection is being switched to."""

    profile: str
    models: tuple[tuple[str, str], ...] = ()
    """Models in place of the profile's own: (setting, name), by setting."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What else changes in the transaction that makes the new spaces active."""

    recipes: Mapping[str, str]
    """New recipes by old ones: sources that are up to date stay so under the new models."""
    speech_changed: bool = False
    """Recordings keep their recipe: the new models would transcribe them differently."""
    dropped: frozenset[str] = frozenset()
    """Names of active spaces that the new models have no replacement for."""
    unreadable: frozenset[int] = frozenset()
    """Segments that may stay without a vector; the next run indexes their sources again."""
    unknown_words: frozenset[tuple[int, int]] = frozenset()
    """(space id, segment id) of words that the new model cannot read: they need no vector."""


class SwitchStore:
    """The spaces that are being built, and the target in a collection's settings."""

    def __init__(self, database: Database, spaces: SpaceStore, changes: ChangeLog) -> None:
        self._database = database
        self._spaces = spaces
        self._changes = changes

    def target(self, collection_id: int) -> SwitchTarget | None:
        """The models that the collection is being switched to, None if it is not."""
        with self._database.read() as connection:
            return _target(_settings(connection, collection_id).get("switch"))

    def begin(
        self, collection_id: int, target: SwitchTarget, spaces: Sequence[Space]
    ) -> list[Replacement]:
        """Create those of the target's spaces that differ from the active ones.

        Called again, it resumes. SpaceMismatchError if a switch to another target has begun.
        """
        with self._database.write() as connection:
            settings = _settings(connection, collection_id)
            begun = _target(settings.get("switch"))
            if begun is not None and begun != target:
                raise SpaceMismatchError(
                    f"this collection is on its way to {described(begun)}, not to "
                    f"{described(target)}. Let that end first, or drop it with: "
                    "mmsearch models switch --abort",
                    param="profile",
                )
            known = {
                row.fingerprint: to_stored_space(row)
                for row in connection.execute(
                    select(SpaceRow).where(SpaceRow.collection_id == collection_id)
                )
            }
            active = {s.space.name: s for s in known.values() if s.state == "active"}
            pairs: list[Replacement] = []
            for space in spaces:
                old = active.get(space.name)
                if old is None or old.space.fingerprint == space.fingerprint:
                    continue
                new = known.get(space.fingerprint)
                if new is None:
                    new = insert_space(connection, collection_id, space, "building")
                pairs.append((old, new))
            building = {new.id for _, new in pairs}
            _set_state(connection, building, "building")
            # Spaces of an earlier attempt whose models have changed meanwhile.
            outdated = {s.id for s in known.values() if s.state == "building"} - building
            _set_state(connection, outdated, "retired")
            _save(connection, collection_id, settings | {"switch": _json(target)})
            return pairs

    def pairs(self, collection_id: int) -> list[Replacement]:
        """The pairs that `begin` returned."""
        active = {s.space.name: s for s in self._spaces.active(collection_id)}
        building = self._spaces.building(collection_id)
        return [(active[new.space.name], new) for new in building if new.space.name in active]

    def progress(self, pair: tuple[StoredSpace, StoredSpace | None]) -> tuple[int, int]:
        """(vectors that the new space has, vectors that it needs): those of the old one."""
        count = select(func.count()).select_from(VectorRow)
        with self._database.read() as connection:
            needed, existing = (
                int(connection.scalar(count.where(VectorRow.space_id == stored.id)) or 0)
                if stored
                else 0
                for stored in pair
            )
        return min(existing, needed), needed

    def missing_texts(
        self, pair: Replacement, modalities: Sequence[Modality], after: int, limit: int
    ) -> list[tuple[int, str]]:
        """(id, text) of segments of these modalities without a vector in the new space.

        Those without one in the old space, too: its model may not have been able to read them.
        """
        query = (
            select(SegmentRow.id, SegmentRow.text)
            .join(SourceRow, SourceRow.id == SegmentRow.source_id)
            .where(
                SourceRow.collection_id == pair[1].collection_id,
                ~has_vector(pair[1].id),
                SegmentRow.id > after,
                SegmentRow.modality.in_([m.value for m in modalities]),
                func.coalesce(SegmentRow.text, "") != "",
            )
            .order_by(SegmentRow.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row[0], row[1] or "") for row in connection.execute(query)]

    def missing_sources(
        self, pair: Replacement, modalities: Sequence[Modality], after: int, limit: int
    ) -> list[int]:
        """Ascending ids of the sources of such segments."""
        query = (
            _missing(pair[0].id, pair[1].id, SegmentRow.source_id)
            .where(
                SegmentRow.source_id > after, SegmentRow.modality.in_([m.value for m in modalities])
            )
            .distinct()
            .order_by(SegmentRow.source_id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def missing_segments(
        self, pair: Replacement, modalities: Sequence[Modality], source_id: int
    ) -> list[Segment]:
        """Such segments of one source."""
        query = (
            _missing(pair[0].id, pair[1].id, *SegmentRow.__table__.columns)
            .where(
                SegmentRow.source_id == source_id,
                SegmentRow.modality.in_([m.value for m in modalities]),
            )
            .order_by(SegmentRow.ordinal)
        )
        with self._database.read() as connection:
            return [to_segment(row) for row in connection.execute(query)]

    # ------------------------------------------------------------------ making it active

    def complete(self, collection_id: int, completion: Completion) -> int:
        """Make the new spaces active if no vector is missing; returns how many are missing.

        One transaction, with an entry in the change log. Writers of sources lock the spaces that
        they write to: what they add is either seen here, or refused.
        """
        with self._database.write() as connection:
            rows = connection.execute(
                select(SpaceRow)
                .where(SpaceRow.collection_id == collection_id)
                .order_by(SpaceRow.id)
                .with_for_update()
            )
            stored = [to_stored_space(row) for row in rows]
            settings = _settings(connection, collection_id)
            target = _target(settings.pop("switch", None))
            if target is None:
                raise SpaceMismatchError("the switch was dropped by another process")
            active = {s.space.name: s for s in stored if s.state == "active"}
            building = [s for s in stored if s.state == "building"]
            missing = [
                row
                for new in building
                for row in connection.execute(
                    _missing(active[new.space.name].id, new.id, SegmentRow.id, SegmentRow.source_id)
                ).all()
                if (new.id, row[0]) not in completion.unknown_words
            ]
            unexpected = sum(row[0] not in completion.unreadable for row in missing)
            if unexpected:
                return unexpected
            self._update_recipes(connection, collection_id, completion)
            for chunk in chunks(sorted({row[1] for row in missing})):
                connection.execute(
                    update(SourceRow).where(SourceRow.id.in_(chunk)).values(recipe=STALE_RECIPE)
                )
            retired = {active[new.space.name].id for new in building}
            retired |= {active[name].id for name in completion.dropped if name in active}
            _set_state(connection, retired, "retired")
            _set_state(connection, {new.id for new in building}, "active")
            settings["models"] = dict(target.models)
            _save(connection, collection_id, settings, profile=target.profile)
            # No segment changes, but followers of the log have to look at the spaces again.
            self._changes.append(connection, collection_id, 0, "add", [])
        return 0

    def _update_recipes(
        self, connection: Connection, collection_id: int, completion: Completion
    ) -> None:
        for old, new in completion.recipes.items():
            where: list[ColumnElement[bool]] = [
                SourceRow.collection_id == collection_id,
                func.substr(SourceRow.recipe, 1, RECIPE_LENGTH) == old,
            ]
            if completion.speech_changed:
                recording = or_(SourceRow.mime.like("audio/%"), SourceRow.mime.like("video/%"))
                where.append(~recording)
            connection.execute(
                update(SourceRow)
                .where(and_(*where))
                .values(recipe=new + func.substr(SourceRow.recipe, RECIPE_LENGTH + 1))
            )

    def abort(self, collection_id: int) -> bool:
        """Retire what is being built; False if no switch has begun."""
        with self._database.write() as connection:
            settings = _settings(connection, collection_id)
            begun = settings.pop("switch", None)
            rows = connection.execute(
                select(SpaceRow.id).where(
                    SpaceRow.collection_id == collection_id, SpaceRow.state == "building"
                )
            ).all()
            _set_state(connection, {row.id for row in rows}, "retired")
            _save(connection, collection_id, settings)
        return begun is not None


def described(target: SwitchTarget) -> str:
    """A target as messages name it."""
    return " with ".join(
        [f"profile {target.profile}", *(f"{name}={model}" for name, model in target.models)]
    )


def _missing(old: int, new: int, *columns: Any) -> Select[Any]:
    """Segments that have a vector in the old space and none in the new one."""
    return (
        select(*columns)
        .select_from(VectorRow)
        .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
        .where(VectorRow.space_id == old, ~has_vector(new))
    )


def _set_state(connection: Connection, ids: set[int], state: State) -> None:
    if ids:
        connection.execute(update(SpaceRow).where(SpaceRow.id.in_(sorted(ids))).values(state=state))


def _settings(connection: Connection, collection_id: int) -> dict[str, Any]:
    settings = connection.scalar(
        select(CollectionRow.settings).where(CollectionRow.id == collection_id)
    )
    return dict(settings or {})


def _save(
    connection: Connection, collection_id: int, settings: Mapping[str, Any], **columns: Any
) -> None:
    connection.execute(
        update(CollectionRow)
        .where(CollectionRow.id == collection_id)
        .values(settings=dict(settings), **columns)
    )


def _json(target: SwitchTarget) -> dict[str, Any]:
    return {"profile": target.profile, "models": dict(target.models)}


def _target(saved: Mapping[str, Any] | None) -> SwitchTarget | None:
    if saved is None:
        return None
    return SwitchTarget(saved["profile"], tuple(sorted(saved["models"].items())))
