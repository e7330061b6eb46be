"""The fingerprint of what makes segments out of bytes: files indexed by another recipe are
indexed again."""

from __future__ import annotations

import hashlib
import json

from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings

LOADERS_VERSION = 2
"""Counts up whenever decoders or segmenters make something else of the same bytes: everything
indexed before is then indexed again."""


def recipe(settings: Settings, models: ModelSet) -> str:
    """32 hex digits over the version of the code, the models and the settings that change
    segments. Loads no model."""
    ingredients = [
        LOADERS_VERSION,
        models.recipe,
        settings.passage_tokens,
        settings.audio_chunk_seconds,
        settings.language,
        settings.transcription,
        [settings.ocr_pictures, settings.page_images, settings.max_pages],
        [settings.sound_similarity, settings.sound_span_seconds],
        [settings.language_detection, settings.translate, settings.speakers],
        [settings.speech_max_compression, settings.speech_max_no_speech],
        settings.speech_min_logprob,
        [settings.captions, settings.caption_model, settings.caption_url],
    ]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:32]
