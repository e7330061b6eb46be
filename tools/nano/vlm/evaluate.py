"""Measures nano-vlm on scenes of the picture book's test split and writes the figures.

Every figure goes through the adapter that searching uses, one question and picture at a time.

python tools/nano/vlm/evaluate.py --folder mmsearch/models/nano/vlm --out docs/models/nano-vlm.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mmsearch.demo.picturebook import draw, questions, sample_scenes
from mmsearch.demo.picturebook.rivals import gallery
from mmsearch.models.runtime import Runtime
from mmsearch.models.vision.vlm import VisionLanguageScorer

SIZE = 256


def yes_no(scorer: VisionLanguageScorer, n: int, seed: int) -> dict[str, object]:
    """Share of right answers per kind of question, threshold 0.5."""
    right: dict[str, list[bool]] = {}
    for scene in sample_scenes("test", n, seed):
        image = draw(scene, SIZE)
        for question in questions(scene, seed):
            said = scorer.score(question.text, [image])[0] > 0.5
            right.setdefault(question.kind, []).append(bool(said) == question.answer)
    answers = [value for values in right.values() for value in values]
    figures: dict[str, object] = {
        kind: {"accuracy": round(float(np.mean(v)), 4), "questions": len(v)}
        for kind, v in sorted(right.items())
    }
    by_kind = [float(np.mean(v)) for v in right.values()]
    return {
        "scenes": n,
        "questions": len(answers),
        "accuracy": round(float(np.mean(answers)), 4),
        "mean_of_kinds": round(float(np.mean(by_kind)), 4),
        "kinds": figures,
    }


def rerank(
    scorer: VisionLanguageScorer, clip: Path | None, n: int, seed: int, top: int
) -> dict[str, object]:
    """Recall@1 of relational captions: nano-clip alone, then nano-vlm on its best `top`.

    Without nano-clip the vision-language model ranks each picture among its own rivals.
    """
    scenes, asked = gallery(n, seed)
    images = [draw(scene, SIZE) for scene in scenes]
    first: np.ndarray | None = None
    if clip is not None:
        first = clip_scores(clip, images, [text for text, _ in asked])
    alone, fused, pure, within, found = [], [], [], [], []
    for row, (text, target) in enumerate(asked):
        end = next((t for _, t in asked if t > target), len(scenes))
        group = list(range(target, end))
        own = scorer.score(text, [images[i] for i in group])
        within.append(bool(own.argmax() == 0))
        if first is None:
            continue
        order = np.argsort(-first[row])[:top]
        scores = scorer.score(text, [images[i] for i in order])
        alone.append(order[0] == target)
        found.append(target in order)
        pure.append(order[int(scores.argmax())] == target)
        # Fused as searching does it: mostly the judge, the first stage breaks ties.
        clip_part = first[row][order]
        spread = np.ptp(clip_part) or 1.0
        both = 0.8 * scores + 0.2 * (clip_part - clip_part.min()) / spread
        fused.append(order[int(both.argmax())] == target)
    figures: dict[str, object] = {
        "captions": n,
        "pictures": len(scenes),
        "among_own_rivals": round(float(np.mean(within)), 4),
        "chance_among_own_rivals": round(n / len(scenes), 4),
    }
    if first is not None:
        figures |= {
            "top": top,
            "nano_clip_recall_at_1": round(float(np.mean(alone)), 4),
            "reranked_recall_at_1": round(float(np.mean(pure)), 4),
            "fused_recall_at_1": round(float(np.mean(fused)), 4),
            "in_top": round(float(np.mean(found)), 4),
        }
    return figures


def clip_scores(folder: Path, images: list[Image.Image], texts: list[str]) -> np.ndarray:
    """Cosines of texts and pictures in nano-clip's space, (texts, images)."""
    from mmsearch.models.clip.openclip import OpenClipEmbedder

    embedder = OpenClipEmbedder(
        str(folder.resolve()), runtime=Runtime(device="cpu", precision="fp32", threads=1)
    )
    return embedder.encode_texts(texts, "query") @ embedder.encode_images(images).T


def fill_card(card: Path, figures: dict) -> None:
    """Rewrites the figures in the model card between its two marks."""
    asked, ranked = figures["yes_no"], figures["rerank"]
    rows = [("yes or no, all questions", asked["accuracy"], "0.50", asked["questions"])]
    rows += [
        (f"yes or no: {kind}", entry["accuracy"], "0.50", entry["questions"])
        for kind, entry in asked["kinds"].items()
    ]
    rows.append(
        (
            "right picture among its own rivals (mirrored, recoloured)",
            ranked["among_own_rivals"],
            f"{ranked['chance_among_own_rivals']:.2f}",
            ranked["captions"],
        )
    )
    for key, name in (
        ("nano_clip_recall_at_1", "relational captions, recall@1: nano-clip alone"),
        ("reranked_recall_at_1", f"... its best {ranked.get('top')} reranked by nano-vlm"),
        ("fused_recall_at_1", "... reranked and fused with nano-clip's score"),
    ):
        if key in ranked:
            rows.append((name, ranked[key], "", ranked["captions"]))
    table = ["| measured on unseen combinations | figure | chance | of |", "|---|---|---|---|"]
    table += [f"| {name} | {value:.3f} | {chance} | {n} |" for name, value, chance, n in rows]
    size = figures["bytes"] / 1e6
    table.append("")
    table.append(
        f"{size:.1f} MB on disk; {figures['milliseconds_per_picture']} ms a picture "
        f"({figures['machine']})."
    )
    text = card.read_text(encoding="utf-8")
    before, rest = text.split("<!-- figures:", 1)
    mark, rest = rest.split("-->\n", 1)
    _, after = rest.split("<!-- end of figures -->", 1)
    body = "\n".join(table)
    card.write_text(
        f"{before}<!-- figures:{mark}-->\n{body}\n<!-- end of figures -->{after}", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("mmsearch/models/nano/vlm"))
    parser.add_argument("--clip", type=Path, default=Path("mmsearch/models/nano/clip"))
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--card", type=Path, default=None, help="model card to fill in")
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--seed", type=int, default=77)
    args = parser.parse_args()
    scorer = VisionLanguageScorer(
        str(args.folder.resolve()), batch_size=20, runtime=Runtime(device="cpu", threads=1)
    )
    clip = args.clip if (args.clip / "open_clip_config.json").exists() else None
    image = draw(sample_scenes("test", 1, 0)[0], SIZE)
    scorer.score("a red boat", [image] * 20)
    began = time.perf_counter()
    scorer.score("a red boat left of a green house", [image] * 20)
    milliseconds = (time.perf_counter() - began) / 20 * 1000
    figures = {
        "model": "nano-vlm",
        "split": "test: combinations that training never showed",
        "bytes": sum(p.stat().st_size for p in args.folder.iterdir()),
        "yes_no": yes_no(scorer, args.scenes, args.seed),
        "rerank": rerank(scorer, clip, args.captions, args.seed, args.top),
        "milliseconds_per_picture": round(milliseconds, 1),
        "machine": f"{platform.machine()}, one thread, fp32",
    }
    text = json.dumps(figures, indent=2) + "\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text)
    if args.card is not None:
        fill_card(args.card, figures)


if __name__ == "__main__":
    main()
