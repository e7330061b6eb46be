"""The architecture of nano-clip, and the folder open_clip loads it from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from augment import MEAN, STD
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

EMBED_DIM = 192
TEACHER_DIM = 384
IMAGE_SIZE = 160
CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "mlp",
            "image_size": IMAGE_SIZE,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 128,
            "heads": 4,
            "layers": 3,
            "proj_bias": True,
        },
    },
    "preprocess_cfg": {
        "size": IMAGE_SIZE,
        "mode": "RGB",
        "mean": list(MEAN),
        "std": list(STD),
        "interpolation": "bilinear",
        "resize_mode": "squash",
    },
}


def build() -> CLIP:
    """nano-clip with random weights, float32."""
    cfg = CONFIG["model_cfg"]
    return CLIP(
        embed_dim=cfg["embed_dim"],
        vision_cfg=CLIPVisionCfg(**cfg["vision_cfg"]),
        text_cfg=CLIPTextCfg(**cfg["text_cfg"]),
    )


def tokenizer() -> open_clip.SimpleTokenizer:
    """open_clip's bundled byte-pair tokenizer."""
    return open_clip.SimpleTokenizer(
        context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"]
    )


def tokenise_short(texts: list[str], tokens: open_clip.SimpleTokenizer) -> torch.Tensor:
    """Token ids int64 [n, longest]: the padding that a causal text tower never sees is cut off."""
    ids = tokens(texts)
    return ids[:, : int((ids != 0).sum(1).max())]


def export(model: CLIP, folder: Path) -> None:
    """Write ``open_clip_config.json`` and float16 ``open_clip_model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.detach().half().contiguous() if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    weights = folder / "open_clip_model.safetensors"
    save_file(state, str(weights), metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors writes files that only their owner may read
    (folder / "open_clip_config.json").write_text(
        json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8"
    )
