"""First stage of nano-vlm: the image tower learns to see, from dense labels the book knows.

Every cell of the 7 x 7 grid says which object covers it, in which colour, where that object
begins and ends and whether its centre is here; the mean of the cells tells place, time and
weather. The heads are thrown away afterwards; the language model reads the cells.

python tools/nano/vlm/vision.py --data /tmp/vlm --out /tmp/vlm
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import parallel
import timm
import torch
from data import (
    COLOUR_INDEX,
    GRID,
    KIND_INDEX,
    PLACE_INDEX,
    dense_labels,
    load,
    rendered,
    scene_labels,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

TOWER = "resnet18"
TOWER_ARGS = {
    "layers": [1, 2, 2, 1],
    "channels": [32, 64, 128, 192],
    "stem_type": "deep",
    "stem_width": 16,
    "output_stride": 16,
    "global_pool": "",
}
WIDTH = 192
HEADS_ALONE = 150
"""Steps in which a tower that has learned waits for the heads, which have not."""


def tower() -> nn.Module:
    """A residual network that keeps a 7 x 7 grid of 192 numbers for 112 x 112 pixels."""
    return timm.create_model(TOWER, pretrained=False, num_classes=0, **TOWER_ARGS)


def shipped_tower(folder: Path) -> dict[str, Tensor]:
    """The tower's weights out of a folder that `train.py` saved, float32."""
    prefix = "model.vision_tower.timm_model."
    saved = load_file(folder / "model.safetensors")
    found = {k[k.index(prefix) + len(prefix) :]: v for k, v in saved.items() if prefix in k}
    return {k: v.float() if v.is_floating_point() else v for k, v in found.items()}


def pixels(pictures: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in -1..1, channels last."""
    x = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    return x.div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


class Heads(nn.Module):
    """Reads the labels off the cells; only used in training."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [len(KIND_INDEX) + 1, len(COLOUR_INDEX) + 1, 4, 1]
        self.cells = nn.Linear(WIDTH, sum(self.sizes))
        self.scene_sizes = [len(PLACE_INDEX), 3, 5]
        self.scene = nn.Linear(WIDTH, sum(self.scene_sizes))

    def forward(self, grid: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        cells = grid.flatten(2).permute(0, 2, 1)
        return (
            list(self.cells(cells).split(self.sizes, -1)),
            list(self.scene(cells.mean(1)).split(self.scene_sizes, -1)),
        )


def mirror(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pictures and labels seen in a mirror."""
    n = len(batch["x"])

    def turned(v: Tensor) -> Tensor:
        return v.reshape(n, GRID, GRID, *v.shape[2:]).flip(2).reshape(v.shape)

    box = turned(batch["box"])
    return {
        "x": batch["x"].flip(3).contiguous(memory_format=torch.channels_last),
        "kind": turned(batch["kind"]),
        "colour": turned(batch["colour"]),
        "centre": turned(batch["centre"]),
        "box": torch.stack([1 - box[..., 2], box[..., 1], 1 - box[..., 0], box[..., 3]], -1),
        "scene": batch["scene"],
    }


def recoloured(
    batch: dict[str, Tensor], rng: np.random.Generator, share: float
) -> dict[str, Tensor]:
    """A share of the pictures in false colours (channels changed about, each with its own
    contrast, some without colour), with no colour to tell. The book holds back combinations of
    object and colour: whoever knows objects by their colours knows none of those.

    Every batch is a mixture, because batch normalisation takes a batch for the world."""
    x = batch["x"]
    n = len(x)
    false = torch.from_numpy(rng.random(n) < share).to(x.device)
    order = torch.from_numpy(np.stack([rng.permutation(3) for _ in range(n)]))
    x = x.gather(1, order[:, :, None, None].to(x.device).expand_as(x))
    grey = torch.from_numpy(rng.random(n) < 0.3)[:, None, None, None].to(x.device)
    x = torch.where(grey, x.mean(1, keepdim=True).expand_as(x), x)
    gain = torch.from_numpy(rng.uniform(0.5, 1.1, (n, 3, 1, 1))).float().to(x.device)
    sign = torch.from_numpy(np.where(rng.random((n, 3, 1, 1)) < 0.15, -1.0, 1.0)).float()
    shift = torch.from_numpy(rng.uniform(-0.3, 0.3, (n, 3, 1, 1))).float().to(x.device)
    x = (x * gain * sign.to(x.device) + shift).clamp(-1, 1)
    x = torch.where(false[:, None, None, None], x, batch["x"])
    return batch | {
        "x": x.contiguous(memory_format=torch.channels_last),
        "colour": batch["colour"].masked_fill(false[:, None], -100),
    }


def pasted(batch: dict[str, Tensor], rng: np.random.Generator, share: float) -> dict[str, Tensor]:
    """A share of the pictures with a rectangle of cells out of another one, where it was there
    (CutMix, Yun et al., 2019, on the grid). The book holds back combinations of object and place
    too: whoever knows objects by what is around them knows none of those."""
    out = {key: value.clone() for key, value in batch.items()}
    n, cell = len(batch["x"]), batch["x"].shape[-1] // GRID
    other = rng.permutation(n)
    for i in np.flatnonzero(rng.random(n) < share):
        high, wide = rng.integers(2, GRID, 2)
        top, left = rng.integers(0, GRID - high + 1), rng.integers(0, GRID - wide + 1)
        rows, columns = slice(top, top + high), slice(left, left + wide)
        for key in ("kind", "colour", "centre", "box"):
            shape = (GRID, GRID, *batch[key].shape[2:])
            taken = batch[key][other[i]].view(shape)[rows, columns]
            out[key][i].view(shape)[rows, columns] = taken
        rows, columns = (slice(s.start * cell, s.stop * cell) for s in (rows, columns))
        out["x"][i, :, rows, columns] = batch["x"][other[i], :, rows, columns]
        out["scene"][i] = -1
    return out


def windows(batch: dict[str, Tensor], rng: np.random.Generator) -> dict[str, Tensor]:
    """3 x 3 cells about one object of each picture: most of what there is to learn about kinds
    and colours, for a fifth of the work. Boxes and the scene cannot be told from a window."""
    n, cell = len(batch["x"]), batch["x"].shape[-1] // GRID
    centres = batch["centre"].cpu() * torch.from_numpy(rng.random((n, GRID * GRID))).float()
    at = centres.argmax(1)
    rows = (at // GRID).clamp(1, GRID - 2).tolist()
    columns = (at % GRID).clamp(1, GRID - 2).tolist()
    out: dict[str, list[Tensor]] = {"x": [], "kind": [], "colour": [], "centre": []}
    for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
        out["x"].append(batch["x"][i, :, (r - 1) * cell : (r + 2) * cell,
                                   (c - 1) * cell : (c + 2) * cell])  # fmt: skip
        for key in ("kind", "colour", "centre"):
            grid = batch[key][i].reshape(GRID, GRID)
            out[key].append(grid[r - 1 : r + 2, c - 1 : c + 2].flatten())
    small = {key: torch.stack(parts) for key, parts in out.items()}
    small["x"] = small["x"].contiguous(memory_format=torch.channels_last)
    return small


def losses(out: tuple[list[Tensor], list[Tensor]], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    (kind, colour, box, centre), scene = out
    weight = torch.ones(kind.shape[-1], device=kind.device)
    weight[0] = 0.25
    there = batch["kind"].flatten() > 0
    told = bool((batch["colour"] >= 0).any())
    loss = {
        "kind": 1.5 * F.cross_entropy(kind.flatten(0, 1), batch["kind"].flatten(), weight),
        "colour": F.cross_entropy(
            colour.flatten(0, 1), batch["colour"].flatten(), weight[: colour.shape[-1]]
        )
        if told
        else colour.sum() * 0,
        "centre": 2 * F.binary_cross_entropy_with_logits(centre[..., 0], batch["centre"]),
    }
    if "box" not in batch:
        return loss
    loss["box"] = 5 * F.smooth_l1_loss(
        box.flatten(0, 1)[there], batch["box"].flatten(0, 1)[there], beta=0.05
    )
    for i, name in enumerate(("place", "time", "weather")):
        loss[name] = 0.3 * F.cross_entropy(scene[i], batch["scene"][:, i], ignore_index=-1)
    return loss


def batches(folder: Path, split: str):
    pictures, scenes = load(folder, split)
    kept = folder / f"{split}-labels.npz"
    if not kept.exists():
        dense = [dense_labels(scene) for scene in scenes]
        arrays = {k: np.stack([d[k] for d in dense]) for k in ("kind", "colour", "box", "centre")}
        np.savez(kept, scene=np.array([scene_labels(scene) for scene in scenes]), **arrays)
    with np.load(kept) as arrays:
        return pictures, {key: torch.from_numpy(arrays[key]) for key in arrays}


def follow(slow: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    """Moves the averaged weights a little towards the module's: they are good at any time,
    while the weights themselves are only good at the end of the schedule."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            slow[name].lerp_(value.detach(), 1 - decay)
        else:
            slow[name].copy_(value)


def measure(net: nn.Module, heads: Heads, pictures, labels: dict[str, Tensor]) -> str:
    net.eval()
    hits: dict[str, list[float]] = {"kind": [], "colour": [], "box": [], "centre": [], "scene": []}
    with torch.inference_mode():
        for i in range(0, len(pictures), 100):
            (kind, colour, box, centre), scene = heads(
                net.forward_features(pixels(pictures[i : i + 100]))
            )
            part = {k: v[i : i + 100] for k, v in labels.items()}
            at = part["centre"] > 0
            hits["kind"].append((kind.argmax(-1) == part["kind"])[at].float().mean().item())
            hits["colour"].append((colour.argmax(-1) == part["colour"])[at].float().mean().item())
            hits["box"].append((box - part["box"])[at].abs().mean().item())
            wrong = ((centre[..., 0] > 0) != at).sum(-1)
            hits["centre"].append((wrong == 0).float().mean().item())
            hits["scene"].append((scene[0].argmax(-1) == part["scene"][:, 0]).float().mean().item())
    net.train()
    return " ".join(f"{k} {np.mean(v):.3f}" for k, v in hits.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="saved folder whose tower to begin with")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--windows", type=int, default=800, help="steps on windows, first")
    parser.add_argument("--mix", action="store_true", help="then every second step on windows")
    parser.add_argument("--false-colours", type=float, default=0.4, help="share of such pictures")
    parser.add_argument("--paste", type=float, default=0.0, help="share with another's cells")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rank, world = parallel.join()
    pictures, labels = batches(args.data, "train")
    test_pictures, test_labels = batches(args.data, "test")
    device = torch.device(args.device)
    net = tower().to(device, memory_format=torch.channels_last)
    heads = Heads().to(device)
    start, path = 0, args.out / "vision.pt"
    if args.start is not None:
        net.load_state_dict(shipped_tower(args.start))
    parameters = [*net.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.03, betas=(0.9, 0.98))
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        net.load_state_dict(state.get("live", state["net"]))
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    rng = np.random.default_rng([args.seed, start, rank])
    steps = args.steps
    slow = {name: value.clone() for name, value in net.state_dict().items()}
    there = rendered(pictures)
    began, mean = time.time(), 0.0
    for step in range(start, steps):
        rate = min(1.0, (step + 1) / 100) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate
        if step % 20 == 0 and there < len(pictures):
            there = rendered(pictures)
        small = step < args.windows or (args.mix and step % 2 == 1)
        pick = np.sort(rng.integers(0, there, args.batch * (3 if small else 1)))
        batch = {k: v[torch.from_numpy(pick)].to(device) for k, v in labels.items()}
        batch["x"] = pixels(pictures[pick]).to(device) * float(rng.uniform(0.88, 1.05))
        if rng.random() < 0.5:
            batch = mirror(batch)
        if args.false_colours:
            batch = recoloured(batch, rng, args.false_colours)
        if small:
            batch = windows(batch, rng)
        elif args.paste:
            batch = pasted(batch, rng, args.paste)
        parts = losses(heads(net.forward_features(batch["x"])), batch)
        loss = sum(parts.values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if args.start is not None and step < HEADS_ALONE:
            for parameter in net.parameters():
                parameter.grad = None
        parallel.average(parameters, world)
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        follow(slow, net, min(0.98, (step + 1 - start) / (step + 10 - start)))
        mean = loss.item() if step == start else 0.97 * mean + 0.03 * loss.item()
        if rank:
            continue
        if step % 25 == 24 or step == steps - 1:
            pace = (time.time() - began) / (step + 1 - start)
            print(f"{step + 1}/{steps} loss {mean:.3f} {pace:.2f} s/step", flush=True)
        if step % 50 == 49 or step == steps - 1:
            if step >= args.windows:
                print("  test:", test(slow, heads, test_pictures, test_labels), flush=True)
            if step == steps - 1:
                settled = tower()
                settled.load_state_dict(slow)
                settle(settled, pictures)
                slow = settled.state_dict()
                print("  settled:", test(slow, heads, test_pictures, test_labels), flush=True)
            state = {"net": slow, "live": net.state_dict(), "heads": heads.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)


def settle(net: nn.Module, pictures: np.ndarray) -> None:
    """Measures the normalisation's means and deviations anew, on pictures as they are."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    net.train()
    with torch.no_grad():
        for i in range(0, min(len(pictures), 2560), 64):
            net.forward_features(pixels(pictures[i : i + 64]))
    net.eval()


def test(slow: dict[str, Tensor], heads: Heads, pictures, labels: dict[str, Tensor]) -> str:
    """The averaged weights on the first 200 test pictures."""
    net = tower()
    net.load_state_dict(slow)
    on_cpu = Heads()
    on_cpu.load_state_dict(heads.state_dict())
    return measure(net, on_cpu, pictures[:200], {k: v[:200] for k, v in labels.items()})


if __name__ == "__main__":
    main()
