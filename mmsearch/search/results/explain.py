"""Why a hit has its rank: its channels, the words that match, where in the picture."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsearch.errors import MMSearchError, NotFoundError, QueryError
from mmsearch.models.sets import ModelSet
from mmsearch.protocols import ImageExplainer, ImageTextEmbedder, TextEmbedder
from mmsearch.query import ChannelScore, Explanation, Hit, Match
from mmsearch.search.pictures import Pictures
from mmsearch.stores.lexical.analysis import tokens, tokens_with_places
from mmsearch.types import VISUAL, RerankScore, Segment, Source

MAX_SENTENCES = 256
"""Sentences of one result that are compared with the query."""

OVERLAY_PIXELS = 320
"""Longest side of a heat map as a picture."""

_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…]*[\"'”’)\]]*")
_COMMON_WORDS = (
    "a an and are as at be by did do does for from had has have he her his i in is it its me my "
    "not of on or our she so that the their them they this to was we were what when where which "
    "who will with you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_SHORTEST_STEM = 4
_LONGEST_ENDING = 3


def with_reasons(hits: Sequence[Hit], rerank_scores: Mapping[int, RerankScore]) -> tuple[Hit, ...]:
    """The hits with what the reranker wrote about them; scores are by segment."""
    return tuple(
        replace(hit, reason=rerank_scores[hit.segment.id].reason)
        if hit.segment.id in rerank_scores
        else hit
        for hit in hits
    )


def explained(
    hits: Sequence[Hit],
    words: str,
    models: ModelSet,
    scored_by: Mapping[int, str],
) -> tuple[Hit, ...]:
    """The hits with their explanations; `words` are those of the query, "" if it has none."""
    keywords = _keywords(words)
    near = _nearest_sentences(hits, words, models.text) if words else {}
    clip = models.clip
    visible = bool(words) and _shows_where(clip)
    return tuple(
        replace(
            hit,
            explanation=Explanation(
                channels=channels_of(hit.scores),
                first_stage=hit.scores.get("first_stage", hit.score),
                rerank=hit.scores.get("rerank"),
                reranker=scored_by.get(hit.segment.id),
                matches=(*word_matches(hit.segment.text or "", keywords), *near.get(i, ())),
                heat_map=visible and hit.segment.modality in VISUAL,
            ),
        )
        for i, hit in enumerate(hits)
    )


def _shows_where(embedder: ImageTextEmbedder) -> TypeGuard[ImageExplainer]:
    """As isinstance, which before Python 3.12 would ask for `heat_preprocess` and so make the
    model find out how it makes maps."""
    return hasattr(type(embedder), "heat_map")


def channels_of(scores: Mapping[str, float]) -> tuple[ChannelScore, ...]:
    """`Hit.scores` by channel: from "clip:image", "clip:image:rank" and so on."""
    channels: dict[str, dict[str, float]] = {}
    for key, value in scores.items():
        name, _, part = key.rpartition(":")
        if part in ("rank", "calibrated") and name:
            channels.setdefault(name, {})[part] = value
        elif key not in ("rerank", "first_stage") and part not in ("share", "certainty"):
            channels.setdefault(key, {})["raw"] = value
    return tuple(
        ChannelScore(
            name,
            rank=int(values["rank"]) if "rank" in values else None,
            raw=values["raw"],
            calibrated=values.get("calibrated"),
        )
        for name, values in channels.items()
        if "raw" in values
    )


# ------------------------------------------------------------------ in texts


def _keywords(words: str) -> tuple[str, ...]:
    """The words worth marking; all of them if all are common."""
    unique = list(dict.fromkeys(tokens(words)))
    return tuple(word for word in unique if word not in _COMMON) or tuple(unique)


def word_matches(text: str, words: Sequence[str]) -> tuple[Match, ...]:
    """Where the words occur in a text, inflected too ("boats" for "boat"), in order."""
    if not words:
        return ()
    matches: list[Match] = []
    for token, start, end in tokens_with_places(text):
        if not any(_same_word(token, word) for word in words):
            continue
        if matches and start <= matches[-1].end:  # pairs of characters overlap
            matches[-1] = Match(matches[-1].start, max(end, matches[-1].end), "word")
        else:
            matches.append(Match(start, end, "word"))
    return tuple(matches)


def _same_word(first: str, second: str) -> bool:
    if first == second:
        return True
    short, long = sorted((first, second), key=len)
    return (
        len(short) >= _SHORTEST_STEM
        and short.isalpha()
        and len(long) - len(short) <= _LONGEST_ENDING
        and long.startswith(short)
    )


def _nearest_sentences(
    hits: Sequence[Hit], words: str, embedder: TextEmbedder
) -> dict[int, tuple[Match, ...]]:
    """For each hit (by its place) of several sentences, the one nearest to the words."""
    spans = [(i, span) for i, hit in enumerate(hits) for span in sentences(hit.segment.text or "")]
    spans = spans[:MAX_SENTENCES]
    if not spans:
        return {}
    try:
        query = embedder.encode_texts([words], "query")[0]
        texts = [(hits[i].segment.text or "")[start:end] for i, (start, end) in spans]
        nearness = embedder.encode_texts(texts, "document") @ query
    except MMSearchError:
        return {}
    best: dict[int, tuple[float, Match]] = {}
    for (i, (start, end)), value in zip(spans, nearness.tolist(), strict=True):
        if i not in best or value > best[i][0]:
            best[i] = (value, Match(start, end, "meaning"))
    return {i: (match,) for i, (_, match) in best.items()}


def sentences(text: str) -> list[tuple[int, int]]:
    """The sentences' places in a text; none for a text of a single one."""
    spans = []
    for match in _SENTENCE.finditer(text):
        start, end = match.span()
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end > start:
            spans.append((start, end))
    return spans if len(spans) > 1 else []


# ------------------------------------------------------------------ in pictures


def heat_map(
    segment: Segment,
    source: Source,
    text: str,
    models: ModelSet,
    pictures: Pictures,
) -> npt.NDArray[np.float32]:
    """Where in the segment's picture the text matches: (h, w) in 0..1, over the whole picture.

    Raises QueryError (no picture, no words), NotFoundError (the picture is gone).
    """
    if not text.strip():
        raise QueryError("text says what to look for in the picture", param="text")
    clip = models.clip
    if segment.modality not in VISUAL or not _shows_where(clip):
        raise QueryError(
            f"a segment of modality {segment.modality.value} has no heat map", param="segment"
        )
    pixels = pictures.pixels(segment, source, clip.heat_preprocess)
    if pixels is None:
        raise NotFoundError(f"the picture of segment {segment.id} cannot be had any more")
    return clip.heat_map(pixels, text)


def overlay(heat: npt.NDArray[np.float32], metadata: Mapping[str, Any]) -> bytes:
    """A PNG to lay over the picture, stretched to its size: clear where nothing matches,
    yellow to red where something does."""
    width, height = _shape(metadata)
    raw = Image.fromarray(np.asarray(heat, np.float32))
    smooth = np.asarray(raw.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
    picture = np.empty((height, width, 4), np.uint8)
    picture[..., 0] = 255
    picture[..., 1] = (220 * (1 - smooth)).astype(np.uint8)
    picture[..., 2] = 0
    picture[..., 3] = (190 * np.sqrt(smooth)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture, "RGBA").save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _shape(metadata: Mapping[str, Any]) -> tuple[int, int]:
    width, height = metadata.get("width"), metadata.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) < 1:
        return OVERLAY_PIXELS, OVERLAY_PIXELS
    scale = OVERLAY_PIXELS / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def explanation_to_json(explanation: Explanation, text: str | None) -> dict[str, Any]:
    """The JSON form of an explanation; `matches` repeat what stands there."""
    return {
        "channels": [
            {"name": c.name, "rank": c.rank, "raw": _rounded(c.raw),
             "calibrated": _rounded(c.calibrated)}
            for c in explanation.channels
        ],
        "first_stage": _rounded(explanation.first_stage),
        "rerank": _rounded(explanation.rerank),
        "judge": explanation.reranker,
        "matches": [
            {"start": m.start, "end": m.end, "kind": m.kind, "text": (text or "")[m.start : m.end]}
            for m in explanation.matches
        ],
        "heat_map": explanation.heat_map,
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
