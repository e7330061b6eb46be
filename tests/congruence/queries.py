"""Queries of every kind, the same for a seed."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
from PIL import Image

from mmsearch.query import Facet, Query, SortKey, Term
from mmsearch.types import Modality
from tests.congruence.contents import COLOURS, THINGS, VERBS
from tests.support.filter_oracle import some_filter
from tests.support.small_library import CLIP, TEXT


def png(colour: str) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


def some_term(rng: random.Random, segments: int) -> Term:
    """Words, a phrase, a number, a vector, a picture or a segment."""
    kind = rng.choice(("words", "words", "phrase", "number", "name", "vector", "image", "segment"))
    match kind:
        case "words":
            return Term(text=f"{rng.choice(COLOURS)} {rng.choice(THINGS)} {rng.choice(VERBS)}")
        case "phrase":
            return Term(text=f'"old {rng.choice(COLOURS)} {rng.choice(THINGS)}"')
        case "number":
            return Term(text=f"number {rng.randrange(70)}")
        case "name":
            return Term(text=f"{rng.choice(THINGS)}-{rng.randrange(200):03}")
        case "vector":
            space, embedder = rng.choice((("clip", CLIP), ("text", TEXT)))
            numbers = np.random.default_rng(rng.randrange(2**32)).standard_normal(
                embedder.space.dimension
            )
            unit = numbers / np.linalg.norm(numbers)
            return Term(vector=tuple(float(x) for x in unit), space=space)
        case "image":
            return Term(image=png(rng.choice(COLOURS)))
        case _:
            return Term(segment=rng.randint(1, segments))


def some_query(rng: random.Random, segments: int) -> Query:
    """One to three terms and options, each of which most queries do not have."""

    def sometimes(share: float) -> bool:
        return rng.random() < share

    terms = [some_term(rng, segments)]
    if sometimes(0.25):
        terms.append(replace(some_term(rng, segments), weight=rng.choice((0.3, 0.5, 2.0))))
    if sometimes(0.2):
        terms.append(Term(text=rng.choice(COLOURS), weight=-rng.choice((0.5, 1.0))))
    query = Query(
        terms=tuple(terms),
        limit=rng.randint(1, 15),
        group=rng.choice(("segment", "moment", "moment", "source")),
        best=rng.randint(1, 4),
        exact=sometimes(0.2),
        explain=sometimes(0.1),
        diversity=rng.choice((0.0, 0.0, 0.0, 0.3)),
        fold=0.95 if sometimes(0.2) else None,
        min_score=rng.choice((None, None, 0.0, 0.1, 0.4)),
    )
    if sometimes(0.4):
        query = replace(query, filter=some_filter(rng))
    if sometimes(0.2):
        chosen = rng.sample((Modality.IMAGE, Modality.TEXT, Modality.VIDEO, Modality.SPEECH), 2)
        query = replace(query, modalities=tuple(chosen))
    if sometimes(0.2):
        field = rng.choice(("taken_at", "width", "path", "mime", "tags"))
        query = replace(query, sort=(SortKey(field, sometimes(0.5)), SortKey("path")))
    if sometimes(0.3):
        by_year = Facet("taken_at", by=rng.choice(("year", "month")))
        query = replace(query, facets=(Facet("tags"), Facet("mime", limit=2), by_year))
    if sometimes(0.15):
        query = replace(query, weights={"lexical": rng.choice((0.0, 0.5)), "clip:image": 2.0})
    return query


def some_queries(seed: int, count: int, segments: int) -> list[Query]:
    """`count` queries over a library whose segments have the ids 1 to `segments`."""
    rng = random.Random(seed)
    return [some_query(rng, segments) for _ in range(count)]
