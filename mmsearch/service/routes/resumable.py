"""Resumable uploads over HTTP: tus 1.0 at /v1/uploads/resumable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from mmsearch.errors import MMSearchError
from mmsearch.protocols import Ingestor
from mmsearch.service.answers import errors
from mmsearch.service.bodies import content_type_of
from mmsearch.service.errors import RequestError
from mmsearch.service.resumable import ResumableUploads, Upload
from mmsearch.service.targets import target_collection
from mmsearch.service.uploads import IN_USE, on_disk

if TYPE_CHECKING:
    from mmsearch.library import LibrarySearcher

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
CONTENT = "application/offset+octet-stream"
PATH = "/v1/uploads/resumable"
MAX_METADATA = 16 * 1024


def router(engine: LibrarySearcher, ingestor: Ingestor | None) -> APIRouter:
    """Complete uploads become jobs of the ingestor; without one they are refused."""
    routes = APIRouter(tags=["uploads"])
    limit = engine.settings.max_upload_mb * 2**20
    store = engine.library.store
    uploads = ResumableUploads(engine.settings.library)
    writing: set[str] = set()

    def answer(status: int, upload: Upload | None = None, **headers: str) -> Response:
        sent = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
        if upload is not None and upload.job is not None:
            sent["Upload-Job"] = f"/v1/jobs/{upload.job}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(status_code=status, headers=sent | named)

    @contextmanager
    def alone(upload_id: str) -> Iterator[None]:
        """Only one request writes at a time: two could continue from the same offset."""
        if upload_id in writing:
            raise RequestError(
                423, "upload_busy", "Another request is writing to this upload.",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        writing.add(upload_id)
        try:
            yield
        finally:
            writing.discard(upload_id)

    async def receive(request: Request, upload: Upload, offset: int) -> tuple[Upload, int]:
        """Append the body. What was received when the client disconnects stays."""
        async for chunk in request.stream():
            if offset + len(chunk) > upload.length:
                raise RequestError(
                    413, "body_too_large", "The body is longer than Upload-Length.",
                    headers={"Connection": "close"},
                )  # fmt: skip
            if chunk:
                await on_disk(uploads.append, upload, chunk)
                offset += len(chunk)
        if offset == upload.length and upload.job is None:
            upload = await finished(upload)
        return upload, offset

    async def finished(upload: Upload) -> Upload:
        assert ingestor is not None
        path = await on_disk(uploads.store, upload)
        try:
            collection = await asyncio.to_thread(
                target_collection, store, upload.collection, create=upload.create
            )
            job = await asyncio.to_thread(ingestor.submit, [path], collection)
        finally:
            IN_USE.release([path])
        return await on_disk(uploads.complete, upload, job)

    @routes.options(PATH, status_code=204, response_class=Response, include_in_schema=False)
    async def options() -> Response:
        return answer(204, Tus_Version=VERSION, Tus_Extension=EXTENSIONS, Tus_Max_Size=str(limit))

    @routes.post(
        PATH,
        summary="Begin a resumable upload",
        status_code=201,
        response_class=Response,
        responses={
            201: {"description": "`Location` is where the bytes go (tus 1.0)."},
            **errors(400, 404, 413, 415, 422, 429, 503),
        },
    )
    async def create(request: Request) -> Response:
        """Headers `Upload-Length` and `Upload-Metadata` (filename, collection); then `PATCH`."""
        check_version(request)
        if ingestor is None:
            raise RequestError(503, "no_ingestor", "This service takes no uploads.")
        length = _number(request.headers, "Upload-Length")
        if length > limit:
            raise RequestError(
                413, "body_too_large", f"Uploads have at most {limit} bytes.",
                param="Upload-Length",
            )  # fmt: skip
        if not length:
            raise RequestError(422, "empty_file", "The file is empty.", param="Upload-Length")
        metadata = request.headers.get("Upload-Metadata", "")
        if len(metadata) > MAX_METADATA:
            raise RequestError(
                400, "malformed_metadata", "Upload-Metadata is too long.", param="Upload-Metadata"
            )
        body = content_type_of(request)
        if body not in {"", CONTENT}:
            raise RequestError(415, "unsupported_media_type", f"Send {CONTENT}, not {body}.")
        upload = await on_disk(uploads.create, length, metadata)
        try:
            await asyncio.to_thread(
                target_collection, store, upload.collection, create=upload.create
            )
        except MMSearchError:
            await on_disk(uploads.delete, upload.id)
            raise
        offset = 0
        if body:
            with alone(upload.id):
                upload, offset = await receive(request, upload, 0)
        return answer(
            201,
            upload,
            Location=f"{PATH}/{upload.id}",
            Upload_Offset=str(offset),
            Upload_Expires=formatdate(uploads.expires_at(upload), usegmt=True),
        )

    @routes.head(PATH + "/{id}", response_class=Response, include_in_schema=False)
    async def offset_of(id: str, request: Request) -> Response:  # noqa: A002
        check_version(request)
        upload, offset = await on_disk(uploads.find, id)
        return answer(
            200,
            upload,
            Upload_Offset=str(offset),
            Upload_Length=str(upload.length),
            Upload_Expires=formatdate(uploads.expires_at(upload), usegmt=True),
            **({"Upload_Metadata": upload.metadata} if upload.metadata else {}),
        )

    @routes.patch(
        PATH + "/{id}",
        summary="Continue an upload",
        status_code=204,
        response_class=Response,
        responses={
            204: {"description": "`Upload-Offset` bytes are here; complete, `Upload-Job` is set."},
            **errors(404, 409, 413, 415, 422, 503),
        },
    )
    async def append(id: str, request: Request) -> Response:  # noqa: A002
        """The bytes from `Upload-Offset` on, which `HEAD` returns."""
        check_version(request)
        kind = content_type_of(request)
        if kind != CONTENT:
            raise RequestError(
                415, "unsupported_media_type", f"Send {CONTENT}, not {kind or 'nothing'}."
            )
        with alone(id):
            upload, offset = await on_disk(uploads.find, id)
            if _number(request.headers, "Upload-Offset") != offset:
                raise RequestError(
                    409, "wrong_offset", f"{offset} bytes are here.", param="Upload-Offset",
                    headers={"Upload-Offset": str(offset)},
                )  # fmt: skip
            try:
                upload, offset = await receive(request, upload, offset)
            except ClientDisconnect:
                return answer(499)  # nobody reads it
        return answer(
            204,
            upload,
            Upload_Offset=str(offset),
            Upload_Expires=formatdate(uploads.expires_at(upload), usegmt=True),
        )

    @routes.delete(
        PATH + "/{id}",
        summary="Delete an upload",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "It is deleted."}, **errors(404, 422)},
    )
    async def delete(id: str, request: Request) -> Response:  # noqa: A002
        """Files that were indexed already stay."""
        check_version(request)
        with alone(id):
            await on_disk(uploads.delete, id)
        return answer(204)

    return routes


def check_version(request: Request) -> None:
    """Raise RequestError 412 unless the client speaks our version."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise RequestError(
            412, "wrong_version", f"Send the header Tus-Resumable: {VERSION}.",
            param="Tus-Resumable", headers={"Tus-Version": VERSION},
        )  # fmt: skip


def _number(headers: Mapping[str, str], name: str) -> int:
    value = headers.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise RequestError(422, "invalid_parameter", f"{name} is a number of bytes.", param=name)
    return int(value)
