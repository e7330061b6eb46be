"""Uploads that survive a broken connection: the tus protocol 1.0, https://tus.io/protocols.

Core with the extensions creation, creation-with-upload, expiration and termination. What has
come lies in `<library>/media/.incoming`; its length is the offset, so that a restart of the
server, or the loss of its memory, costs nothing that was written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mmsearch.service.errors import RequestError
from mmsearch.service.uploads import (
    INCOMING_FOLDER,
    MEDIA_FOLDER,
    keep_by_content,
    safe_name,
)

KEPT_SECONDS = 24 * 3600.0
"""For which an unfinished upload can be gone on with."""

_ID = re.compile(r"[0-9a-f]{32}")
_KEY = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload, as its note on disk has it."""

    id: str
    length: int
    name: str
    collection: str | None
    metadata: str
    """As the client sent it, to be given back."""
    job: int | None = None
    """Once it is complete."""


class ResumableUploads:
    """The uploads of one library. Blocking: every method is run in a thread."""

    def __init__(self, library: Path) -> None:
        self._media = library.absolute() / MEDIA_FOLDER
        self._folder = self._media / INCOMING_FOLDER

    def create(self, length: int, metadata: str) -> Upload:
        """A new upload of `length` bytes. Raises RequestError 400."""
        fields = parse_metadata(metadata)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.clear()
        upload = Upload(
            secrets.token_hex(16),
            length,
            safe_name(fields.get("filename", fields.get("name", ""))),
            fields.get("collection", "").strip()[:200] or None,
            metadata,
        )
        self._data(upload.id).touch(exist_ok=False)
        self._write_note(upload)
        return upload

    def find(self, upload_id: str) -> tuple[Upload, int]:
        """(upload, offset). Raises RequestError 404."""
        gone = RequestError(404, "not_found", "There is no such upload, or it has run out.")
        if not _ID.fullmatch(upload_id):
            raise gone
        try:
            upload = Upload(**json.loads(self._note(upload_id).read_text("utf-8")))
            if upload.job is not None:
                return upload, upload.length
            return upload, self._data(upload_id).stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            raise gone from None

    def expires_at(self, upload: Upload) -> float:
        """Seconds since 1970."""
        with suppress(OSError):
            return self._note(upload.id).stat().st_mtime + KEPT_SECONDS
        return time.time()

    def append(self, upload: Upload, chunk: bytes) -> None:
        """More bytes at the end."""
        with self._data(upload.id).open("ab") as file:
            file.write(chunk)

    def keep(self, upload: Upload) -> Path:
        """A complete upload: durable on disk, under its content's name.

        A second name for the same bytes stays until `done`: should the process die in between,
        finishing can begin again.
        """
        path = self._data(upload.id)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        twin = path.with_suffix(".twin")
        twin.unlink(missing_ok=True)
        os.link(path, twin)
        return keep_by_content(self._media, twin, upload.name, digest)

    def done(self, upload: Upload, job: int) -> Upload:
        """Note the job that takes it in."""
        finished = replace(upload, job=job)
        self._write_note(finished)
        self._data(upload.id).unlink(missing_ok=True)
        return finished

    def drop(self, upload_id: str) -> None:
        """Forget it. Raises RequestError 404."""
        self.find(upload_id)
        self._data(upload_id).unlink(missing_ok=True)
        self._note(upload_id).unlink(missing_ok=True)

    def clear(self) -> None:
        """Let go of what nobody has gone on with; also of forms that broke off with the server."""
        for path in self._folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def _data(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.part"

    def _note(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.json"

    def _write_note(self, upload: Upload) -> None:
        aside = self._note(upload.id).with_suffix(".new")
        aside.write_text(json.dumps(asdict(upload)), "utf-8")
        aside.replace(self._note(upload.id))


def parse_metadata(header: str) -> Mapping[str, str]:
    """Upload-Metadata: `key base64, key base64`; a key may stand alone. Raises RequestError 400."""
    found: dict[str, str] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        try:
            if not _KEY.fullmatch(key) or key in found:
                raise ValueError
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (ValueError, binascii.Error):
            raise RequestError(
                400, "malformed_metadata", "Upload-Metadata is a list of `key base64`.",
                param="Upload-Metadata",
            ) from None  # fmt: skip
    return found
