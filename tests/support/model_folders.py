"""Small model folders at random weights, written as the libraries themselves write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast


def small_siglip_of_these_tests(**kwargs: Any) -> Any:
    """timm's tiny vision transformer for small pictures: open_clip cannot ask it for a size."""
    return timm.create_model("vit_tiny_patch16_224", **kwargs, img_size=64)


def small_pe_core_of_these_tests(**kwargs: Any) -> Any:
    """timm's tiny Perception Encoder for small pictures."""
    return timm.create_model("vit_pe_core_tiny_patch16_384", **kwargs, img_size=64)


for _model in (small_siglip_of_these_tests, small_pe_core_of_these_tests):
    timm.models.register_model(_model)

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ViT": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "layers": 3, "width": 128, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "ViT-quickgelu-scaled-custom": {
        "embed_dim": 64,
        "quick_gelu": True,
        "custom_text": True,
        "vision_cfg": {
            "image_size": [48, 64],
            "layers": 2,
            "width": 128,
            "patch_size": 16,
            "ls_init_value": 0.5,
            "pool_type": "avg",
        },
        "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407, "proj_bias": True},
    },
    "SigLIP2": {
        "embed_dim": 192,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "small_siglip_of_these_tests",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 64,
            "hf_tokenizer_name": "nobody/siglip2",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": 192,
            "heads": 3,
            "layers": 3,
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-06},
            "act_kwargs": {"approximate": "tanh"},
        },
    },
    "ConvNeXt": {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "convnext_atto",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
        },
        "text_cfg": TEXT,
    },
    "ResNet": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
        "text_cfg": TEXT,
    },
    "MobileCLIP": {
        "embed_dim": 64,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 128,
            "timm_model_name": "fastvit_mci0",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": None,
        },
        "text_cfg": {**TEXT, "no_causal_mask": True},
    },
    "PE-Core": {
        "embed_dim": 64,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 64,
            "timm_model_name": "small_pe_core_of_these_tests",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": None,
        },
        "text_cfg": {**TEXT, "context_length": 32},
    },
}
"""One of each family that the adapter promises, with the real one's structure."""

PREPROCESS: dict[str, dict[str, Any]] = {
    "SigLIP2": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
    "MobileCLIP": {
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "interpolation": "bilinear",
        "resize_mode": "shortest",
    },
    "ResNet": {"resize_mode": "longest", "fill_color": 90},
}


def write_open_clip(folder: Path, name: str, *, seed: int = 5) -> Path:
    """An open_clip folder of the architecture `name` at random weights."""
    folder.mkdir(parents=True)
    described = {"model_cfg": ARCHITECTURES[name], "preprocess_cfg": PREPROCESS.get(name, {})}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.create_model(f"local-dir:{folder}")
        for module in model.modules():
            # At its initial weights a network says nearly the same about every picture.
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                module.weight.data *= 1.3
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                module.running_mean.normal_(0, 0.1)
                module.weight.data.uniform_(0.5, 1.5)
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("text_projection.bias"):
                parameter.data.normal_(0, 0.1)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    if "hf_tokenizer_name" in ARCHITECTURES[name]["text_cfg"]:
        write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    """A Hugging Face tokenizer of a few words, ending texts as SigLIP's does."""
    words = ["<pad>", "<eos>", "<unk>", "a", "the", "dog", "cat", "red", "boat", "on", "sea"]
    words += ["two", "photo", "of", "and", "runs", "sleeps"]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
