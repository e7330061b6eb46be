"""Decoding requests within the limits that the settings name."""

from __future__ import annotations

from typing import Any

from mmsearch.media.parts import DecodeRequest
from mmsearch.settings import Settings


def decode_request(settings: Settings, **wanted: Any) -> DecodeRequest:
    """A request for `wanted` (fields of `DecodeRequest`), limited as `settings` say."""
    return DecodeRequest(
        max_image_pixels=settings.max_image_pixels,
        max_text_bytes=settings.max_text_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        audio_chunk_seconds=settings.audio_chunk_seconds,
        max_shots=settings.max_shots,
        page_images=settings.page_images,
        max_pages=settings.max_pages,
        max_archive_bytes=settings.max_document_mb * 2**20,
        **wanted,
    )
