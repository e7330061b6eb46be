"""Trains the network that guesses whether a picture holds words (mmsearch/media/textness.py).

    python tools/textness/train.py --data shared/data --out mmsearch/media/textness.npz

Photos with and without lines of print drawn over them, and drawn screens and pages; a third of
the photos is held out. On one core 1500 steps take about five minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

SIDE = 256
SMALL_TO_LARGE = (4, 5, 6, 8, 10, 12, 14, 18, 24, 32, 48)
OVER_PHOTOS = (7, 9, 12, 16, 20, 26, 34, 48)
FONTS = Path("/usr/share/fonts/truetype")
MORE_WORDS = (
    "INVOICE $12.50 2024-03-05 def return Settings OK Cancel 404 http:// Total: No. SALE EXIT"
)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, required=True, help="images/ with captions.jsonl")
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--exclude", type=Path, help="JSON: photos that hold words, by path")
options = parser.parse_args()

torch.set_num_threads(1)
rng = random.Random(0)
rows = [json.loads(line) for line in (options.data / "images/captions.jsonl").open()]
files = sorted(str(options.data / "images" / row["file"]) for row in rows)
random.Random(7).shuffle(files)
written = set(json.loads(options.exclude.read_text())) if options.exclude else set()
photos = [Image.open(f).convert("L") for f in files[: len(files) * 2 // 3] if f not in written]
fonts = [f for f in sorted(FONTS.rglob("*.ttf")) if "Emoji" not in f.name]
words = " ".join(row["captions"][0] for row in rows).split() + MORE_WORDS.split()
loaded: dict[tuple[Path, int], ImageFont.FreeTypeFont] = {}


def font(size: int) -> ImageFont.FreeTypeFont:
    key = (rng.choice(fonts), size)
    if key not in loaded:
        loaded[key] = ImageFont.truetype(*key)
    return loaded[key]


def photo() -> Image.Image:
    image = rng.choice(photos)
    scale = 512 / max(image.size) * rng.choice([1, 1, 1, rng.uniform(0.7, 1.6)])
    size = [max(SIDE, round(side * scale)) for side in image.size]
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    image = image.resize(size, how)
    x, y = (rng.randint(0, side - SIDE) for side in image.size)
    image = image.crop((x, y, x + SIDE, y + SIDE))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def drawing() -> Image.Image:
    """A plain ground with shapes on it, as screens and slides have."""
    image = Image.new("L", (SIDE, SIDE), rng.choice([255, 250, rng.randint(0, 255), 30]))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 6)):
        x, y = rng.randint(-50, SIDE), rng.randint(-50, SIDE)
        w, h = rng.randint(5, 200), rng.randint(3, 200)
        shade, kind = rng.randint(0, 255), rng.random()
        if kind < 0.4:
            draw.rectangle([x, y, x + w, y + h], fill=shade)
        elif kind < 0.6:
            draw.ellipse([x, y, x + w, y + h], fill=shade)
        elif kind < 0.8:
            draw.line([x, y, x + w, y + h], fill=shade, width=rng.randint(1, 6))
        else:
            image.paste(rng.choice(photos).resize((w, h)), (x, y))
    return image


def write(image: Image.Image, mask: np.ndarray, *, plain: bool) -> Image.Image:
    # Drawn larger and shrunk: small print as screens show it.
    up = rng.choice([1, 2, 3])
    big = image.resize((SIDE * up, SIDE * up), Image.Resampling.BILINEAR) if up > 1 else image
    draw = ImageDraw.Draw(big)
    ground = np.asarray(big)
    for _ in range(rng.randint(1, 5 if plain else 3)):
        sizes = (
            [4, 5, 6, 8, 10, 12, 14, 18, 24, 32, 48] if plain else [7, 9, 12, 16, 20, 26, 34, 48]
        )
        size = max(8, rng.choice(sizes) * up)
        x, y = rng.randint(0, SIDE * up // 2), rng.randint(0, max(1, SIDE * up - 2 * size))
        behind = ground[y : y + size * 2, x : x + size * 8]
        light = behind.size == 0 or float(behind.mean()) > 128
        ink = rng.choice([0, 20, 60]) if light else rng.choice([255, 230, 200])
        outline = {}
        if not plain and rng.random() < 0.5:
            outline = {"stroke_width": max(1, size // 14), "stroke_fill": 255 - ink}
        face = font(size)
        for number in range(rng.choice([1, 1, 2, 4, 8]) if plain else rng.choice([1, 1, 1, 2])):
            line = " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))
            line = line.upper() if rng.random() < 0.15 else line
            at = (x, y + int(number * size * 1.3))
            if at[1] > SIDE * up - size:
                break
            left, top, right, bottom = (v / up / 8 for v in draw.textbbox(at, line, font=face))
            draw.text(at, line, fill=ink, font=face, **outline)
            last = max(round(top) + 1, round(bottom))
            mask[max(0, round(top)) : last, max(0, round(left)) : round(right)] = 1
    return big.resize((SIDE, SIDE), Image.Resampling.BOX) if up > 1 else big


def sample() -> tuple[np.ndarray, np.ndarray]:
    plain = rng.random() < 0.35
    image = drawing() if plain else photo()
    mask = np.zeros((SIDE // 8, SIDE // 8), np.float32)
    if rng.random() < (0.6 if plain else 0.45):
        image = write(image, mask, plain=plain)
    values = np.asarray(image).astype(np.float32)
    if rng.random() < 0.3:
        values = values + np.random.default_rng(rng.randrange(2**32)).normal(
            0, rng.uniform(0, 8), values.shape
        )
    values = (values - 128) * rng.uniform(0.6, 1.1) + 128 + rng.uniform(-15, 15)
    return (np.clip(values, 0, 255) / 127.5 - 1).astype(np.float32), mask


net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 4, 4), torch.nn.ReLU(),
    torch.nn.Conv2d(16, 32, 2, 2), torch.nn.ReLU(),
    torch.nn.Conv2d(32, 24, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(24, 1, 1),
)  # fmt: skip
optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-4)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=options.steps)
began, running = time.time(), 1.0
for step in range(options.steps):
    pictures, masks = zip(*[sample() for _ in range(16)], strict=True)
    x, wanted = torch.from_numpy(np.stack(pictures))[:, None], torch.from_numpy(np.stack(masks))
    told = net(x)[:, 0]
    loss = functional.binary_cross_entropy_with_logits(told, wanted, pos_weight=torch.tensor(1.5))
    wordless = wanted.sum((1, 2)) == 0
    if wordless.any():
        # It is the likeliest cells that decide.
        worst = told[wordless].flatten(1).topk(12).values
        loss = loss + 0.2 * functional.softplus(worst).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    running = 0.98 * running + 0.02 * loss.item()
    if step % 100 == 0:
        print(step, round(running, 3), f"{time.time() - began:.0f} s", flush=True)

weights = {name: value.numpy() for name, value in net.state_dict().items()}
np.savez(
    options.out,
    # As NumPy multiplies: (inputs, outputs), inputs in the order (row, column, channel).
    first=weights["0.weight"].reshape(16, 16).T,
    first_bias=weights["0.bias"],
    second=weights["2.weight"].transpose(2, 3, 1, 0).reshape(64, 32),
    second_bias=weights["2.bias"],
    third=weights["4.weight"].transpose(2, 3, 1, 0),
    third_bias=weights["4.bias"],
    last=weights["6.weight"].reshape(1, 24).T,
    last_bias=weights["6.bias"],
)
