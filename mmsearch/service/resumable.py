"""Uploads that survive a broken connection: the tus protocol 1.0, https://tus.io/protocols.

Core with the extensions creation, creation-with-upload, expiration and termination. The bytes
received so far are a file in `<library>/media/.incoming`. Its length is the offset, so that a
restart of the server loses nothing that was written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mmsearch.service.errors import RequestError
from mmsearch.service.targets import read_flag
from mmsearch.service.uploads import (
    INCOMING_FOLDER,
    MEDIA_FOLDER,
    safe_name,
    store_by_content,
)

MAX_UNFINISHED = 1000
FREE_BYTES = 256 * 2**20
"""Of the disk, which unfinished uploads leave free for the database and its indexes."""

EXPIRY_SECONDS = 24 * 3600.0
"""For this long an unfinished upload can be continued."""

_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, as its record on disk describes it."""

    id: str
    length: int
    name: str
    collection: str | None
    metadata: str
    """As the client sent it. HEAD returns it."""
    job: int | None = None
    """Once it is complete."""
    create: bool = False
    """Whether the collection is made if it does not exist."""


class ResumableUploads:
    """The uploads of one library. Blocking: every method is run in a thread."""

    def __init__(self, library: Path) -> None:
        self._media = library.absolute() / MEDIA_FOLDER
        self._folder = self._media / INCOMING_FOLDER

    def create(self, length: int, metadata: str) -> Upload:
        """A new upload of `length` bytes. Raises RequestError 400, 429, 503, QueryError."""
        fields = parse_metadata(metadata)
        # A key that stands alone is a flag.
        create = "create" in fields and read_flag(fields["create"] or "true", "create")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.delete_expired()
        self._check_room(length)
        upload = Upload(
            secrets.token_hex(16),
            length,
            safe_name(fields.get("filename", fields.get("name", ""))),
            fields.get("collection", "").strip() or None,
            metadata,
            create=create,
        )
        self._data(upload.id).touch(exist_ok=False)
        self._write_record(upload)
        return upload

    def _check_room(self, length: int) -> None:
        """Raise RequestError if there are too many unfinished uploads, or their bytes do not fit.

        What is promised to unfinished uploads counts as used.
        """
        waiting = [record for record in self._folder.glob("*.json") if self._is_waiting(record)]
        if len(waiting) >= MAX_UNFINISHED:
            raise RequestError(
                429, "too_many_uploads",
                f"{len(waiting)} uploads are unfinished already. Continue or delete some.",
                headers={"Retry-After": "60"},
            )  # fmt: skip
        promised = 0
        for record in waiting:
            with suppress(RequestError):
                upload, offset = self.find(record.stem)
                promised += upload.length - offset
        free = shutil.disk_usage(self._folder).free
        if promised + length > free - FREE_BYTES:
            raise RequestError(
                503, "no_space", "The disk has no room for an upload of this length.",
                param="Upload-Length", headers={"Retry-After": "60"},
            )  # fmt: skip

    def _is_waiting(self, record: Path) -> bool:
        return self._data(record.stem).exists()

    def find(self, upload_id: str) -> tuple[Upload, int]:
        """(upload, offset). Raises RequestError 404."""
        gone = RequestError(404, "not_found", "There is no such upload, or it has expired.")
        if not _ID.fullmatch(upload_id):
            raise gone
        try:
            upload = Upload(**json.loads(self._record(upload_id).read_text("utf-8")))
            if upload.job is not None:
                return upload, upload.length
            return upload, self._data(upload_id).stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            raise gone from None

    def expires_at(self, upload: Upload) -> float:
        """Seconds since 1970."""
        with suppress(OSError):
            return self._record(upload.id).stat().st_mtime + EXPIRY_SECONDS
        return time.time()

    def append(self, upload: Upload, chunk: bytes) -> None:
        """More bytes at the end."""
        with self._data(upload.id).open("ab") as file:
            file.write(chunk)

    def store(self, upload: Upload) -> Path:
        """A complete upload: durable on disk, under its content's name.

        A second name for the same bytes stays until `complete`: should the process die in between,
        finishing can begin again.
        """
        path = self._data(upload.id)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        second_name = path.with_suffix(".link")
        second_name.unlink(missing_ok=True)
        os.link(path, second_name)
        return store_by_content(self._media, second_name, upload.name, digest)

    def complete(self, upload: Upload, job: int) -> Upload:
        """Record the job that indexes it."""
        finished = replace(upload, job=job)
        self._write_record(finished)
        self._data(upload.id).unlink(missing_ok=True)
        return finished

    def delete(self, upload_id: str) -> None:
        """Delete an upload. Raises RequestError 404."""
        self.find(upload_id)
        self._data(upload_id).unlink(missing_ok=True)
        self._record(upload_id).unlink(missing_ok=True)

    def delete_expired(self) -> None:
        """Delete uploads that nobody continued, and forms that a crash of the server cut off."""
        for path in self._folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > EXPIRY_SECONDS:
                    path.unlink()

    def _data(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.part"

    def _record(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"

    def _write_record(self, upload: Upload) -> None:
        aside = self._record(upload.id).with_suffix(".new")
        aside.write_text(json.dumps(asdict(upload)), "utf-8")
        aside.replace(self._record(upload.id))


def parse_metadata(header: str) -> Mapping[str, str]:
    """Upload-Metadata: `key base64, key base64`; a key may stand alone. Raises RequestError 400."""
    fields: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            if not _KEY.fullmatch(key) or key in fields:
                raise ValueError
            fields[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (ValueError, binascii.Error):
            raise RequestError(
                400, "malformed_metadata", "Upload-Metadata is a list of `key base64`.",
                param="Upload-Metadata",
            ) from None  # fmt: skip
    return fields
