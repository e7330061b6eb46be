"""A library of every modality with metadata of every type, the same for a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mmsearch.types import Modality, Place
from tests.support.filter_oracle import some_metadata
from tests.support.small_library import Piece, Thing

COLOURS = ("red", "green", "blue", "yellow", "purple", "pink", "orange", "brown")
THINGS = ("boat", "kite", "house", "train", "garden", "lamp", "river", "café", "straße")
VERBS = ("leaves", "returns", "sinks", "shines", "waits")
MIMES = {"jpg": "image/jpeg", "png": "image/png", "txt": "text/plain", "mp4": "video/mp4"}


def sentence(rng: random.Random) -> str:
    """Words that many segments share, and a number that few do."""
    first, second = rng.choice(THINGS), rng.choice(THINGS)
    return (
        f"The old {rng.choice(COLOURS)} {first} {rng.choice(VERBS)} near the {second}, "
        f"number {rng.randrange(60)}."
    )


def some_things(seed: int, count: int) -> Sequence[Thing]:
    """Pictures, notes of passages, and films with speech. Some are copies of earlier ones."""
    rng = random.Random(seed)
    things: list[Thing] = []
    for n in range(count):
        metadata = some_metadata(rng)
        kind = rng.choice(("jpg", "png", "txt", "mp4"))
        path = f"/{rng.choice(('sea', 'town'))}/{rng.choice(THINGS)}-{n:03}.{kind}"
        if things and rng.random() < 0.1:
            original = rng.choice(things)
            content = original.content or original.path
            things.append(Thing(path, original.pieces, metadata, content, original.mime))
            continue
        pieces: list[Piece] = []
        if kind == "txt":
            passages = [sentence(rng) for _ in range(rng.randint(1, 3))]
            pieces = [Piece(Modality.TEXT, text, text) for text in passages]
        elif kind == "mp4":
            for shot in range(rng.randint(1, 3)):
                seconds = Place(shot * 10.0, shot * 10.0 + 9.0)
                spoken = sentence(rng)
                pieces.append(Piece(Modality.VIDEO, f"{rng.choice(COLOURS)} water", None, seconds))
                pieces.append(Piece(Modality.SPEECH, spoken, spoken, seconds))
        else:
            pieces = [Piece(Modality.IMAGE, f"a {rng.choice(COLOURS)} {rng.choice(THINGS)}")]
        things.append(Thing(path, pieces, metadata, None, MIMES[kind]))
    return things
