"""The held-out retrieval sets of nano-text: notes, memos, transcripts and documentation.

Nothing of them is trained on. Every query is worded otherwise than the passage it looks for:
a picture's caption for a note, a summary line for the text under it, a hand-written question for
a transcript.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pairs
from numpy.typing import NDArray

NOTES_SEED = 90210
TRANSCRIPT_QUERIES = {
    "LJ001-0001.wav": "how book printing is unlike the other crafts on show",
    "LJ001-0003.mp3": "Asian woodcuts made long before the Dutch ones",
    "LJ001-0004.ogg": "what came just before real printed books",
    "LJ001-0005.m4a": "when metal type was invented",
    "LJ001-0006.opus": "a good example of beautiful lettering",
    "LJ001-0007.wav": "the first printed Bible",
    "LJ001-0009.mp3": "definition of printing",
    "LJ001-0011.m4a": "letter shapes must be beautiful",
    "LJ001-0025.m4a": "a rounder handwriting that is easier to read",
    "sense_and_sensibility_01_austen_64kb-0870.wav": "how much could he give them",
    "sense_and_sensibility_01_austen_64kb-0880.wav": "his character was not bad",
    "sense_and_sensibility_01_austen_64kb-0890.wav": "being selfish and without warmth",
    "cards_001.wav": "one playing card",
    "cards_005.wav": "several playing cards of a poker hand",
    "goforward.wav": "order to a robot to move ahead",
    "sonnet_001.mp3": "poem about beauty and having children",
    "azure_en-US_1.wav": "setting up a project for speech recognition in the portal",
    "whatstheweatherlike.wav": "question about rain or sunshine",
    "jfk.wav": "president asks citizens to serve their nation",
}
"""Hand-written queries by file of ``audio/speech.jsonl``."""


@dataclass(frozen=True)
class RetrievalSet:
    """``relevant[i]`` is the index of the passage that ``queries[i]`` looks for."""

    name: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    relevant: tuple[int, ...]


def ndcg_at_10(scores: NDArray[np.float32], relevant: tuple[int, ...]) -> float:
    """Mean nDCG@10 of ``scores`` [queries, passages], one relevant passage a query."""
    own = scores[np.arange(len(relevant)), list(relevant)]
    rank = (scores > own[:, None]).sum(1)
    return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0.0).mean())


def retrieval_sets(data: Path) -> list[RetrievalSet]:
    """Notes, memos, transcripts (among the memos) and documentation, in this order."""
    from mmsearch.demo.picturebook import captions, stories

    told = stories(300, NOTES_SEED)
    short = tuple(captions(story.scene)[2] for story in told)
    order = tuple(range(len(told)))
    notes = tuple(story.note for story in told)
    memos = tuple(story.memo for story in told)
    spoken: dict[str, str] = {}
    for line in (data / "audio/speech.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        if row["file"] in TRANSCRIPT_QUERIES:
            spoken[row["file"]] = row["text"]
    files = sorted(spoken)
    documents = pairs.standard_library_pairs()
    random.Random(5).shuffle(documents)
    documents = documents[:1000]
    return [
        RetrievalSet("notes", short, notes, order),
        RetrievalSet("memos", short, memos, order),
        RetrievalSet(
            "transcripts",
            tuple(TRANSCRIPT_QUERIES[f] for f in files),
            tuple(spoken[f] for f in files) + memos,
            tuple(range(len(files))),
        ),
        RetrievalSet(
            "documentation",
            tuple(a for a, _ in documents[:400]),
            tuple(b for _, b in documents),
            tuple(range(400)),
        ),
    ]
