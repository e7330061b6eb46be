"""Distil the sentence model into nano-clip's small text tower.

The tower (open_clip's causal transformer over the bundled byte-pair vocabulary) learns the
teacher's 384-dimensional vectors of class prompts, photo captions, picture-book captions and of
every whole English word in the vocabulary, so that words outside the captions keep a meaning
("automobile" near "car"). ``joint.py`` then folds in the map that the image tower was trained with.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import book
import corpora
import numpy as np
import open_clip
import teacher
import torch
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from towers import CONFIG, TEACHER_DIM, tokenizer


def build_text_tower(output: int = TEACHER_DIM) -> TextTransformer:
    """nano-clip's text tower with a biased projection to ``output`` dimensions."""
    cfg = CONFIG["model_cfg"]["text_cfg"]
    return TextTransformer(
        context_length=cfg["context_length"],
        vocab_size=cfg["vocab_size"],
        width=cfg["width"],
        heads=cfg["heads"],
        layers=cfg["layers"],
        output_dim=output,
        proj_bias=True,
    )


def vocabulary_words(tokens: open_clip.SimpleTokenizer) -> list[str]:
    """Whole words of the byte-pair vocabulary, most frequent first."""
    return [
        token[: -len("</w>")]
        for token in tokens.encoder
        if token.endswith("</w>")
        and len(token) >= 7
        and token[:-4].isascii()
        and token[:-4].isalpha()
    ]


def tower_features(tower: TextTransformer, ids: Tensor) -> Tensor:
    """[n, width] of token ids [n, length]; shorter than the context, as the tower is causal."""
    length = ids.shape[1]
    x = tower.token_embedding(ids) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    return x[torch.arange(len(ids)), ids.argmax(-1)]


def tower_forward(tower: TextTransformer, ids: Tensor) -> Tensor:
    """[n, dim] of token ids [n, length]."""
    return tower.text_projection(tower_features(tower, ids))


@torch.no_grad()
def begin_with(tower: TextTransformer, folder: Path, ids: Tensor, targets: Tensor) -> None:
    """Take over the text tower of an exported folder. Its projection went into another space: the
    one into the teacher's is fitted to ``targets`` [n, TEACHER_DIM] of ``ids`` [n, length]."""
    shipped = load_file(folder / "open_clip_model.safetensors")
    own = {k: shipped[k].float() for k in tower.state_dict() if not k.startswith("text_proj")}
    tower.load_state_dict(own, strict=False)
    features = torch.cat([tower_features(tower, part) for part in ids.split(256)])
    ones = torch.ones(len(features), 1)
    fit = torch.linalg.lstsq(torch.cat([features, ones], 1), targets).solution
    tower.text_projection.weight.copy_(fit[:-1].T)
    tower.text_projection.bias.copy_(fit[-1])


def training_texts(
    data: Path, cache: Path, words: int, captions: int
) -> tuple[list[str], np.ndarray]:
    """Texts and the teacher's unit vectors float32 [n, 384] of each."""
    groups = [
        [p for row in teacher.class_prompts(corpora.class_names(data)) for p in row],
    ]
    flickr = corpora.flickr8k(data, cache, "train").captions
    groups += [[row[i].strip() for row in flickr] for i in range(captions)]
    rendered = book.load(cache)
    if rendered is not None:
        groups += book.distilled(rendered)
    vocabulary = vocabulary_words(tokenizer())[:words]
    groups.append(vocabulary)
    groups.append(
        [
            teacher.fill(teacher.TEMPLATES[1 + i % (len(teacher.TEMPLATES) - 1)], word)
            for i, word in enumerate(vocabulary)
            if i % 3 == 0
        ]
    )
    vectors = []
    for group in groups:
        vectors.append(teacher.embed(group, cache))
        print("teacher", len(group), flush=True)
    return [t for group in groups for t in group], np.concatenate(vectors)


def main() -> None:
    """Distil for ``--minutes``; writes ``text.pt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--words", type=int, default=20000)
    parser.add_argument("--captions", type=int, default=5, help="captions used of each photo")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--start", type=Path, help="exported folder whose tower to begin with")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    args.out.mkdir(parents=True, exist_ok=True)
    texts, vectors = training_texts(args.data, args.cache, args.words, args.captions)
    tokens = tokenizer()
    ids = tokens(texts)
    lengths = (ids != 0).sum(1)
    targets = torch.from_numpy(vectors)
    held = torch.from_numpy(rng.choice(len(texts), 1000, replace=False))
    rows = np.setdiff1d(np.arange(len(texts)), held.numpy())

    tower = build_text_tower()
    with torch.no_grad():
        tower.text_projection.bias.copy_(targets.mean(0))
    if args.start is not None:
        some = rows[rng.choice(len(rows), 8192, replace=False)]
        begin_with(tower, args.start, ids[some, : int(lengths[some].max())], targets[some])
    embedding = [tower.token_embedding.weight]
    rest = [p for name, p in tower.named_parameters() if not name.startswith("token_embedding")]
    optimiser = torch.optim.AdamW(
        [{"params": embedding, "weight_decay": 0.0}, {"params": rest, "weight_decay": 0.02}],
        lr=args.lr,
        betas=(0.9, 0.98),
    )
    batch, began, step, budget = 256, time.monotonic(), 0, args.minutes * 60
    order: list[np.ndarray] = []
    while (spent := time.monotonic() - began) < budget:
        if not order:  # batches of similar length, in random order
            noisy = lengths[rows].numpy() + rng.random(len(rows)) * 3
            shuffled = rows[np.argsort(noisy)]
            order = np.array_split(shuffled, len(shuffled) // batch)
            rng.shuffle(order)
        pick = torch.from_numpy(order.pop())
        lr = args.lr * min(1.0, (step + 1) / 100) * (1 - spent / budget + 0.01)
        for group in optimiser.param_groups:
            group["lr"] = lr
        out = tower_forward(tower, ids[pick, : int(lengths[pick].max())])
        target = targets[pick]
        cosine = functional.cosine_similarity(out, target).mean()
        unit = functional.normalize(out, dim=-1)
        # the teacher's neighbours inside the batch keep their relative distances
        wanted = functional.log_softmax(20 * target @ target.T, dim=1)
        relation = functional.kl_div(
            functional.log_softmax(20 * unit @ target.T, dim=1),
            wanted,
            log_target=True,
            reduction="batchmean",
        )
        loss = (1 - cosine) * 5 + relation + (out.norm(dim=1) - 1).square().mean() * 0.1
        loss.backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if step % 200 == 0:
            with torch.no_grad():
                out = tower_forward(tower, ids[held, : int(lengths[held].max())])
                fit = functional.cosine_similarity(out, targets[held]).mean()
            print(
                f"{spent / 60:.1f} min step {step} epochs {step * batch / len(rows):.1f} "
                f"train cosine {float(cosine):.3f} held-out {float(fit):.3f}",
                flush=True,
            )
            torch.save(tower.state_dict(), args.out / "text.pt")
    torch.save(tower.state_dict(), args.out / "text.pt")


if __name__ == "__main__":
    main()
