"""Second stage of nano-vlm: the language model learns to answer.

First with --oracle: what it reads are the true labels of every cell, so it can learn beside the
image tower. Then it reads the tower: the projector first learns to say what the labels said.

python tools/nano/vlm/train.py --data /tmp/vlm --out /tmp/vlm --folder mmsearch/models/nano/vlm
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import parallel
import torch
from data import COLOUR_INDEX, KIND_INDEX, load, rendered
from language import USUAL, WORDINGS, Batch, Packer, choose
from model import build_model, build_tokenizer, save
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast
from vision import batches, follow, pixels

from mmsearch.demo.picturebook import questions
from mmsearch.demo.picturebook.lexicon import OBJECTS


class Grounding(nn.Module):
    """Training only: the word that completes a mention must know whether and where it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 5))

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        out = self.read(hidden[batch.noun_at[:, 0], batch.noun_at[:, 1]])
        there = batch.boxes[:, 0] >= 0
        loss = F.binary_cross_entropy_with_logits(out[:, 0], batch.present)
        if there.any():
            loss = loss + 6 * F.smooth_l1_loss(out[there, 1:], batch.boxes[there], beta=0.05)
        return loss


def shipped(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder that `save` wrote, float32."""
    saved = load_file(folder / "model.safetensors")
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in saved.items()}
    # Shared with the embedding, so stored once.
    tensors.setdefault("lm_head.weight", tensors["model.language_model.embed_tokens.weight"])
    return tensors


def features(model: nn.Module, pictures: np.ndarray, n: int, path: Path) -> np.ndarray:
    """The image tower's cells of the first n pictures, float16 (n, 49, width), kept in a file."""
    if path.exists():
        kept = np.load(path, mmap_mode="r")
        if len(kept) >= n:
            return kept[:n]
    # On the CPU: it is called once, before the model moves.
    tower = model.model.vision_tower.timm_model.eval().to(memory_format=torch.channels_last)
    parts = []
    with torch.inference_mode():
        for i in range(0, n, 128):
            grid = tower.forward_features(pixels(pictures[i : min(n, i + 128)]))
            parts.append(grid.flatten(2).permute(0, 2, 1).half().numpy())
    np.save(path, np.concatenate(parts))
    return np.load(path, mmap_mode="r")


READ_AGAIN = 6_000
"""Pictures by which a projector learns to read a tower that has learned more."""

ORACLE = 65 + 11 + 4 + 1 + 14 + 4 + 6


def oracle_cells(folder: Path, split: str) -> np.ndarray:
    """The labels of every cell as numbers, float16 (n, 49, ORACLE)."""
    _, labels = batches(folder, split)
    kind = F.one_hot(labels["kind"], 65)
    colour = F.one_hot(labels["colour"], 11)
    scene = labels["scene"]
    whole = torch.cat(
        [F.one_hot(scene[:, 0], 14), F.one_hot(scene[:, 1] + 1, 4), F.one_hot(scene[:, 2] + 1, 6)],
        1,
    )
    box = labels["box"] * (labels["kind"] > 0)[..., None]
    everywhere = whole[:, None].expand(-1, kind.shape[1], -1)
    parts = [kind, colour, box, labels["centre"][..., None], everywhere]
    return torch.cat([p.half() for p in parts], 2).numpy()


@torch.no_grad()
def begin_by_matching(
    model: nn.Module, oracle: nn.Linear, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Weights from which "which cell is the boat?" is nearly solved: an object's label looks like
    its word, and the lower layers' queries and keys are alike, so that a word attends to what
    looks like it. From usual weights it takes thousands of steps to find that."""
    words = model.model.language_model.embed_tokens.weight
    words.normal_(0, 0.06)
    oracle.weight.normal_(0, 0.06)
    oracle.bias.zero_()

    def row(word: str) -> Tensor:
        return words[tokenizer.convert_tokens_to_ids(word)]

    for kind in OBJECTS:
        row(kind.plural).lerp_(row(kind.name), 0.8 if kind.plural != kind.name else 0.0)
        oracle.weight[:, KIND_INDEX[kind.name] + 1] = 2 * row(kind.name)
    for colour, place in COLOUR_INDEX.items():
        oracle.weight[:, len(OBJECTS) + 1 + place + 1] = 2 * row(colour)
    for layer in model.model.language_model.layers[:3]:
        attention = layer.self_attn
        attention.q_proj.weight.mul_(3.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


def learn_to_read(
    projector: nn.Module, oracle: nn.Module, cells: np.ndarray, labels: np.ndarray, steps: int
) -> None:
    """Trains the projector to give for the tower's cells what the oracle gave for the labels (or
    the projector of before for the cells of the tower of before)."""
    optimizer = torch.optim.AdamW(projector.parameters(), lr=3e-3, weight_decay=0.01)
    rng = np.random.default_rng(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        pick = np.sort(rng.integers(0, len(cells), 64))
        with torch.no_grad():
            wanted = oracle(torch.from_numpy(np.asarray(labels[pick], np.float32)))
        given = projector(torch.from_numpy(np.asarray(cells[pick], np.float32)))
        loss = F.mse_loss(given, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(
                f"projector {step + 1}/{steps} {loss.item() / wanted.var().item():.3f}", flush=True
            )


def run(model: nn.Module, cells: Tensor, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits (m, vocabulary) at the answers, and the hidden states of every layer."""
    body = model.model
    embedded = body.language_model.embed_tokens(batch.ids)
    image = body.multi_modal_projector(cells)
    embedded = torch.cat([embedded[:, :1], image, embedded[:, 1 + image.shape[1] :]], 1)
    out = body.language_model(
        inputs_embeds=embedded,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        output_hidden_states=True,
        use_cache=False,
    )
    at = out.last_hidden_state[batch.answer_at[:, 0], batch.answer_at[:, 1]]
    return model.lm_head(at), out.hidden_states


def measure(
    model: nn.Module, packer: Packer, cells: np.ndarray, scenes: list, n: int
) -> dict[str, float]:
    """Accuracy per kind of question over the first n scenes."""
    model.eval()
    right: dict[str, list[bool]] = {}
    with torch.inference_mode():
        for i in range(0, n, 25):
            part = scenes[i : min(n, i + 25)]
            asked = [questions(scene, 1, 1) for scene in part]
            batch = packer.pack(part, asked, USUAL)
            device = next(model.parameters()).device
            seen = torch.from_numpy(np.asarray(cells[i : i + len(part)], np.float32))
            logits, _ = run(model, seen.to(device), batch.to(device))
            said = logits[:, packer.yes] > logits[:, packer.no]
            for answer, question in zip(said.tolist(), [q for a in asked for q in a], strict=True):
                right.setdefault(question.kind, []).append(answer == question.answer)
    model.train()
    scores = {kind: float(np.mean(values)) for kind, values in right.items()}
    return {"all": float(np.mean([v for values in right.values() for v in values])), **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=None, help="where the model is saved")
    parser.add_argument("--start", type=Path, help="saved folder whose words to begin with")
    parser.add_argument("--oracle", action="store_true", help="read labels, not pictures")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rank, world = parallel.join()
    tokenizer = build_tokenizer()
    packer, model = Packer(tokenizer), build_model(tokenizer)
    aim = Grounding(model.config.text_config.hidden_size)
    projector = model.model.multi_modal_projector
    _, scenes = load(args.data, "train")
    _, test_scenes = load(args.data, "test")
    path = args.out / ("oracle.pt" if args.oracle else "language.pt")
    oracle = nn.Linear(ORACLE, model.config.text_config.hidden_size)
    start, state = 0, None
    if path.exists():
        state = torch.load(path, weights_only=True)
        start = state["step"]
    elif args.start is not None:
        model.load_state_dict(shipped(args.start))
    elif not args.oracle:
        taught = torch.load(args.out / "oracle.pt", weights_only=True)
        oracle.load_state_dict(taught["reader"])
        for name in [n for n in taught["model"] if "multi_modal_projector" in n]:
            del taught["model"][name]
        model.load_state_dict(taught["model"], strict=False)
        aim.load_state_dict(taught["aim"])
    if args.oracle:
        if state is None:
            begin_by_matching(model, oracle, tokenizer)
        model.model.multi_modal_projector = oracle
        cells, test_cells = oracle_cells(args.data, "train"), oracle_cells(args.data, "test")
    if state is not None:
        model.load_state_dict(state["live"])
        aim.load_state_dict(state["aim"])
    if not args.oracle:
        if state is None and args.start is not None:
            before = features(model, load(args.data, "train")[0], READ_AGAIN, args.out / "old.npy")
        vision = torch.load(args.out / "vision.pt", weights_only=True)
        model.model.vision_tower.timm_model.load_state_dict(vision["net"])
        pictures, test_pictures = load(args.data, "train")[0], load(args.data, "test")[0]
        stem = f"cells-{vision['step']}.npy"
        cells = features(model, pictures, rendered(pictures), args.out / f"train-{stem}")
        test_cells = features(model, test_pictures, len(test_scenes), args.out / f"test-{stem}")
        if state is None and args.start is not None:
            learn_to_read(projector, copy.deepcopy(projector), cells[:READ_AGAIN], before, 600)
        elif state is None:
            learn_to_read(projector, oracle, cells, oracle_cells(args.data, "train"), 600)
    rng = np.random.default_rng([args.seed, start, rank])
    n = len(cells)
    model.model.vision_tower.requires_grad_(False)
    device = torch.device(args.device)
    model.to(device)
    aim.to(device)
    parameters = [p for p in [*model.parameters(), *aim.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.02, betas=(0.9, 0.98))
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    began, mean = time.time(), {"answer": 0.0, "aim": 0.0, "right": 0.0}
    slow = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    for step in range(start, args.steps):
        rate = min(1.0, (step + 1) / 60) * (
            0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / args.steps))
        )
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate
        pick = np.sort(rng.integers(0, n, args.batch))
        part = [scenes[i] for i in pick]
        asked = [choose(s, int(rng.integers(1 << 30)), args.questions, rng) for s in part]
        wording = USUAL if rng.random() < 0.85 else WORDINGS[int(rng.integers(len(WORDINGS)))]
        batch = packer.pack(part, asked, wording).to(device)
        seen = torch.from_numpy(np.asarray(cells[pick], np.float32))
        if args.oracle:
            # No tower is as sure as the labels are.
            seen = seen * (1 - 0.3 * torch.rand_like(seen)) + 0.1 * torch.randn_like(seen)
        logits, hidden = run(model, seen.to(device), batch)
        answer = F.cross_entropy(logits, batch.answers)
        where = aim(hidden[2], batch)
        optimizer.zero_grad(set_to_none=True)
        (answer + 0.5 * where).backward()
        parallel.average(parameters, world)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        follow(slow, model, min(0.98, (step + 1 - start) / (step + 10 - start)))
        now = {"answer": answer.item(), "aim": where.item(),
               "right": (logits.argmax(-1) == batch.answers).float().mean().item()}  # fmt: skip
        keep = 0.0 if step == start else 0.97
        mean = {k: keep * mean[k] + (1 - keep) * v for k, v in now.items()}
        if rank:
            continue
        if step % 20 == 19:
            pace = (time.time() - began) / (step + 1 - start)
            text = " ".join(f"{k} {v:.3f}" for k, v in mean.items())
            print(f"{step + 1}/{args.steps} {text} {pace:.2f} s/step", flush=True)
        if step % 50 == 49 or step == args.steps - 1:
            live = {name: value.clone() for name, value in model.state_dict().items()}
            model.load_state_dict(slow)
            scores = measure(model, packer, test_cells, test_scenes, args.test)
            print("  test:", " ".join(f"{k} {v:.3f}" for k, v in scores.items()), flush=True)
            if args.folder is not None:
                save(model, args.folder)
            model.load_state_dict(live)
            state = {"model": slow, "live": live, "aim": aim.state_dict(), "step": step + 1}
            state |= {"optimizer": optimizer.state_dict()}
            state["reader"] = model.model.multi_modal_projector.state_dict() if args.oracle else {}
            torch.save(state, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    main()
