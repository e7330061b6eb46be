"""The vector spaces of collections: in use, being built beside those, and on their way out.

::

    building ── complete_switch ──► active ── complete_switch ──► retired ──► removed
        └────────────────────────── abort_switch ───────────────────►┘

Vectors are searched in active spaces only. Another model's space is filled beside the one in
use, vector by vector, and takes its place in one transaction; what is retired is removed in
batches. Each step leaves the database such that the next process can go on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from mmsearch.errors import LibraryBusyError, SpaceMismatchError
from mmsearch.stores.change_log import log_change
from mmsearch.stores.database import Database
from mmsearch.stores.rows import (
    TAKE_AGAIN,
    StoredSpace,
    check_same_space,
    chunks,
    little_endian,
    to_segment,
    to_stored_space,
)
from mmsearch.stores.tables import CollectionRow, SegmentRow, SourceRow, SpaceRow, VectorRow
from mmsearch.types import Modality, Segment, Space

RECIPE_LENGTH = 32
"""Characters of a source's recipe that name models and settings; more may follow them."""

State = Literal["building", "active", "retired"]
Replacement = tuple[StoredSpace, StoredSpace]
"""(the active space, the one that is built to take its place)."""


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """The models that a collection is on its way to."""

    profile: str
    models: tuple[tuple[str, str], ...] = ()
    """Models in place of the profile's own: (setting, name), by setting."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What else changes in the transaction that makes the new spaces those in use."""

    recipes: Mapping[str, str]
    """New recipes by old ones: sources that are up to date stay so under the new models."""
    heard_again: bool = False
    """Recordings keep their recipe: other models would have heard something else."""
    without: frozenset[str] = frozenset()
    """Names of active spaces that the new models have nothing to put in place of."""
    forgone: frozenset[int] = frozenset()
    """Segments that may lose their place; the next run takes their sources in again."""
    unreadable: frozenset[tuple[int, int]] = frozenset()
    """(space id, segment id) of words that the new model cannot read: they need no vector."""


class SpaceStore(Database):
    """The part of the store that knows which model made a vector."""

    def spaces(
        self, collection_id: int | None = None, *, state: State = "active"
    ) -> list[StoredSpace]:
        """The spaces that are in use, or those in another state."""
        query = select(SpaceRow).where(SpaceRow.state == state).order_by(SpaceRow.id)
        if collection_id is not None:
            query = query.where(SpaceRow.collection_id == collection_id)
        with self._read() as connection:
            return [to_stored_space(row) for row in connection.execute(query)]

    def ensure_space(self, collection_id: int, space: Space) -> StoredSpace:
        """Register `space`. SpaceMismatchError if the collection uses another one of its name."""
        with self._write() as connection:
            rows = connection.execute(
                select(SpaceRow).where(
                    SpaceRow.collection_id == collection_id,
                    SpaceRow.name == space.name,
                    SpaceRow.state == "active",
                )
            )
            for row in rows:
                check_same_space(to_stored_space(row).space, space)
                return to_stored_space(row)
            # What was retired with nothing in its place is begun anew, not half full.
            connection.execute(
                delete(SpaceRow).where(
                    SpaceRow.collection_id == collection_id,
                    SpaceRow.fingerprint == space.fingerprint,
                    SpaceRow.state == "retired",
                )
            )
            return _insert_space(connection, collection_id, space, "active")

    # ------------------------------------------------------------------ building beside

    def switch_target(self, collection_id: int) -> SwitchTarget | None:
        """Where a switch that has begun leads; None if there is none."""
        with self._read() as connection:
            return _target(_settings(connection, collection_id).get("switch"))

    def begin_switch(
        self, collection_id: int, target: SwitchTarget, wanted: Sequence[Space]
    ) -> list[Replacement]:
        """Make room for those of the `wanted` spaces that differ from the ones in use.

        Called again, it finds what was begun. SpaceMismatchError if that led elsewhere.
        """
        with self._write() as connection:
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
            for space in wanted:
                old = active.get(space.name)
                if old is None or old.space.fingerprint == space.fingerprint:
                    continue
                new = known.get(space.fingerprint)
                if new is None:
                    new = _insert_space(connection, collection_id, space, "building")
                pairs.append((old, new))
            building = {new.id for _, new in pairs}
            _set_state(connection, building, "building")
            # The same names with other weights: what was begun with the old ones is no use.
            left = {s.id for s in known.values() if s.state == "building"} - building
            _set_state(connection, left, "retired")
            _save(connection, collection_id, settings | {"switch": _json(target)})
            return pairs

    def building(self, collection_id: int) -> list[Replacement]:
        """The pairs that `begin_switch` made."""
        active = {s.space.name: s for s in self.spaces(collection_id)}
        building = self.spaces(collection_id, state="building")
        return [(active[new.space.name], new) for new in building if new.space.name in active]

    def filled(self, pair: tuple[StoredSpace, StoredSpace | None]) -> tuple[int, int]:
        """(vectors that the new space has, vectors that it needs)."""
        count = select(func.count()).select_from(VectorRow)
        with self._read() as connection:
            needed, have = (
                int(connection.scalar(count.where(VectorRow.space_id == one.id)) or 0) if one else 0
                for one in pair
            )
        return min(have, needed), needed

    def waiting_texts(
        self, pair: Replacement, among: Sequence[Modality], after: int, limit: int
    ) -> list[tuple[int, str]]:
        """(id, text) of segments of these modalities without a vector in the new space.

        Those without one in the old space, too: its model may not have been able to read them.
        """
        query = (
            select(SegmentRow.id, SegmentRow.text)
            .join(SourceRow, SourceRow.id == SegmentRow.source_id)
            .where(
                SourceRow.collection_id == pair[1].collection_id,
                ~_has_vector(pair[1].id),
                SegmentRow.id > after,
                SegmentRow.modality.in_([m.value for m in among]),
                func.coalesce(SegmentRow.text, "") != "",
            )
            .order_by(SegmentRow.id)
            .limit(limit)
        )
        with self._read() as connection:
            return [(row[0], row[1] or "") for row in connection.execute(query)]

    def waiting_sources(
        self, pair: Replacement, among: Sequence[Modality], after: int, limit: int
    ) -> list[int]:
        """Ascending ids of sources with such segments."""
        query = (
            _waiting(pair[0].id, pair[1].id, SegmentRow.source_id)
            .where(SegmentRow.source_id > after, SegmentRow.modality.in_([m.value for m in among]))
            .distinct()
            .order_by(SegmentRow.source_id)
            .limit(limit)
        )
        with self._read() as connection:
            return list(connection.scalars(query))

    def waiting_segments(
        self, pair: Replacement, among: Sequence[Modality], source_id: int
    ) -> list[Segment]:
        """Such segments of one source."""
        query = (
            _waiting(pair[0].id, pair[1].id, *SegmentRow.__table__.columns)
            .where(
                SegmentRow.source_id == source_id,
                SegmentRow.modality.in_([m.value for m in among]),
            )
            .order_by(SegmentRow.ordinal)
        )
        with self._read() as connection:
            return [to_segment(row) for row in connection.execute(query)]

    def add_vectors(
        self, space_id: int, ids: Sequence[int], vectors: npt.NDArray[np.float16]
    ) -> int:
        """Write vectors (n, dimension) of segments into a space that is being built.

        Segments deleted meanwhile are left out. SpaceMismatchError if the switch was dropped.
        """
        make = (sqlite if self.engine.dialect.name == "sqlite" else postgresql).insert
        rows = dict(zip(ids, little_endian(vectors), strict=True))
        with self._write() as connection:
            state = connection.scalar(
                select(SpaceRow.state)
                .where(SpaceRow.id == space_id)
                .with_for_update(read=True, key_share=True)
            )
            if state != "building":
                raise SpaceMismatchError("the switch was dropped by another process")
            there: list[int] = []
            for chunk in chunks(list(rows)):
                there += connection.scalars(
                    select(SegmentRow.id)
                    .where(SegmentRow.id.in_(chunk))
                    .with_for_update(read=True, key_share=True)
                )
            values = [
                {"space_id": space_id, "segment_id": i, "data": rows[i].tobytes()} for i in there
            ]
            if values:
                connection.execute(make(VectorRow).on_conflict_do_nothing(), values)
        return len(there)

    # ------------------------------------------------------------------ taking its place

    def complete_switch(self, collection_id: int, completion: Completion) -> int:
        """Use the new models from now on, if no vector is wanting; returns how many are.

        One transaction, with a place in the change log. Writers of sources hold a lock on the
        spaces they write to (`check_writable`): what they add is either seen here, or refused.
        """
        with self._write() as connection:
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
            wanting = [
                row
                for new in building
                for row in connection.execute(
                    _waiting(active[new.space.name].id, new.id, SegmentRow.id, SegmentRow.source_id)
                ).all()
                if (new.id, row[0]) not in completion.unreadable
            ]
            unforeseen = sum(row[0] not in completion.forgone for row in wanting)
            if unforeseen:
                return unforeseen
            self._carry_recipes(connection, collection_id, completion)
            for chunk in chunks(sorted({row[1] for row in wanting})):
                connection.execute(
                    update(SourceRow).where(SourceRow.id.in_(chunk)).values(recipe=TAKE_AGAIN)
                )
            gone = {active[new.space.name].id for new in building}
            gone |= {active[name].id for name in completion.without if name in active}
            _set_state(connection, gone, "retired")
            _set_state(connection, {new.id for new in building}, "active")
            settings["models"] = dict(target.models)
            _save(connection, collection_id, settings, profile=target.profile)
            # Nothing is added or removed, but whoever follows the log looks again.
            log_change(connection, collection_id, 0, "add", [])
        return 0

    def _carry_recipes(
        self, connection: Connection, collection_id: int, completion: Completion
    ) -> None:
        for old, new in completion.recipes.items():
            where: list[ColumnElement[bool]] = [
                SourceRow.collection_id == collection_id,
                func.substr(SourceRow.recipe, 1, RECIPE_LENGTH) == old,
            ]
            if completion.heard_again:
                heard = or_(SourceRow.mime.like("audio/%"), SourceRow.mime.like("video/%"))
                where.append(~heard)
            connection.execute(
                update(SourceRow)
                .where(and_(*where))
                .values(recipe=new + func.substr(SourceRow.recipe, RECIPE_LENGTH + 1))
            )

    def abort_switch(self, collection_id: int) -> bool:
        """Drop what is being built; False if there was nothing."""
        with self._write() as connection:
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

    def remove_retired(self, space_id: int, batch: int = 5000) -> int:
        """Delete some vectors of a retired space, and the space with the last; 0: it is gone."""
        some = select(VectorRow.segment_id).where(VectorRow.space_id == space_id).limit(batch)
        with self._write() as connection:
            state = connection.scalar(
                select(SpaceRow.state).where(SpaceRow.id == space_id).with_for_update()
            )
            if state != "retired":  # taken up again by another switch, or gone
                return 0
            result = connection.execute(
                delete(VectorRow)
                .where(VectorRow.space_id == space_id, VectorRow.segment_id.in_(some))
                .execution_options(synchronize_session=False)
            )
            if not result.rowcount:
                connection.execute(delete(SpaceRow).where(SpaceRow.id == space_id))
            return int(result.rowcount)


def check_writable(connection: Connection, space_ids: Sequence[int]) -> None:
    """Hold the spaces that a transaction writes to. LibraryBusyError if one is out of use."""
    rows = connection.execute(
        select(SpaceRow.id, SpaceRow.state)
        .where(SpaceRow.id.in_(space_ids))
        .with_for_update(read=True)
    ).all()
    if len(rows) < len(space_ids) or any(row.state == "retired" for row in rows):
        raise LibraryBusyError(
            "the collection was switched to other models while this was being made: nothing of "
            "it was written. Run it again."
        )


def forgone_notes(connection: Connection, stored: StoredSpace) -> list[str]:
    """What is known to have no vector in a space in use, in words."""
    count = connection.scalar(
        select(func.count())
        .select_from(SegmentRow)
        .join(SourceRow, SourceRow.id == SegmentRow.source_id)
        .where(
            SourceRow.collection_id == stored.collection_id,
            SourceRow.recipe == TAKE_AGAIN,
            ~_has_vector(stored.id),
        )
    )
    if not count:
        return []
    note = (
        f"{count} segments have no vector in space '{stored.space.name}': their files could not "
        "be read when the models were switched. `mmsearch index` takes them in again once they "
        "can be read; with --prune it lets go of those that are gone"
    )
    return [note]


def described(target: SwitchTarget) -> str:
    """A target in words."""
    return " with ".join(
        [f"profile {target.profile}", *(f"{name}={model}" for name, model in target.models)]
    )


def _has_vector(space_id: int) -> ColumnElement[bool]:
    inner = aliased(VectorRow)
    return exists().where(inner.space_id == space_id, inner.segment_id == SegmentRow.id)


def _waiting(old: int, new: int, *columns: Any) -> Select[Any]:
    """Segments that have a vector in the old space and none in the new one."""
    return (
        select(*columns)
        .select_from(VectorRow)
        .join(SegmentRow, SegmentRow.id == VectorRow.segment_id)
        .where(VectorRow.space_id == old, ~_has_vector(new))
    )


def _insert_space(
    connection: Connection, collection_id: int, space: Space, state: State
) -> StoredSpace:
    new = connection.scalar(
        insert(SpaceRow)
        .values(
            collection_id=collection_id,
            name=space.name,
            model=space.model,
            revision=space.revision,
            fingerprint=space.fingerprint,
            dimension=space.dimension,
            metric=space.metric,
            state=state,
        )
        .returning(SpaceRow.id)
    )
    assert new is not None
    return StoredSpace(new, collection_id, space, state)


def _set_state(connection: Connection, ids: set[int], state: State) -> None:
    if ids:
        connection.execute(update(SpaceRow).where(SpaceRow.id.in_(sorted(ids))).values(state=state))


def _settings(connection: Connection, collection_id: int) -> dict[str, Any]:
    found = connection.scalar(
        select(CollectionRow.settings).where(CollectionRow.id == collection_id)
    )
    return dict(found or {})


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


def _target(found: Mapping[str, Any] | None) -> SwitchTarget | None:
    if found is None:
        return None
    return SwitchTarget(found["profile"], tuple(sorted(found["models"].items())))
