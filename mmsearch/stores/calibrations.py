"""Calibrations, stored with the space that they were measured in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from mmsearch.stores.database import Database, now
from mmsearch.stores.tables import CalibrationRow, SpaceRow
from mmsearch.types import Modality


class CalibrationStore:
    """The table `calibrations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(
        self, space_id: int, modality: Modality, kind: str
    ) -> tuple[int, dict[str, Any]] | None:
        """The number of vectors when it was measured, and its data."""
        with self._database.read() as connection:
            row = connection.execute(
                select(CalibrationRow.size, CalibrationRow.data).where(
                    CalibrationRow.space_id == space_id,
                    CalibrationRow.modality == modality.value,
                    CalibrationRow.kind == kind,
                )
            ).one_or_none()
        return (row.size, row.data) if row is not None else None

    def save(
        self, space_id: int, modality: Modality, kind: str, size: int, data: Mapping[str, Any]
    ) -> None:
        """Save a calibration in place of the last one. Nothing happens if the space is gone."""
        key = {"space_id": space_id, "modality": modality.value, "kind": kind}
        with self._database.write() as connection:
            connection.execute(delete(CalibrationRow).filter_by(**key))
            if connection.scalar(select(SpaceRow.id).where(SpaceRow.id == space_id)) is not None:
                connection.execute(
                    insert(CalibrationRow).values(**key, size=size, data=dict(data), made_at=now())
                )
