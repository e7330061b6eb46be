"""Fine-tune the image tower into the teacher's sentence space (through a linear map).

It begins with what ``backbone.py`` wrote. One loss over class prompts (photos64) and one
contrastive loss over captions (flickr8k and, where given, the picture book) in every step, and
the distance to what the tower said at first. The first stages, which see edges and colours and
cost most, stay as they are.
The run is bounded by wall-clock time: resolution and learning rate follow the fraction of the
budget that is spent, so it may be interrupted and resumed, and shares a busy machine gracefully.
Several single-threaded workers (``--workers``)
average their gradients; that beats as many threads where the cores are shared with others.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import augment
import book
import corpora
import numpy as np
import teacher
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray
from open_clip.timm_model import TimmModel
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from towers import CONFIG, EMBED_DIM, IMAGE_SIZE, TEACHER_DIM

from mmsearch.models.runtime import native_bf16

BATCH_PHOTOS = 48
BATCH_CAPTIONED = 44
NEGATIVES = 2048
NATIVE_BF16 = native_bf16(torch.device("cpu"))
"""Emulated, bfloat16 would be ten times slower than float32."""
LONGEST_STEP = 15.0
"""Seconds of one step that count as spent: a paused process keeps its schedule."""
FROZEN = 3
"""Stages of the backbone that do not learn: training is twice as fast so."""


@dataclass(frozen=True)
class Captioned:
    """Pictures with vectors of their captions: the teacher's, or in the embedding's space.

    ``pixels`` uint8 [n, h, w, 3]; ``vectors`` float32 [n, captions, dimension]; ``scale`` and
    ``flip`` bound the augmentation (drawn scenes must not be mirrored: "left of" would lie).
    """

    pixels: NDArray[np.uint8]
    vectors: NDArray[np.float32]
    scale: tuple[float, float]
    flip: bool


class SpaceMap(nn.Module):
    """Linear map from the teacher's dimensions to the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(TEACHER_DIM, EMBED_DIM)

    @torch.no_grad()
    def begin_with(self, sample: NDArray[np.float32]) -> None:
        """Orthonormal, along the principal axes of the teacher's vectors [n, 384]."""
        mean = sample.mean(0)
        _, _, axes = np.linalg.svd(sample - mean, full_matrices=False)
        self.linear.weight.copy_(torch.from_numpy(axes[:EMBED_DIM]))
        self.linear.bias.copy_(torch.from_numpy(-0.9 * (axes[:EMBED_DIM] @ mean)))

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [..., 384] -> unit vectors [..., EMBED_DIM]."""
        return functional.normalize(self.linear(vectors), dim=-1)


def image_tower() -> TimmModel:
    """nano-clip's image tower with random weights."""
    cfg = CONFIG["model_cfg"]["vision_cfg"]
    return TimmModel(
        cfg["timm_model_name"],
        EMBED_DIM,
        image_size=cfg["image_size"],
        pool=cfg["timm_pool"],
        proj=cfg["timm_proj"],
    )


class VisionTrainer(nn.Module):
    """Image tower, map of the text space and the two temperatures."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = image_tower()
        trunk = self.visual.trunk
        for part in (trunk.conv_stem, trunk.bn1, trunk.blocks[:FROZEN]):
            part.requires_grad_(False)
        for module in trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # a pass or two is too short to measure the pictures anew
        self.space = SpaceMap()
        self.class_scale = nn.Parameter(torch.tensor(math.log(16.0)))
        self.caption_scale = nn.Parameter(torch.tensor(math.log(14.0)))

    def image(self, pixels: Tensor) -> Tensor:
        """Unit image vectors float32 [n, EMBED_DIM]; in bfloat16 where the processor knows it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and NATIVE_BF16):
            vectors = self.visual(pixels)
        return functional.normalize(vectors.float(), dim=-1)


def load_captioned(data: Path, cache: Path, each: int = 5) -> tuple[Captioned, Captioned]:
    """flickr8k train as (training part, validation part), ``each`` captions a photo."""
    flickr = corpora.flickr8k(data, cache, "train")
    columns = [
        teacher.embed([captions[i].strip() for captions in flickr.captions], cache)
        for i in range(each)
    ]
    vectors = np.stack(columns, axis=1)
    cut = len(vectors) - corpora.VALIDATION_FLICKR
    return (
        Captioned(flickr.pixels[:cut], vectors[:cut], (0.5, 1.0), True),
        Captioned(flickr.pixels[cut:], vectors[cut:], (1.0, 1.0), False),
    )


def load_book(cache: Path, scenes: int = book.DISTILLED) -> Captioned | None:
    """The first scenes of the picture book, where it has been rendered: two captions each."""
    rendered = book.load(cache)
    if rendered is None:
        return None
    texts = book.distilled(rendered)
    if not all(teacher.is_cached(column, cache) for column in texts):
        return None
    middle, last = (teacher.embed(column, cache) for column in texts)
    return Captioned(rendered.pixels[:scenes], np.stack([middle, last], axis=1), (0.8, 1.0), False)


@torch.no_grad()
def mapped(source: Captioned, space: SpaceMap) -> Captioned:
    """``source`` with the teacher's vectors carried into the embedding's space."""
    return replace(source, vectors=space(torch.from_numpy(source.vectors)).numpy())


def class_vectors(data: Path, cache: Path) -> Tensor:
    """Teacher vectors float32 [200, 384]: mean over synonyms and templates of each class."""
    prompts = teacher.class_prompts(corpora.class_names(data))
    flat = torch.from_numpy(teacher.embed([p for row in prompts for p in row], cache))
    parts = flat.split([len(row) for row in prompts])
    return torch.stack([functional.normalize(part.mean(0), dim=0) for part in parts])


def contrastive(
    model: VisionTrainer,
    images: Tensor,
    source: Captioned,
    rows: NDArray[np.int64],
    rng: np.random.Generator,
) -> Tensor:
    """InfoNCE both ways; the images also have to tell their caption from ``NEGATIVES`` others."""
    n, k = len(rows), source.vectors.shape[1]
    pick = rng.integers(0, k, n)
    own = torch.from_numpy(source.vectors[rows, pick])
    others = rng.choice(len(source.vectors), min(NEGATIVES, len(source.vectors)), replace=False)
    others = others[~np.isin(others, rows)]
    negatives = torch.from_numpy(source.vectors[others, rng.integers(0, k, len(others))])
    scale = model.caption_scale.exp().clamp(max=60)
    target = torch.arange(n)
    to_text = functional.cross_entropy(
        scale * images @ torch.cat([own, negatives]).T, target, label_smoothing=0.05
    )
    to_image = functional.cross_entropy(scale * own @ images.T, target)
    return 0.7 * to_text + 0.3 * to_image


@torch.no_grad()
def embed_images(model: VisionTrainer, pixels: NDArray[np.uint8], size: int) -> Tensor:
    """Unit vectors float32 [n, EMBED_DIM] of whole pictures."""
    return torch.cat(
        [model.image(augment.plain(pixels[i : i + 250], size)) for i in range(0, len(pixels), 250)]
    )


def recall(images: Tensor, texts: Tensor, truth: Tensor, k: int) -> float:
    """Share of the texts whose picture is among their ``k`` nearest."""
    scores = texts @ images.T
    rank = (scores > scores.gather(1, truth[:, None])).sum(1)
    return float((rank < k).float().mean())


@torch.no_grad()
def validate(
    model: VisionTrainer,
    photos: corpora.LabelledImages,
    classes: Tensor,
    flickr: Captioned,
    size: int,
) -> dict[str, float]:
    """Zero-shot top-1 over the classes, and caption-to-photo recall@10 on held-back photos, of a
    model in evaluation mode; ``classes`` and captions are in its space."""
    logits = embed_images(model, photos.pixels, size) @ classes.T
    top1 = (logits.argmax(1).numpy() == photos.labels).mean()
    best = logits.topk(10, dim=0).indices.numpy()
    precision = (photos.labels[best] == np.arange(best.shape[1])).mean()
    images = embed_images(model, flickr.pixels, size)
    truth = torch.arange(len(images)).repeat_interleave(flickr.vectors.shape[1])
    r10 = recall(images, torch.from_numpy(flickr.vectors).flatten(0, 1), truth, 10)
    return {
        "top1": round(float(top1), 4),
        "p10_of_10": round(float(precision), 4),
        "flickr_r10": round(r10, 4),
    }


def resolution(progress: float, sizes: Sequence[int]) -> int:
    """Small pictures first: they are cheap. The last ones are as small as makes things in their
    crops as large as things are in whole pictures of the final size (Touvron et al., 2019)."""
    return sizes[0] if progress < 0.45 else sizes[1] if progress < 0.8 else sizes[2]


@dataclass(frozen=True)
class Goals:
    """What the tower said at first: unit vectors [n, EMBED_DIM] of the photos and of Flickr8k, in
    a space that no longer moves, and the scale of its class logits."""

    photos: Tensor
    flickr: Tensor
    scale: Tensor

    @classmethod
    def load(cls, path: Path, model: VisionTrainer) -> Goals:
        """Read ``backbone.py``'s file; ``model`` takes over its tower, space and scales."""
        saved = torch.load(path, weights_only=True)
        model.visual.load_state_dict(saved["visual"])
        model.space.load_state_dict(saved["space"])
        model.space.requires_grad_(False)
        with torch.no_grad():
            model.class_scale.copy_(saved["class_scale"])
            model.caption_scale.copy_(saved["caption_scale"])
        return cls(saved["photos"].float(), saved["flickr"].float(), saved["class_scale"].exp())

    def opinion(self, rows: NDArray[np.int64], classes: Tensor) -> Tensor:
        """Its probabilities float32 [n, classes] of the photos ``rows``."""
        return (self.scale * self.photos[torch.from_numpy(rows)] @ classes.T).softmax(-1)


def average_gradients(parameters: list[nn.Parameter], spent: float) -> float:
    """Average gradients and the elapsed seconds over the workers; returns the latter."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([g.reshape(-1) for g in grads] + [torch.tensor([spent])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for p, grad in zip(parameters, grads, strict=True):
        p.grad = flat[offset : offset + grad.numel()].view(grad.shape)
        offset += grad.numel()
    return float(flat[-1])


def main() -> None:
    """Train for ``--minutes`` of wall-clock time, checkpointing into ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--threads", type=int, default=1, help="threads of each worker")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--captions", type=int, default=5, help="captions used of each photo")
    parser.add_argument("--sizes", type=int, nargs=3, default=(112, 128, 128), help="pixels")
    parser.add_argument("--start", type=Path, help="exported folder to begin with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="single-threaded processes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.workers > 1:
        mp.spawn(train, (args,), nprocs=args.workers)
    else:
        train(0, args)


def train(rank: int, args: argparse.Namespace) -> None:
    """One worker's loop; worker 0 validates, keeps the averaged weights and checkpoints."""
    if args.workers > 1:
        dist.init_process_group(
            "gloo", init_method="tcp://127.0.0.1:29517", rank=rank, world_size=args.workers
        )
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)

    photos = corpora.photos64(args.data, args.cache, "train")
    train_rows, val_rows = corpora.photos64_split(photos)
    pixels = np.asarray(photos.pixels)
    held = corpora.LabelledImages(pixels[val_rows], photos.labels[val_rows])
    quick = corpora.LabelledImages(held.pixels[::3], held.labels[::3])
    flickr, flickr_val = load_captioned(args.data, args.cache, args.captions)
    classes = class_vectors(args.data, args.cache)
    scenes: Captioned | None = None

    torch.manual_seed(args.seed)
    model = VisionTrainer().to(memory_format=torch.channels_last)
    goals = Goals.load(args.out / "backbone.pt", model)
    with torch.no_grad():
        classes = model.space(classes)
        flickr, flickr_val = mapped(flickr, model.space), mapped(flickr_val, model.space)
    if args.start is not None:
        begun = load_file(args.start / "open_clip_model.safetensors")
        model.visual.load_state_dict({k[7:]: v for k, v in begun.items() if k[:7] == "visual."})
    ema = copy.deepcopy(model).eval()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in learning if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=args.lr,
    )
    checkpoint = args.out / "vision.pt"
    spent, step = 0.0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        spent, step = saved["spent"], saved["step"]
    torch.manual_seed(args.seed + 1000 * rank + step)
    rng = np.random.default_rng([args.seed, rank, step])

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "ema": ema.state_dict(),
            "optimiser": optimiser.state_dict(),
            "spent": spent,
            "step": step,
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        os.replace(checkpoint.with_suffix(".tmp"), checkpoint)

    queue, flickr_queue = train_rows[:0], np.arange(0)
    budget, seen, tick, report = args.minutes * 60, 0, time.monotonic(), time.monotonic()
    running: list[float] = []
    next_report = spent + 60.0
    agreed = spent  # the same in all workers, so that they stop at the same step
    while agreed < budget:
        progress = agreed / budget
        size = resolution(progress, args.sizes)
        warm = min(1.0, (step + 1) / 200)
        lr = args.lr * warm * (0.5 * (1 + math.cos(math.pi * progress)) * 0.99 + 0.01)
        for group in optimiser.param_groups:
            group["lr"] = lr
        if len(queue) < BATCH_PHOTOS:
            queue = rng.permutation(train_rows)
        rows, queue = queue[:BATCH_PHOTOS], queue[BATCH_PHOTOS:]
        if scenes is None and step % 100 == 0:
            scenes = load_book(args.cache)
            if scenes is not None:
                scenes = mapped(scenes, model.space)
        if scenes is not None and step % 2 == 1:
            source = scenes
            picked = rng.choice(len(scenes.vectors), BATCH_CAPTIONED, replace=False)
        else:
            source = flickr
            if len(flickr_queue) < BATCH_CAPTIONED:
                flickr_queue = rng.permutation(len(flickr.vectors))
            picked, flickr_queue = flickr_queue[:BATCH_CAPTIONED], flickr_queue[BATCH_CAPTIONED:]

        images = augment.augmented(pixels[rows], size, (0.4, 1.0), colour=0.2)
        # What each photo should be taken for: its class, and the first opinion of it.
        wanted = functional.one_hot(torch.from_numpy(photos.labels[rows]), len(classes)).float()
        wanted = 0.95 * wanted + 0.05 / len(classes)
        wanted = 0.4 * wanted + 0.6 * goals.opinion(rows, classes)
        captioned = augment.augmented(source.pixels[picked], size, source.scale, source.flip)
        both = torch.cat([images, captioned]).contiguous(memory_format=torch.channels_last)
        vectors = model.image(both)
        logits = model.class_scale.exp().clamp(max=60) * (vectors[: len(rows)] @ classes.T)
        loss = -(wanted * logits.log_softmax(-1)).sum(-1).mean()
        pair = contrastive(model, vectors[len(rows) :], source, picked, rng)
        # The label is one word, the first vector says what else the picture is like.
        near = 1 - (vectors[: len(rows)] * goals.photos[torch.from_numpy(rows)]).sum(-1)
        if source is flickr:
            own = goals.flickr[torch.from_numpy(picked)]
            near = torch.cat([near, 1 - (vectors[len(rows) :] * own).sum(-1)])
        loss = loss + 2.0 * near.mean()
        (loss + 0.5 * pair).backward()
        if args.workers > 1:
            spent = average_gradients(learning, spent)
        agreed = spent
        nn.utils.clip_grad_norm_(learning, 2.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

        step += 1
        now = time.monotonic()
        spent, tick = spent + min(now - tick, LONGEST_STEP), now
        if rank > 0:
            continue
        rate = min(0.998, step / (step + 20))
        with torch.no_grad():
            for slow, fast in zip(
                ema.state_dict().values(), model.state_dict().values(), strict=True
            ):
                if slow.is_floating_point():
                    slow.lerp_(fast, 1 - rate)
                else:
                    slow.copy_(fast)
        running.append(float(loss.detach()))
        seen += len(both) * args.workers
        if spent >= next_report:
            figures = validate(ema, quick, classes, flickr_val, IMAGE_SIZE)
            print(
                f"{spent / 60:.1f} min step {step} size {size} loss {np.mean(running):.3f} "
                f"pair {float(pair):.3f} {seen / (time.monotonic() - report):.0f} img/s "
                f"epochs {step * BATCH_PHOTOS * args.workers / len(train_rows):.1f} {figures}",
                flush=True,
            )
            save()
            running, seen, report = [], 0, time.monotonic()
            next_report = spent + min(300.0, budget / 4)
    if rank > 0:
        return
    print("done", validate(ema, held, classes, flickr_val, IMAGE_SIZE), flush=True)
    save()


if __name__ == "__main__":
    main()
