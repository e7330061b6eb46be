"""Many questions about one picture in one sequence, for training and quick measuring.

[user] [49 image tokens] Does this picture show | question 1 | question 2 | ...

A question sees the shared beginning and itself only, and its positions go on from the shared
beginning: to each question the sequence looks exactly as if it had been asked alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from data import GRID
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mmsearch.demo.picturebook import Question, Scene, questions
from mmsearch.demo.picturebook.lexicon import COLOURS, OBJECTS

CELLS = GRID * GRID
NOUNS = {kind.name: kind for kind in OBJECTS} | {kind.plural: kind for kind in OBJECTS}


@dataclass(frozen=True)
class Wording:
    """The words around a description."""

    before: str
    after: str


USUAL = Wording("Does this picture show", "? Answer yes or no.")
WORDINGS = (
    USUAL,
    Wording("does this image show", "? answer yes or no."),
    Wording("is there", " in this picture?"),
    Wording("does the picture show", "?"),
)


@dataclass
class Batch:
    """Tensors of packed questions: n pictures, length tokens, m answers, g mentions."""

    ids: Tensor
    positions: Tensor
    mask: Tensor
    answer_at: Tensor
    answers: Tensor
    noun_at: Tensor
    present: Tensor
    boxes: Tensor
    picture: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Packer:
    """Tokenizes and packs; words are looked up once."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.image = tokenizer.convert_tokens_to_ids("<image>")
        self.user = tokenizer.convert_tokens_to_ids("<user>")
        self.assistant = tokenizer.convert_tokens_to_ids("<assistant>")
        self.yes = tokenizer.convert_tokens_to_ids("yes")
        self.no = tokenizer.convert_tokens_to_ids("no")
        self._cache: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._cache[text]

    def words(self, text: str) -> list[int]:
        """Like `ids`, word by word: a description's words are few, its variants are not."""
        return [i for word in text.split() for i in self.ids(word)]

    def pack(
        self, scenes: Sequence[Scene], asked: Sequence[Sequence[Question]], wording: Wording
    ) -> Batch:
        start = [self.user, *[self.image] * CELLS, *self.ids(wording.before)]
        end = [*self.ids(wording.after), self.assistant]
        rows: list[list[int]] = []
        owners: list[list[int]] = []
        places: list[list[int]] = []
        answer_at, answers, owner_picture = [], [], []
        noun_at, present, boxes = [], [], []
        for row, (scene, group) in enumerate(zip(scenes, asked, strict=True)):
            ids, owner, place = list(start), [0] * len(start), list(range(len(start)))
            for number, question in enumerate(group, 1):
                text = self.words(question.text)
                for offset, there, box in mentions(question.text, scene):
                    if len(text) == len(question.text.split()):
                        noun_at.append((row, len(ids) + offset))
                        present.append(there)
                        boxes.append(box)
                part = [*text, *end]
                place += range(len(start), len(start) + len(part))
                owner += [number] * len(part)
                ids += part
                answer_at.append((row, len(ids) - 1))
                answers.append(self.yes if question.answer else self.no)
                owner_picture.append(row)
            rows.append(ids)
            owners.append(owner)
            places.append(place)
        length = max(map(len, rows))
        ids_t = torch.zeros(len(rows), length, dtype=torch.long)
        owner_t = torch.full((len(rows), length), -1)
        place_t = torch.zeros(len(rows), length, dtype=torch.long)
        for i, ids in enumerate(rows):
            ids_t[i, : len(ids)] = torch.tensor(ids)
            owner_t[i, : len(ids)] = torch.tensor(owners[i])
            place_t[i, : len(ids)] = torch.tensor(places[i])
        order = torch.arange(length)
        seen = (owner_t[:, :, None] == owner_t[:, None, :]) | (owner_t[:, None, :] == 0)
        seen &= order[None, :, None] >= order[None, None, :]
        seen |= torch.eye(length, dtype=torch.bool)
        mask = torch.zeros(seen.shape).masked_fill_(~seen, torch.finfo(torch.float32).min)
        return Batch(
            ids_t, place_t, mask[:, None],
            torch.tensor(answer_at), torch.tensor(answers),
            torch.tensor(noun_at or [(0, 0)]), torch.tensor(present or [0.0]),
            torch.tensor(boxes or [(-1.0, 0.0, 0.0, 0.0)]), torch.tensor(owner_picture),
        )  # fmt: skip


def mentions(text: str, scene: Scene) -> list[tuple[int, float, tuple[float, ...]]]:
    """Every object a description names: the word that completes its mention, whether the picture
    has it (1.0 or 0.0), and the box around all of it (left -1 where it is not there)."""
    words = text.split()
    found = []
    for at, word in enumerate(words):
        if word not in NOUNS:
            continue
        kind = NOUNS[word]
        colour, end = None, at
        if kind.category == "person":
            if at + 2 < len(words) and words[at + 1] == "in" and words[at + 2] in COLOURS:
                colour, end = words[at + 2], at + 2
        elif at > 0 and words[at - 1] in COLOURS:
            colour = words[at - 1]
        items = [i for i in scene.items if i.kind == kind.name and colour in (None, i.colour)]
        if items:
            box = np.array([item.box for item in items])
            around = (*box[:, :2].min(0).tolist(), *box[:, 2:].max(0).tolist())
            found.append((end, 1.0, around))
        else:
            found.append((end, 0.0, (-1.0, 0.0, 0.0, 0.0)))
    return found


def choose(scene: Scene, seed: int, limit: int, rng: np.random.Generator) -> list[Question]:
    """Questions for one training step, relations first, in true and false pairs."""
    asked = questions(scene, seed, 3)
    pairs = [asked[i : i + 2] for i in range(0, len(asked), 2)]
    hard = {"relation": 3.0, "count": 1.4, "size": 1.4, "colour": 1.4}
    keys = [rng.random() / hard.get(pair[0].kind, 1.0) for pair in pairs]
    chosen = [pairs[i] for i in np.argsort(keys)[: limit // 2]]
    asked = [question for pair in chosen for question in pair]
    # People type "red boat" as well as "a red boat".
    return [replace(q, text=bare(q.text)) if rng.random() < 0.12 else q for q in asked]


def bare(text: str) -> str:
    """The text without its articles."""
    return " ".join(word for word in text.split() if word not in ("a", "an", "the"))
