"""Bring the two towers together, and write the open_clip folder.

The distilled text tower is carried through the map that the image tower was trained with. Then
the text tower and the image tower's last linear layer learn together, from pictures whose trunk
features are computed once: class prompts against photos, captions against Flickr8k photos and
against drawn scenes, while staying near the teacher. ``--steps 0`` only joins and exports.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import augment
import book
import corpora
import numpy as np
import teacher
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from text import build_text_tower, tower_forward, vocabulary_words
from torch import Tensor, nn
from torch.nn import functional
from towers import IMAGE_SIZE, build, export, tokenise_short, tokenizer
from vision import SpaceMap, load_captioned, recall

CLASSES = 100
"""Classes whose prompts are read in one step."""
NOTHINGS = 48
"""Made-up texts that are read in one step."""


def joined(vision_file: Path, text_file: Path) -> tuple[CLIP, SpaceMap]:
    """nano-clip from the averaged image tower and the distilled text tower."""
    saved = torch.load(vision_file, weights_only=True)["ema"]
    space = SpaceMap()
    space.load_state_dict({k[6:]: v for k, v in saved.items() if k.startswith("space.")})
    model = build()
    model.visual.load_state_dict({k[7:]: v for k, v in saved.items() if k.startswith("visual.")})
    tower = build_text_tower()
    tower.load_state_dict(torch.load(text_file, weights_only=True))
    with torch.no_grad():
        state = {k: v for k, v in tower.state_dict().items() if k in model.state_dict()}
        state["text_projection.weight"] = space.linear.weight @ tower.text_projection.weight
        state["text_projection.bias"] = (
            space.linear.weight @ tower.text_projection.bias + space.linear.bias
        )
        model.load_state_dict(state, strict=False)
        model.logit_scale.copy_(saved["caption_scale"])
    return model.to(memory_format=torch.channels_last), space


class Texts:
    """Texts tokenised once; batches are cut to their longest."""

    def __init__(self, texts: list[str]) -> None:
        self.ids = tokenizer()(texts)
        self.lengths = (self.ids != 0).sum(1)

    def encode(self, model: CLIP, rows: NDArray[np.int64]) -> Tensor:
        """Unit vectors [n, EMBED_DIM] of the texts ``rows``."""
        ids = self.ids[rows, : int(self.lengths[rows].max())]
        return functional.normalize(tower_forward(model, ids), dim=-1)


@torch.no_grad()
def features(model: CLIP, pixels: NDArray[np.uint8], size: int) -> Tensor:
    """Pooled trunk features float32 [n, width] of whole pictures, as at inference."""
    model.visual.eval()
    parts = [
        model.visual.trunk(augment.plain(pixels[i : i + 128], size))
        for i in range(0, len(pixels), 128)
    ]
    return torch.cat(parts)


def cached_features(model: CLIP, name: str, pixels: NDArray[np.uint8], out: Path) -> Tensor:
    """``features``, kept in ``out`` as long as they are newer than the image tower."""
    target = out / f"features-{name}.npy"
    if not target.exists() or target.stat().st_mtime < (out / "vision.pt").stat().st_mtime:
        np.save(target, features(model, pixels, IMAGE_SIZE).numpy())
    return torch.from_numpy(np.load(target))


def nothings(n: int, rng: np.random.Generator) -> list[str]:
    """Texts of one to three words that nobody knows: letters, keys struck at random, syllables."""
    vowels, others = list("aeiou"), list("bcdfghjklmnpqrstvwxyz")

    def word() -> str:
        match rng.integers(3):
            case 0:
                return "".join(rng.choice(vowels + others, rng.integers(4, 11)))
            case 1:
                return "".join(rng.choice(others, rng.integers(3, 9)))
        pairs = [rng.choice(others) + rng.choice(vowels) for _ in range(rng.integers(2, 5))]
        return "".join(pair + (rng.choice(others) if rng.random() < 0.3 else "") for pair in pairs)

    return [" ".join(word() for _ in range(rng.integers(1, 4))) for _ in range(n)]


def info_nce(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric contrastive loss; pair i is (images[i], texts[i])."""
    logits = scale * images @ texts.T
    target = torch.arange(len(images))
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def main() -> None:
    """Join, fine-tune for ``--steps`` and export to ``--export``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--export", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--photos", type=int, default=100, help="photos of each class")
    parser.add_argument("--captions", type=int, default=5)
    parser.add_argument("--extract", choices=("photos", "flickr", "book"), help="only prepare")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, space = joined(args.out / "vision.pt", args.out / "text.pt")
    if args.steps:
        fine_tune(model, space, args)
    if args.extract is None:
        export(model, args.export)
        print("exported", args.export, flush=True)


def fine_tune(model: CLIP, space: SpaceMap, args: argparse.Namespace) -> None:
    """Train the text tower and the image projection on cached trunk features."""
    rng = np.random.default_rng(0)
    photos = corpora.photos64(args.data, args.cache, "train")
    train_rows, val_rows = corpora.photos64_split(photos)
    chosen = np.concatenate(
        [train_rows[photos.labels[train_rows] == c][: args.photos] for c in range(200)]
    )
    val_labels = photos.labels[val_rows]
    flickr = corpora.flickr8k(args.data, args.cache, "train")
    drawn = book.load(args.cache)
    assert drawn is not None, "render the picture book first (book.py)"
    if args.extract in (None, "photos"):
        photo_x = cached_features(model, "photos", photos.pixels[chosen], args.out)
        val_x = cached_features(model, "validation", photos.pixels[val_rows], args.out)
    if args.extract in (None, "flickr"):
        flickr_x = cached_features(model, "flickr", flickr.pixels, args.out)
    if args.extract in (None, "book"):
        drawn_x = cached_features(model, "book", drawn.pixels, args.out)
    print("features", flush=True)
    if args.extract is not None:
        return

    names = corpora.class_names(args.data)
    prompts = teacher.class_prompts(names)
    prompt_starts = np.cumsum([0] + [len(row) for row in prompts[:-1]])
    prompt_counts = np.array([len(row) for row in prompts])
    prompt_text = Texts([p for row in prompts for p in row])
    prompt_goal = torch.from_numpy(teacher.embed([p for row in prompts for p in row], args.cache))
    flickr_text = Texts([c.strip() for row in flickr.captions for c in row])
    seen, seen_val = load_captioned(args.data, args.cache, args.captions)
    flickr_goal = np.concatenate([seen.vectors, seen_val.vectors])
    drawn_text = Texts([c for row in drawn.captions for c in row])
    drawn_starts = np.cumsum([0] + [len(row) for row in drawn.captions])
    n_flickr = len(flickr_x) - corpora.VALIDATION_FLICKR
    n_drawn = len(drawn_x) - book.VALIDATION_BOOK

    def report(step: int) -> None:
        with torch.no_grad():
            head = model.visual.head
            first = np.array([prompt_starts[c] + 1 for c in range(200)])
            classes = prompt_text.encode(model, first)
            photo = functional.normalize(head(val_x), dim=-1)
            top1 = ((photo @ classes.T).argmax(1).numpy() == val_labels).mean()
            held = functional.normalize(head(flickr_x[n_flickr:]), dim=-1)
            rows = np.arange(n_flickr * 5, len(flickr_x) * 5)
            text = flickr_text.encode(model, rows)
            r10 = recall(held, text, torch.arange(len(held)).repeat_interleave(5), 10)
            scene = functional.normalize(head(drawn_x[n_drawn : n_drawn + 200]), dim=-1)
            detailed = drawn_text.encode(model, drawn_starts[n_drawn + 1 : n_drawn + 201] - 1)
            r1 = recall(scene, detailed, torch.arange(200), 1)
        print(
            f"{time.monotonic() - began:.0f} s step {step} top1 {top1:.4f} "
            f"flickr R@10/400 {r10:.4f} book R@1/200 {r1:.4f}",
            flush=True,
        )

    # Words that nobody knows say nothing: they belong where words lie on average.
    tokens = tokenizer()
    with torch.no_grad():
        some_words = rng.choice(vocabulary_words(tokens), 1000, replace=False).tolist()
        known = Texts(some_words).encode(model, np.arange(len(some_words)))
        centre = functional.normalize(known.mean(0), dim=0)
    scales = nn.Parameter(torch.tensor([20.0, 20.0, 25.0]))
    embedding = model.token_embedding.weight
    text_rest = [
        *model.transformer.parameters(),
        *model.ln_final.parameters(),
        *model.text_projection.parameters(),
        model.positional_embedding,
    ]
    groups = [
        {"params": [embedding, *text_rest], "factor": 1.0},
        {"params": [*model.visual.head.parameters()], "factor": 0.1},
        {"params": [scales], "factor": 20.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=args.lr, weight_decay=0.0, betas=(0.9, 0.98))
    began = time.monotonic()
    report(0)
    for step in range(args.steps):
        warm = min(1.0, (step + 1) / 8)
        for group in optimiser.param_groups:
            group["lr"] = args.lr * group["factor"] * warm * (1 - step / args.steps)
        head = model.visual.head
        # photos against one random prompt of each of some classes
        some = rng.choice(200, CLASSES, replace=False)
        pick = prompt_starts[some] + (rng.random(CLASSES) * prompt_counts[some]).astype(np.int64)
        classes = prompt_text.encode(model, pick)
        truth = rng.integers(0, CLASSES, 512)
        rows = some[truth] * args.photos + rng.integers(0, args.photos, 512)
        photo = functional.normalize(head(photo_x[rows]), dim=-1)
        loss = functional.cross_entropy(scales[0] * photo @ classes.T, torch.from_numpy(truth))
        goal = space(prompt_goal[pick]).detach()
        drift = (1 - (classes * goal).sum(1)).mean()
        # Flickr8k: captions against photos
        rows = rng.choice(n_flickr, 96, replace=False)
        column = rng.integers(0, 5, len(rows))
        text = flickr_text.encode(model, rows * 5 + column)
        image = functional.normalize(head(flickr_x[rows]), dim=-1)
        pairs = info_nce(image, text, scales[1])
        known = column < flickr_goal.shape[1]
        goal = space(torch.from_numpy(flickr_goal[rows[known], column[known]])).detach()
        drift = drift + (1 - (text[known] * goal).sum(1)).mean()
        # drawn scenes: captions of every level, the detailed ones most often
        rows = rng.choice(n_drawn, 64, replace=False)
        low, high = drawn_starts[rows], drawn_starts[rows + 1]
        caption = np.maximum(low, high - 1 - rng.geometric(0.6, len(rows)) + 1)
        text = drawn_text.encode(model, caption)
        image = functional.normalize(head(drawn_x[rows]), dim=-1)
        scenes = info_nce(image, text, scales[2])
        made_up = tower_forward(model, tokenise_short(nothings(NOTHINGS, rng), tokens))
        empty = (1 - functional.normalize(made_up, dim=-1) @ centre).mean()
        (loss + pairs + scenes + 1.0 * drift + 1.0 * empty).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            scales.clamp_(5, 60)
        if (step + 1) % 20 == 0 or step + 1 == args.steps:
            report(step + 1)
    with torch.no_grad():
        model.logit_scale.copy_(scales[1].log())


if __name__ == "__main__":
    main()
