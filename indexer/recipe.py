"""The fingerprint of what makes segments out of bytes: files indexed by another recipe are
indexed again."""

from __future__ import annotations

import hashlib
import json
import re

from mmsearch.models.sets import ModelSet
from mmsearch.settings import Settings

_WEIGHTS = re.compile(r"\+[0-9a-f]{12}")

LOADERS_VERSION = 3
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
    if settings.max_segments != type(settings).model_fields["max_segments"].default:
        ingredients.append(settings.max_segments)  # libraries of older versions keep their recipe
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:32]


def recorded_recipe(settings: Settings, models: ModelSet) -> str:
    """What is recorded with a source: `recipe`, and the content of the models' files."""
    weights = models.weights
    return recipe(settings, models) + (f"+{weights[:12]}" if weights else "")


def same_recipe(recorded: str, current: str) -> bool:
    """Whether a source with this recipe is up to date under the current one.

    The content of models' files is compared only if both recipes name it: older versions did
    not record it, and the files may not be on this machine.
    """
    (rest, weights), (current_rest, current_weights) = map(_split_recipe, (recorded, current))
    known = weights and current_weights
    return rest == current_rest and (not known or weights == current_weights)


def _split_recipe(recipe: str) -> tuple[str, str]:
    """A recipe without the content of models' files, and that content, "" if it names none."""
    weights = _WEIGHTS.search(recipe)
    return _WEIGHTS.sub("", recipe), weights[0] if weights else ""
