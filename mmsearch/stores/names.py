"""Finding sources by what they are called: file name, title, tags and other metadata.

Full text has these words at the first segment of each modality of a source. A source in which
nothing was found (a silent recording, a film without a picture that could be read) has one `text`
segment without text, so that it is found by its name.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, select, update

from mmsearch.stores.change_log import ChangeLog
from mmsearch.stores.database import Database
from mmsearch.stores.dialects import Dialect
from mmsearch.stores.lexical.rows import rename_words
from mmsearch.stores.rows import IN_CHUNK, SEGMENTS, segment_values
from mmsearch.stores.tables import CollectionRow, SegmentRow, SourceRow
from mmsearch.types import Modality, SegmentDraft

NAME_ONLY = "name_only"
"""In the metadata of a segment without text: why the source has no other (`name_only_reason`)."""

WORDS_VERSION = 2
"""Counts up when other metadata is found like a name: the words of older collections are then
written again."""

_WORDS = "words_version"


def name_only_reason(mime: str) -> str:
    """Why a file of this media type has no segments, as a code."""
    if mime.startswith("audio/"):
        return "no_speech"
    if mime.startswith(("video/", "image/")):
        return "no_pictures"
    return "no_words"


def name_only_segment(mime: str) -> SegmentDraft:
    """The segment of a source in which nothing was found."""
    return SegmentDraft(Modality.TEXT, metadata={NAME_ONLY: name_only_reason(mime)})


def is_name_only(dialect: Dialect) -> ColumnElement[bool]:
    """Whether a segment is one of `name_only_segment`; such segments have no vectors."""
    return and_(
        SegmentRow.modality == Modality.TEXT.value,
        SegmentRow.ordinal == 0,
        SegmentRow.text.is_(None),
        dialect.json_has_key(SEGMENTS.c.metadata, NAME_ONLY),
    )


class NameStore:
    """What makes every indexed source findable by its name."""

    def __init__(self, database: Database, changes: ChangeLog) -> None:
        self._database = database
        self._changes = changes

    def complete(self, collection_id: int) -> int:
        """Bring what older versions have written up to date; returns the segments added.

        Sources without segments get one, and the words of names are written again if this version
        takes more of the metadata. No model is needed.
        """
        added = 0
        while count := self._add_missing(collection_id):
            added += count
        with self._database.read() as connection:
            settings = connection.scalar(
                select(CollectionRow.settings).where(CollectionRow.id == collection_id)
            )
        if (settings or {}).get(_WORDS) != WORDS_VERSION:
            self._rewrite(collection_id)
        return added

    def counts(self) -> dict[str, Any]:
        """{"sources", "reasons": {code: n}} of the sources that are found by their name only."""
        query = (
            select(SourceRow.mime, func.count())
            .join(SegmentRow, SegmentRow.source_id == SourceRow.id)
            .where(is_name_only(self._database.dialect))
            .group_by(SourceRow.mime)
        )
        reasons: Counter[str] = Counter()
        with self._database.read() as connection:
            for mime, count in connection.execute(query):
                reasons[name_only_reason(mime)] += count
        return {"sources": reasons.total(), "reasons": dict(reasons)}

    def _add_missing(self, collection_id: int) -> int:
        """Add the segments of some sources that have none."""
        query = (
            select(SourceRow.id, SourceRow.mime)
            .where(
                SourceRow.collection_id == collection_id,
                SourceRow.status == "indexed",
                ~exists().where(SegmentRow.source_id == SourceRow.id),
            )
            .limit(IN_CHUNK)
        )
        with self._database.write() as connection:
            _lock(connection, collection_id)
            sources = connection.execute(query).all()
            for source_id, mime in sources:
                values = segment_values(source_id, 0, name_only_segment(mime))
                segment_id = connection.scalar(
                    insert(SEGMENTS).values(**values).returning(SEGMENTS.c.id)
                )
                assert segment_id is not None
                rename_words(connection, source_id)
                self._changes.append(connection, collection_id, source_id, "add", [segment_id])
        return len(sources)

    def _rewrite(self, collection_id: int) -> None:
        """Write the words of all sources of a collection again, some in each transaction."""
        after = 0
        while True:
            with self._database.write() as connection:
                settings = _lock(connection, collection_id)
                ids = connection.scalars(
                    select(SourceRow.id)
                    .where(SourceRow.collection_id == collection_id, SourceRow.id > after)
                    .order_by(SourceRow.id)
                    .limit(IN_CHUNK)
                ).all()
                for source_id in ids:
                    rename_words(connection, source_id)
                if not ids:
                    connection.execute(
                        update(CollectionRow)
                        .where(CollectionRow.id == collection_id)
                        .values(settings={**settings, _WORDS: WORDS_VERSION})
                    )
                    return
            after = ids[-1]


def _lock(connection: Connection, collection_id: int) -> dict[str, Any]:
    """Let one process at a time bring a collection up to date; returns the settings."""
    settings = connection.scalar(
        select(CollectionRow.settings).where(CollectionRow.id == collection_id).with_for_update()
    )
    return dict(settings or {})
