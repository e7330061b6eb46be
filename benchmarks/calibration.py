"""Fusion and calibration on drawn libraries: what decides between the methods and constants.

    python benchmarks/calibration.py [--seed 202] [--pictures 180]

Pictures, notes and memos (as they would be recognised) of a picture book are embedded with the
nano models. Queries: long and short captions (the answer is the picture, and its note or memo),
fragments of notes and memos, and a few single words of them. Prints nDCG@10 for each way to join
the channels, how many unrelated queries are answered at the default cut, and how many answers it
costs. Constants were chosen on seed 101; the figures in docs/decisions are of seed 202.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from machine import describe_machine

from mmsearch.build import models_of
from mmsearch.demo.picturebook import captions, draw, stories
from mmsearch.evaluation.reciprocal_ranks import reciprocal_rank_fusion
from mmsearch.search.parse.words import parse_words
from mmsearch.search.retrieve import with_calibration
from mmsearch.search.scoring.background import BACKGROUND, EVERYDAY
from mmsearch.search.scoring.calibration import measure, true_positive_rate
from mmsearch.search.scoring.fusion import fuse
from mmsearch.search.scoring.rankings import ChannelRanking
from mmsearch.settings_loading import load_settings
from mmsearch.stores.lexical.analysis import segment_tokens
from mmsearch.stores.lexical.scoring import occurrences, rank, weigh
from mmsearch.types import Modality
from mmsearch.vectors.memory import MemoryIndex

STEP = 10_000
"""Segment ids: modality's place times this, plus the number of its story."""


@dataclass(frozen=True)
class Asked:
    kind: str
    text: str
    right: frozenset[int]


class Book:
    """A drawn library, embedded."""

    def __init__(self, seed: int, pictures: int) -> None:
        self.models = models_of(load_settings("unused"))("nano")
        told = stories(pictures, seed)
        self.ids: dict[Modality, list[int]] = {
            Modality.IMAGE: [n for n, _ in enumerate(told)],
            Modality.TEXT: [STEP + n for n, _ in enumerate(told) if n % 3 == 0],
            Modality.SPEECH: [2 * STEP + n for n, _ in enumerate(told) if n % 3 == 1],
        }
        self.texts = {STEP + n: one.note for n, one in enumerate(told) if n % 3 == 0}
        self.texts |= {2 * STEP + n: one.memo for n, one in enumerate(told) if n % 3 == 1}
        images = [draw(one.scene, 192) for one in told]
        self.vectors = {
            m: self._texts([self.texts[i] for i in self.ids[m]], "document")
            for m in (Modality.TEXT, Modality.SPEECH)
        }
        self.vectors[Modality.IMAGE] = np.concatenate(
            [self.models.clip.encode_images(images[i : i + 32]) for i in range(0, pictures, 32)]
        )
        self.words = {i: segment_tokens(text, []) for i, text in self.texts.items()}
        self.calibrations = {}
        background = {"clip": self._clip(BACKGROUND), "text": self._texts(BACKGROUND, "query")}
        for modality, vectors in self.vectors.items():
            index = MemoryIndex(vectors.shape[1])
            index.add(np.array(self.ids[modality], np.int64), vectors)
            space = "clip" if modality is Modality.IMAGE else "text"
            made = measure(index, vectors, background[space], members=False)
            if modality is Modality.IMAGE:
                rate = true_positive_rate(made, index, self._clip(EVERYDAY))
                made = replace(made, true_positive_rate=rate)
            self.calibrations[modality] = made
        self.asked = self._questions(told, np.random.default_rng(seed))

    def rankings(self, texts: list[str]) -> list[list[ChannelRanking]]:
        """Each text's rankings in all channels."""
        clip, text = self._clip(texts), self._texts(texts, "query")
        return [self._of(t, c, x) for t, c, x in zip(texts, clip, text, strict=True)]

    def _of(self, text: str, clip: npt.NDArray, own: npt.NDArray) -> list[ChannelRanking]:
        found = []
        for modality, vectors in self.vectors.items():
            space, query = ("clip", clip) if modality is Modality.IMAGE else ("text", own)
            scores = vectors @ query
            order = (-scores).argsort()[:100]
            calibration = self.calibrations[modality]
            ranking = ChannelRanking(
                f"{space}:{modality.value}",
                modality,
                np.array(self.ids[modality], np.int64)[order],
                scores[order],
            )
            best = None
            if modality is Modality.IMAGE:
                best = float((vectors @ calibration.minus_background(query)).max())
            found.append(with_calibration(ranking, calibration, scores, best))
        units = list(parse_words(text).units)
        counts = [sum(occurrences(u, words) > 0 for words in self.words.values()) for u in units]
        weighed = weigh(units, counts, sum(len(ids) for ids in self.ids.values()))
        for modality in (Modality.TEXT, Modality.SPEECH):
            some = {i: self.words[i] for i in self.ids[modality]}
            mean = float(np.mean([len(words) for words in some.values()]))
            best = rank(some, weighed, mean, 100) if units else None
            if best is not None and len(best.ids):
                name = f"lexical:{modality.value}"
                found.append(
                    ChannelRanking(name, modality, best.ids, best.scores, coverage=best.shares)
                )
        return found

    def _clip(self, texts: list[str] | tuple[str, ...]) -> npt.NDArray:
        return self._in_batches(self.models.clip, texts, "query")

    def _texts(self, texts: list[str] | tuple[str, ...], role: str) -> npt.NDArray:
        return self._in_batches(self.models.text, texts, role)

    def _in_batches(self, model, texts, role) -> npt.NDArray:
        parts = [
            model.encode_texts(list(texts[i : i + 64]), role) for i in range(0, len(texts), 64)
        ]
        return np.concatenate(parts)

    def _questions(self, told, rng: np.random.Generator) -> list[Asked]:
        asked = []
        for n, one in enumerate(told):
            right = frozenset(i for i in (n, STEP + n, 2 * STEP + n) if i == n or i in self.texts)
            every = captions(one.scene)
            asked.append(Asked("long", every[-2], right))
            asked.append(Asked("short", every[min(1, len(every) - 1)], right))
        for i, text in self.texts.items():
            longest = max(re.split(r"(?<=[.!?])\s+", text), key=len).split()
            kept = [word for word in longest if rng.random() < 0.65] or longest
            asked.append(Asked("fragment", " ".join(kept), frozenset({i})))
            rare = [w.strip(".,") for w in text.split() if w[0].isupper() or len(w) > 5]
            rare = list(dict.fromkeys(rare))
            some = sorted(rng.choice(len(rare), min(3, len(rare)), replace=False))
            asked.append(Asked("typed", " ".join(rare[k] for k in some), frozenset({i})))
        return asked


Join = Callable[[list[ChannelRanking]], list[int]]


def by(method: str, *, lexical: bool = True, only: str = "") -> Join:
    def joined(rankings: list[ChannelRanking]) -> list[int]:
        some = [one for one in rankings if lexical or one.coverage is None]
        some = [one for one in some if one.name.startswith(only)]
        join = reciprocal_rank_fusion if method == "ranks" else fuse
        return [one.id for one in join(some, 10)]

    return joined


def raw_cosines(rankings: list[ChannelRanking]) -> list[int]:
    every = [
        (score, i)
        for one in rankings
        if one.coverage is None
        for score, i in zip(one.scores.tolist(), one.ids.tolist(), strict=True)
    ]
    return [i for _, i in sorted(every, reverse=True)[:10]]


METHODS: dict[str, Join] = {
    "pictures alone (clip:image)": by("scores", lexical=False, only="clip"),
    "words by meaning alone (text)": by("scores", lexical=False, only="text"),
    "full text alone": by("scores", only="lexical"),
    "raw cosines": raw_cosines,
    "reciprocal ranks without full text": by("ranks", lexical=False),
    "reciprocal ranks": by("ranks"),
    "calibrated scores without full text": by("scores", lexical=False),
    "calibrated scores (default)": by("scores"),
}


def ndcg(found: list[int], right: frozenset[int]) -> float:
    gained = sum(1 / math.log2(n + 2) for n, i in enumerate(found[:10]) if i in right)
    return gained / sum(1 / math.log2(n + 2) for n in range(min(10, len(right))))


def nonsense(rng: np.random.Generator, n: int) -> list[str]:
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = [
        " ".join("".join(rng.choice(letters, k)) for k in rng.integers(4, 10, rng.integers(1, 4)))
        for _ in range(n // 2)
    ]
    real = Path(__file__).with_name("unrelated_words.txt").read_text("utf-8").split()
    sizes = rng.integers(1, 4, n - len(words))
    return words + [" ".join(rng.choice(real, k, replace=False)) for k in sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=202)
    parser.add_argument("--pictures", type=int, default=180)
    args = parser.parse_args()
    print(describe_machine())
    book = Book(args.seed, args.pictures)
    answers = book.rankings([one.text for one in book.asked])
    kinds = list(dict.fromkeys(one.kind for one in book.asked))
    print(f"| nDCG@10 | {' | '.join(kinds)} | mean |\n|---|{'---|' * (len(kinds) + 1)}")
    for name, join in METHODS.items():
        values: dict[str, list[float]] = {kind: [] for kind in kinds}
        for one, rankings in zip(book.asked, answers, strict=True):
            values[one.kind].append(ndcg(join(rankings), one.right))
        means = [float(np.mean(values[kind])) for kind in kinds]
        print(f"| {name} | {' | '.join(f'{m:.3f}' for m in [*means, float(np.mean(means))])} |")
    tops = np.array([fuse(one, 1)[0].score for one in answers])
    print(f"answers kept at a best score of 0.5: {(tops >= 0.5).mean():.3f}")
    strange = book.rankings(nonsense(np.random.default_rng(args.seed), 200))
    tops = np.array([fuse(one, 1)[0].score for one in strange])
    print(f"nonsense answered: {(tops >= 0.5).mean():.3f}")
    uncalibrated = [
        [replace(r, evidence=None, background_evidence=()) for r in one] for one in strange
    ]
    tops = np.array([fuse(one, 1)[0].score for one in uncalibrated])
    print(f"... without calibration: {(tops >= 0.5).mean():.3f}")


if __name__ == "__main__":
    main()
