"""Finds the files of an open_clip model: configuration, checkpoint, tokenizer.

Models have open_clip's names (see `parse`). Every name resolves to a `Source` of local files, so
that loading never uses the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsearch.errors import ConfigurationError, WeightsNotFoundError
from mmsearch.models import loading
from mmsearch.models.runtime import Runtime

CONFIG = "open_clip_config.json"
CHECKPOINTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
)
_TOKENIZER_PATTERNS = (
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "config.json",
)
_RANDOM = re.compile(r"random=(\d+)")


@dataclass(frozen=True, slots=True)
class Source:
    """Local files of one model, or an architecture with random weights."""

    model: str
    """The user's name of it, for messages."""
    architecture: str
    """Argument of `open_clip.create_model`: an architecture, or `local-dir:` and a path."""
    config: Mapping[str, Any]
    """open_clip's `model_cfg`."""
    checkpoint: Path | None
    """None: random weights from `seed`."""
    tokenizer: Path | None
    """Folder of a Hugging Face tokenizer; None: the tokenizer bundled with open_clip."""
    preprocess: Mapping[str, Any]
    """The checkpoint's overrides of open_clip's default `PreprocessCfg`."""
    revision: str
    seed: int | None = None


def find_source(
    name: str, weights: str | None, *, runtime: Runtime, seed: int | None = None
) -> Source:
    """Find the files of the model `name`; download them if necessary and allowed.

    `name` is an architecture ("ViT-B-32", with `weights` a checkpoint tag or file), a hub
    id ("hf-hub:org/model"), or a folder ("local-dir:/path", or simply a path). With `seed`
    the architecture gets random weights: for tests and benchmarks only.
    Raises ConfigurationError, WeightsNotFoundError, DamagedModelError.
    """
    if name == "nano-clip":
        return _from_folder(name, loading.nano_folder("clip"), seed, runtime.offline())
    prefix, _, rest = name.partition(":")
    if prefix == "local-dir" or loading.looks_like_path(name):
        folder = Path(rest if prefix == "local-dir" else name).expanduser()
        return _from_folder(name, folder, seed, runtime)
    if prefix == "hf-hub":
        folder = runtime.find_model(
            rest,
            repo=rest,
            patterns=(CONFIG, *CHECKPOINTS[:3], *_TOKENIZER_PATTERNS),
            needs=(CONFIG,),
        )
        return _from_folder(name, folder, seed, runtime)
    return _from_architecture(name, weights, seed, runtime)


def _from_folder(name: str, folder: Path, seed: int | None, runtime: Runtime) -> Source:
    loading.verify_manifest(folder)
    try:
        described = json.loads((folder / CONFIG).read_text("utf-8"))
        config = described["model_cfg"]
    except FileNotFoundError as error:
        raise WeightsNotFoundError(name, str(folder), f"there is no {CONFIG}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise loading.unreadable(name, folder, error) from error
    checkpoint = None if seed is not None else _checkpoint_in(folder)
    if checkpoint is None and seed is None:
        raise WeightsNotFoundError(name, str(folder), f"there is no {CHECKPOINTS[0]}")
    return Source(
        model=name,
        architecture=f"local-dir:{folder}",
        config=config,
        checkpoint=checkpoint,
        tokenizer=_tokenizer(name, config, folder, runtime),
        preprocess=described.get("preprocess_cfg", {}),
        revision=_revision(folder, checkpoint, seed),
        seed=seed,
    )


def _from_architecture(
    name: str, weights: str | None, seed: int | None, runtime: Runtime
) -> Source:
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        similar = [known for known in open_clip.list_models() if known[:5] == name[:5]]
        raise ConfigurationError(
            f"open_clip knows no architecture '{name}'. "
            f"Similar names: {', '.join(similar) or 'see open_clip.list_models()'}."
        )
    preprocess: Mapping[str, Any] = {}
    if seed is not None:
        checkpoint = None
    elif weights is None:
        raise ConfigurationError(
            f"'{name}' is an architecture: name its weights too, a tag such as "
            f"{', '.join(open_clip.list_pretrained_tags_by_model(name)[:3]) or '(none known)'} "
            "or a file."
        )
    elif loading.looks_like_path(weights) or Path(weights).is_file():
        checkpoint = Path(weights).expanduser()
        if not checkpoint.is_file():
            raise WeightsNotFoundError(name, str(checkpoint), "no such file")
    else:
        tag = open_clip.get_pretrained_cfg(name, weights)
        if not tag:
            known = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
            raise ConfigurationError(
                f"open_clip knows no weights '{weights}' for '{name}'. Known: {known}."
            )
        if bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
            raise ConfigurationError(
                f"the weights '{weights}' were trained with another activation function than "
                f"the architecture '{name}': use '{_other_gelu(name)}'."
            )
        checkpoint = _tagged(name, weights, tag, runtime)
        preprocess = tag
    return Source(
        model=name,
        architecture=name,
        config=config,
        checkpoint=checkpoint,
        tokenizer=_tokenizer(name, config, checkpoint.parent if checkpoint else None, runtime),
        preprocess=preprocess,
        revision=weights
        if weights and checkpoint and not loading.looks_like_path(weights)
        else _revision(None, checkpoint, seed),
        seed=seed,
    )


def _tagged(name: str, weights: str, tag: Mapping[str, Any], runtime: Runtime) -> Path:
    """The checkpoint file of an open_clip tag."""
    folders = loading.places_in(runtime.model_folder, f"{name}-{weights}")
    for folder in folders:
        loading.verify_manifest(folder)
        if (checkpoint := _checkpoint_in(folder)) is not None:
            return checkpoint
    repo, _, file = str(tag.get("hf_hub", "")).rpartition("/")
    wanted = [file] if file else list(CHECKPOINTS)
    if file.endswith((".bin", ".pth", ".pt")):
        wanted.insert(0, str(Path(file).with_suffix(".safetensors")))
    try:
        if repo:
            # Only the preferred format that exists is downloaded.
            patterns = (*wanted[:2], *_TOKENIZER_PATTERNS)
            snapshot = loading.hub_snapshot(
                repo, patterns, wanted, allow_download=runtime.allow_download
            )
            return next(snapshot / w for w in wanted if (snapshot / w).is_file())
        return _from_url(str(tag.get("url", "")), allow_download=runtime.allow_download)
    except LookupError as error:
        raise WeightsNotFoundError(f"{name}:{weights}", str(folders[0]), str(error)) from error


def _from_url(url: str, *, allow_download: bool) -> Path:
    """A checkpoint that has only a URL: from open_clip's cache, else downloaded by open_clip."""
    import open_clip.pretrained

    cached = Path("~/.cache/clip").expanduser() / Path(url).name
    if not url or (not cached.is_file() and not allow_download):
        raise LookupError("not in open_clip's cache, and downloading is not allowed")
    try:
        return Path(open_clip.pretrained.download_pretrained_from_url(url))
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise LookupError(f"the download failed: {error}") from error


def _checkpoint_in(folder: Path) -> Path | None:
    return next((folder / name for name in CHECKPOINTS if (folder / name).is_file()), None)


def _tokenizer(
    name: str, config: Mapping[str, Any], folder: Path | None, runtime: Runtime
) -> Path | None:
    repo = config.get("text_cfg", {}).get("hf_tokenizer_name")
    if not repo:
        return None
    if folder is not None and any((folder / file).is_file() for file in TOKENIZER_FILES):
        return folder
    try:
        return runtime.find_model(
            str(repo), repo=str(repo), patterns=_TOKENIZER_PATTERNS, needs=TOKENIZER_FILES
        )
    except WeightsNotFoundError as error:
        raise WeightsNotFoundError(
            f"{name} (its tokenizer '{repo}')",
            str(folder or error.folder),
            "no tokenizer files there, nor on the hub within reach",
        ) from error


def _revision(folder: Path | None, checkpoint: Path | None, seed: int | None) -> str:
    if seed is not None or checkpoint is None:
        return f"random={seed}"
    return loading.revision_of(folder or checkpoint, loading.weights_digest([checkpoint]))


def _other_gelu(name: str) -> str:
    suffix = "-quickgelu"
    return name.removesuffix(suffix) if name.endswith(suffix) else name + suffix


def parse(text: str) -> tuple[str, str | None, int | None]:
    """A model as one string to (name, weights, seed).

    "ViT-B-32:laion2b_s34b_b79k", "ViT-B-32:/weights.safetensors", "hf-hub:org/model",
    "local-dir:/folder", "/folder", and for benchmarks "ViT-B-32:random=7".
    """
    prefix, colon, rest = text.partition(":")
    if not colon or prefix in ("hf-hub", "local-dir") or loading.looks_like_path(text):
        return text, None, None
    random = _RANDOM.fullmatch(rest)
    return (prefix, None, int(random[1])) if random else (prefix, rest, None)
