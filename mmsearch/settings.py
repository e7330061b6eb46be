"""Every option of mmsearch, defined once.

A setting has the same name everywhere: as the field here, as the environment variable
`MMSEARCH_<NAME>`, as a line of `<library>/settings.toml`, on the command line as
`--set name=value`, and as a keyword argument of `open`. The tables of
docs/settings.md and README and `mmsearch/settings_options.py` are generated from this class
(tools/settings_table.py, tools/settings_options.py).
Precedence: command line or Python, environment, settings.toml, default.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class Settings(BaseSettings):
    """The configuration of one library, immutable (see `load_settings`)."""

    model_config = SettingsConfigDict(env_prefix="MMSEARCH_", extra="forbid", frozen=True)

    # ------------------------------------------------------------------ where things are
    library: Path = Field(
        Path("mmsearch-library"),
        description="Folder that holds the database, the FAISS snapshots and the thumbnails.",
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the metadata database; default: SQLite in the library.",
    )
    model_folder: Path = Field(
        Path("~/.cache/mmsearch/models"),
        description="Where local model folders are looked for before any hub or cache.",
    )
    allow_download: bool = Field(
        True, description="Let the model libraries fetch public checkpoints that are not local."
    )

    # ------------------------------------------------------------------ models
    profile: str | None = Field(
        None,
        description="Model profile: nano, small, base or best. "
        "Default: the collection's own; base for a new one.",
    )
    clip_model: str | None = Field(
        None, description="Another open_clip model in place of the profile's, by name."
    )
    text_model: str | None = Field(
        None, description="Another sentence-transformers model in place of the profile's."
    )
    whisper_model: str | None = Field(
        None, description="Another faster-whisper model in place of the profile's."
    )
    sound_model: str | None = Field(
        None, description="Another CLAP model in place of the profile's, by hub id or folder."
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="Arithmetic of the image and text towers. auto: the fastest whose vectors "
        "agree with fp32 (cosine 0.9995, probed at load): bf16 where it is native, int8 on the "
        "CPU, else fp32.",
    )
    threads: int = Field(0, ge=0, description="Threads for model arithmetic; 0: one per core.")
    language: str | None = Field(
        None, description="Language of recordings (ISO 639-1); default: detected."
    )
    transcription: Literal["sequential", "batched"] = Field(
        "sequential", description="Whisper decoding: sequential for quality, batched for speed."
    )

    # ------------------------------------------------------------------ speech
    language_detection: Literal["stretch", "recording"] = Field(
        "stretch",
        description="stretch: the language may change within a recording. recording: the beginning "
        "decides.",
    )
    translate: bool = Field(
        False,
        description="Translate recordings into English with Whisper (not with nano, English-only or"
        " turbo models).",
    )
    speakers: Literal["none", "clustering", "pyannote"] = Field(
        "clustering",
        description="Speaker diarization. clustering: built in, for few speakers. pyannote: needs "
        "the extra pyannote. none: off.",
    )
    speakers_model: str = Field(
        "pyannote/speaker-diarization-3.1", description="pyannote pipeline: hub id or folder."
    )
    speech_max_compression: float | None = Field(
        None,
        gt=0,
        description="Recognised text that compresses better than this is dropped as repetition. "
        "Default: the model's own, 2.4.",
    )
    speech_max_no_speech: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Text is dropped where silence is likelier than this and the words are "
        "improbable too. Default: the model's own, 0.6.",
    )
    speech_min_logprob: float | None = Field(
        None,
        le=0,
        description="Mean log probability below which words are improbable. "
        "Default: the model's own, -1.",
    )

    # ------------------------------------------------------------------ sound
    sounds: bool = Field(
        True,
        description="Index sounds other than speech, if the profile has a sound model.",
    )
    sound_similarity: float = Field(
        0.85,
        ge=-1,
        le=1,
        description="Neighbouring windows of sound with at least this cosine become one span.",
    )
    sound_span_seconds: float = Field(
        60.0, ge=10, description="Longest span of one sound, in seconds. A longer sound is split."
    )

    ocr: Literal["auto", "none", "rapidocr", "tesseract"] = Field(
        "auto",
        description="OCR engine for pictures and scanned pages. auto: RapidOCR, whose package "
        "contains its models.",
    )
    ocr_pictures: Literal["likely", "all"] = Field(
        "likely",
        description="Pictures and video frames that are read by OCR. likely: those that seem to "
        "contain text (the check takes 1 to 2 ms). all: every one (about 0.1 s each).",
    )

    # ------------------------------------------------------------------ indexing
    workers: int = Field(0, ge=0, description="Decoding processes; 0: one per core, at most 8.")
    batch_size: int = Field(32, ge=1, description="Images or texts embedded in one call.")
    commit_files: int = Field(64, ge=1, description="Files written in one SQL transaction.")
    commit_seconds: float = Field(
        5.0, gt=0, description="Longest time that finished files wait for their transaction."
    )
    decode_seconds: float = Field(
        60.0, gt=0, description="Longest time a worker may take for one step of decoding."
    )
    decode_memory_mb: int = Field(
        3072,
        ge=256,
        description="Address space of a decoding worker in MiB; beyond it the file fails.",
    )
    require_confinement: bool = Field(
        False,
        description="Refuse to decode where the system cannot confine decoding workers fully "
        "(Landlock, seccomp and resource limits of Linux).",
    )
    max_image_pixels: int = Field(
        200_000_000,
        ge=1,
        description="Pictures with more pixels are refused as decompression bombs.",
    )
    page_images: bool = Field(
        True, description="Make the pages of PDF documents searchable as pictures, too."
    )
    max_pages: int = Field(
        5000, ge=1, description="Pages, slides or sheets of a document that are read."
    )
    max_document_mb: int = Field(
        512, ge=1, description="MiB that a zipped document (Office, EPUB) may unpack to."
    )
    max_text_bytes: int = Field(
        64 * 2**20, ge=1, description="Text files longer than this are refused."
    )
    max_audio_seconds: float = Field(
        6 * 3600.0, gt=0, description="Recordings and films longer than this are refused."
    )
    max_shots: int = Field(
        2000,
        ge=1,
        description="Maximum number of shots of a film. With more, neighbouring shots are joined.",
    )
    max_segments: int = Field(
        50_000,
        ge=1,
        description="Maximum number of segments of a file. The rest of it is left out, with a "
        "warning in its metadata.",
    )
    audio_chunk_seconds: float = Field(
        1200.0,
        gt=30,
        description="Long recordings are split at silences into chunks of about this length.",
    )
    max_archive_members: int = Field(
        1_000_000, ge=1, description="Maximum number of files read from one tar shard."
    )
    max_archive_mb: int = Field(
        16_384, ge=1, description="MiB that a compressed shard may unpack to."
    )
    max_fetch_mb: int = Field(512, ge=1, description="Largest file fetched from a URL, in MiB.")
    fetch_seconds: float = Field(120.0, gt=0, description="Longest time to fetch one URL.")
    fetch_private_addresses: bool = Field(
        False,
        description="Let URLs lead to loopback, private and link-local addresses; by default "
        "they are refused, after DNS and on every redirect.",
    )
    thumbnail_pixels: int = Field(320, ge=32, description="Longest side of a thumbnail.")
    passage_tokens: int = Field(
        120, ge=16, description="Passages are filled with whole sentences up to this many tokens."
    )

    job_attempts: int = Field(
        5, ge=1, description="Number of attempts before a job counts as failed."
    )
    job_lease_seconds: float = Field(
        30.0,
        gt=0.2,
        description="A worker that does not renew its lease for this long loses its job.",
    )

    # ------------------------------------------------------------------ captions
    captions: Literal["none", "local", "openai"] = Field(
        "none",
        description="Caption pictures and video frames while indexing. none: off. local: a "
        "vision-language model on this machine. openai: an OpenAI-compatible server.",
    )
    caption_model: str | None = Field(
        None,
        description="Captioning model: hub id or folder. Default: the profile's. With "
        "captions=openai: the server's name for it.",
    )
    caption_url: str | None = Field(
        None,
        description="Base URL of the captioning server, for example http://127.0.0.1:8000/v1. All "
        "pictures that are indexed are sent there.",
    )
    caption_api_key: SecretStr | None = Field(
        None, description="API key of the captioning server, sent as a Bearer token."
    )
    caption_pixels: int = Field(
        512, ge=64, le=2048, description="Longest side of a picture that is captioned."
    )

    # ------------------------------------------------------------------ vector index
    vector_backend: Literal["faiss", "memory"] = Field(
        "faiss",
        description="faiss: FAISS indexes with snapshot files. memory: exact NumPy search in "
        "memory, rebuilt at each start (for a few thousand segments).",
    )
    index_device: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="Where FAISS indexes live; auto: on the GPUs if FAISS has any."
    )
    index_exact_below: int = Field(
        20_000, ge=0, description="Up to this many vectors an index is exact (Flat)."
    )
    index_k_factor: int = Field(
        30, ge=1, description="Compressed candidates refined exactly, per requested hit."
    )
    snapshot_every: int = Field(
        5_000, ge=1, description="Write a new FAISS snapshot after this many replayed changes."
    )
    follow_seconds: float = Field(
        0.25, gt=0, description="How often a service looks for new committed changes."
    )

    # ------------------------------------------------------------------ search
    limit: int = Field(10, ge=1, le=1000, description="Hits per result if a query names no limit.")
    min_score: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Hits with a lower score are left out. Only for queries in words without a "
        "filter and without a min_score of their own.",
    )
    answer_score: float = Field(
        0.5,
        ge=0,
        le=1,
        description="No hits are returned if the best one scores less than this and does not stand "
        "out. Same queries as min_score. Libraries of fewer than 50 vectors always "
        "answer.",
    )
    fusion: Literal["scores", "ranks"] = Field(
        "scores",
        description="Channels are fused by calibrated scores; ranks is accepted and has no effect.",
    )
    weights: Annotated[dict[str, Annotated[float, Field(ge=0, le=10)]], NoDecode] = Field(
        {},
        description='Weights of channels, 0 to 10: by name ("clip:image") or all of a space '
        '("lexical"); 1 if not given. Collections and queries may have their own.',
    )
    candidates: int = Field(
        100, ge=1, description="First-stage candidates per channel (at least the limit)."
    )

    # ------------------------------------------------------------------ reranking
    rerank: str = Field(
        "none",
        description="Reranker of the best hits: none, auto, vlm, blip2, cross-encoder, openai, "
        "server, or two of them as vlm+cross-encoder (pictures+texts).",
    )
    rerank_top_n: int = Field(20, ge=1, le=200, description="Number of hits that are reranked.")
    rerank_seconds: float = Field(
        10.0,
        gt=0,
        description="Time limit of reranking. Hits without a score by then count as average.",
    )
    rerank_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight of the reranker in the final score. 1: the reranker alone.",
    )
    rerank_fusion: Literal["score", "rank"] = Field(
        "score",
        description="Combine the reranker with the first stage by score or by rank. With rank, the "
        "order of modalities stays as it was.",
    )
    rerank_model: str | None = Field(
        None,
        description="Reranking model: name, hub id or folder. Default: the profile's. With openai "
        "and server: the server's name for it.",
    )
    rerank_text_model: str | None = Field(
        None, description="Another cross-encoder in place of the profile's."
    )
    rerank_url: str | None = Field(
        None,
        description="URL of an OpenAI-compatible server or of a /rerank server, for example "
        "http://127.0.0.1:8000/v1. Texts and pictures of the best hits are sent there.",
    )
    rerank_api_key: SecretStr | None = Field(
        None, description="API key of the reranking server, sent as a Bearer token."
    )
    rerank_concurrency: int = Field(
        8, ge=1, le=64, description="Concurrent requests to the reranking server."
    )
    rerank_pixels: int = Field(
        512 * 512,
        ge=32 * 32,
        description="Maximum number of pixels of a picture that is reranked. Larger pictures are "
        "scaled down.",
    )
    rerank_examples: Path | None = Field(
        None,
        description="JSON file of worked examples for the prompt: a list of "
        '{"query", "text" or "image" (a file beside it), "answer": true or false}.',
    )

    # ------------------------------------------------------------------ service
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8765, ge=0, le=65535, description="Port to listen on. 0: any free port.")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Accepted API keys (Authorization: Bearer). Required if host is not a loopback "
        "address.",
    )
    max_upload_mb: int = Field(512, ge=1, description="Largest upload in MiB.")
    query_batch: int = Field(16, ge=1, description="Concurrent queries encoded in one call.")

    @field_validator("weights", mode="before")
    @classmethod
    def _parse_weights(cls, value: Any) -> Any:
        """Text from the environment or `--set`: a JSON object, or `lexical=0.5,clip:image=2`."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        return {name.strip(): weight for name, _, weight in pairs}

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_api_keys(cls, value: Any) -> Any:
        """Text from the environment or `--set`: a JSON list, or `first,second`."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [key.strip() for key in value.split(",") if key.strip()]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before environment. `load_settings` adds the library's file."""
        return (init_settings, env_settings)


def decoding_workers(settings: Settings) -> int:
    """How many decoding processes to run."""
    return settings.workers or min(os.cpu_count() or 1, 8)
