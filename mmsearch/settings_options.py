"""The settings as keyword arguments, for editors and type checkers.

Made by tools/settings_options.py from `mmsearch.settings.Settings`. tests/test_docs.py compares
the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict


class SettingsOptions(TypedDict, total=False):
    """What `Library.open` and `SearchEngine.open` take beside the library's folder.

    `Settings` describes each of them. None means: not given here.
    """

    database_url: str | None
    model_folder: str | Path | None
    allow_download: bool | None
    profile: str | None
    clip_model: str | None
    text_model: str | None
    whisper_model: str | None
    sound_model: str | None
    device: str | None
    precision: Literal["auto", "fp32", "bf16", "int8"] | None
    threads: int | None
    language: str | None
    transcription: Literal["sequential", "batched"] | None
    language_detection: Literal["stretch", "recording"] | None
    translate: bool | None
    speakers: Literal["none", "clustering", "pyannote"] | None
    speakers_model: str | None
    speech_max_compression: float | None
    speech_max_no_speech: float | None
    speech_min_logprob: float | None
    sounds: bool | None
    sound_similarity: float | None
    sound_span_seconds: float | None
    ocr: Literal["auto", "none", "rapidocr", "tesseract"] | None
    ocr_pictures: Literal["likely", "all"] | None
    workers: int | None
    batch_size: int | None
    commit_files: int | None
    commit_seconds: float | None
    decode_seconds: float | None
    decode_memory_mb: int | None
    require_confinement: bool | None
    max_image_pixels: int | None
    page_images: bool | None
    max_pages: int | None
    max_document_mb: int | None
    max_text_bytes: int | None
    max_audio_seconds: float | None
    max_shots: int | None
    max_segments: int | None
    audio_chunk_seconds: float | None
    max_archive_members: int | None
    max_archive_mb: int | None
    max_fetch_mb: int | None
    fetch_seconds: float | None
    fetch_private_addresses: bool | None
    thumbnail_pixels: int | None
    passage_tokens: int | None
    job_attempts: int | None
    job_lease_seconds: float | None
    captions: Literal["none", "local", "openai"] | None
    caption_model: str | None
    caption_url: str | None
    caption_api_key: str | None
    caption_pixels: int | None
    vector_backend: Literal["faiss", "memory"] | None
    index_device: Literal["auto", "cpu", "gpu"] | None
    index_exact_below: int | None
    index_k_factor: int | None
    snapshot_every: int | None
    follow_seconds: float | None
    limit: int | None
    min_score: float | None
    answer_score: float | None
    fusion: Literal["scores", "ranks"] | None
    weights: Mapping[str, float] | str | None
    candidates: int | None
    rerank: str | None
    rerank_top_n: int | None
    rerank_seconds: float | None
    rerank_weight: float | None
    rerank_fusion: Literal["score", "rank"] | None
    rerank_model: str | None
    rerank_text_model: str | None
    rerank_url: str | None
    rerank_api_key: str | None
    rerank_concurrency: int | None
    rerank_pixels: int | None
    rerank_examples: str | Path | None
    host: str | None
    port: int | None
    api_keys: Sequence[str] | None
    max_upload_mb: int | None
    query_batch: int | None
