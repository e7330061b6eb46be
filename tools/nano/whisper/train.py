"""Train nano-whisper on the shards of `synthesize.py` and write the faster-whisper folder.

    python tools/nano/whisper/train.py --data SHARDS --out DIR --minutes 80

The schedule follows the wall clock: the encoder alone first (it learns the phoneme and word of
each frame, which the synthesiser tells), then the decoder; the learning rate ends at zero.
Stopped early, it goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from export import save_folder
from lexicon import words
from model import FRAMES, NanoWhisper, Shape
from muon import Muon
from pointer import point
from synthesize import phoneme_table
from tokenizer import token_strings
from torch.nn import functional as F
from windows import IGNORE, Batch, Batcher, Ids


def token_ids() -> Ids:
    tokens = token_strings(words())
    place = {token: index for index, token in enumerate(tokens)}
    return Ids(
        words=np.array([place.get("▁" + word, -1) for word in words()], np.int64),
        end=place["<|endoftext|>"],
        start=place["<|startoftranscript|>"],
        no_speech=place["<|nospeech|>"],
        no_timestamps=place["<|notimestamps|>"],
    )


def attention_loss(weights: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """-log of the weight that falls inside the spans; weights (n, length, frames)."""
    total = F.pad(weights.cumsum(-1), (1, 0))
    frames = weights.shape[-1]
    known = spans[..., 0] >= 0
    first = spans[..., 0].clamp(0, frames)
    end = spans[..., 1].clamp(0, frames)
    mass = total.gather(-1, end[..., None]) - total.gather(-1, first[..., None])
    return -(mass[..., 0][known].clamp_min(1e-5).log()).mean() if known.any() else mass.sum() * 0


def token_loss(
    states: torch.Tensor, targets: torch.Tensor, model: NanoWhisper, zero: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the next token and the share of right ones. A timestamp next to the true
    one is nearly right: its target is spread over the neighbours."""
    wanted = targets != IGNORE
    logits = model.logits(states[wanted])
    target = targets[wanted]
    log_probs = logits.log_softmax(-1)
    timed = target >= zero
    loss = -log_probs[~timed].gather(1, target[~timed, None]).sum()
    if timed.any():
        spread = log_probs.new_zeros(())
        for shift, share in ((-2, 0.1), (-1, 0.2), (0, 0.4), (1, 0.2), (2, 0.1)):
            near = (target[timed] + shift).clamp(zero, model.shape.vocabulary - 1)
            spread = spread - share * log_probs[timed].gather(1, near[:, None]).sum()
        loss = loss + 0.5 * spread
    right = (logits.argmax(-1) == target)[~timed].float().mean()
    return loss / len(target), right


def frame_losses(
    model: NanoWhisper, batch: Batch, frames: torch.Tensor, middle: torch.Tensor, thin: int = 3
) -> dict[str, torch.Tensor]:
    """Losses of the phoneme and word of each `thin`-th frame."""
    at = int(torch.randint(thin, ()).item())
    return {
        "phoneme": F.cross_entropy(
            model.phoneme_head(middle[:, at::thin]).flatten(0, 1),
            batch.phonemes[:, at::thin].flatten(),
            ignore_index=IGNORE,
        ),
        "word": F.cross_entropy(
            model.word_logits(frames[:, at::thin]).flatten(0, 1),
            batch.words[:, at::thin].flatten(),
            ignore_index=IGNORE,
        ),
    }


def decoder_losses(
    model: NanoWhisper, batch: Batch, frames: torch.Tensor, ids: Ids
) -> dict[str, torch.Tensor]:
    """Loss of the next token, and of attention that misses the frames of its word ("attention")
    or, in the lower layers, of the word before ("before")."""
    states, weights = model.decode(batch.tokens, frames)
    loss, right = token_loss(states, batch.targets, model, ids.zero)
    here = [attention_loss(weights[2][:, head], batch.here) for head in range(model.shape.heads)]
    before = [
        attention_loss(weights[layer][:, head], batch.before) for layer in (0, 1) for head in (0, 1)
    ]
    return {
        "token": loss,
        "right": right,
        "attention": torch.stack(here).mean(),
        "before": torch.stack(before).mean(),
    }


def optimizers(model: NanoWhisper) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the network, AdamW for embeddings, heads, norms and biases."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = name.startswith(("encoder.", "decoder.", "conv2"))
        (matrices if inside and parameter.dim() >= 2 else others).append(parameter)
    return [
        Muon(matrices, lr=0.0, split=model.shape.width),
        torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def rate(
    progress: float, encoder_share: float, peak: float, frozen: bool, decay: float = 0.45
) -> float:
    """Learning rate: short warm-up, flat, down to zero over the last share `decay` of the time.
    When the encoder is frozen for the second part, each part has its own."""
    if frozen and progress < encoder_share:
        progress = progress / encoder_share
    elif frozen:
        progress = (progress - encoder_share) / (1 - encoder_share)
    return peak * min(1.0, 0.05 + progress / 0.03) * min(1.0, max(0.0, (1 - progress) / decay))


def curriculum(
    batcher: Batcher, progress: float, frames: int, draw: np.random.Generator, easy: float
) -> tuple[str, Batch]:
    """The next batch and its kind: few plain voices at first, then more and more of all voices,
    until a share `easy` is left. Some are padded as transcription pads them, up to whole windows
    of 30 s."""
    kind = "easy" if draw.random() < max(easy, 1.0 - progress) else "short"
    padding = 0
    if draw.random() < 0.2:
        padding = int(draw.integers(50, 400)) if draw.random() < 0.8 else FRAMES
    return kind, batcher.next(kind, frames, padding)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.45, help="share of the time it falls in")
    parser.add_argument("--easy", type=float, default=0.7, help="least share of plain voices")
    parser.add_argument("--again", action="store_true", help="a checkpoint's clock starts anew")
    parser.add_argument("--frames", type=int, default=1800, help="encoder frames in a short batch")
    parser.add_argument(
        "--encoder-only", type=float, default=0.5, help="share of the time without the decoder"
    )
    parser.add_argument(
        "--freeze", action="store_true", help="train the decoder on a finished encoder (cheaper)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop", type=int, default=0, help="stop after so many steps (a trial)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    ids = token_ids()
    table = phoneme_table(arguments.data)
    shape = Shape(vocabulary=len(token_strings(words())))
    model = NanoWhisper(shape, len(table) + 1, torch.from_numpy(ids.words))
    steppers = optimizers(model)
    batcher = Batcher(arguments.data, ids, arguments.seed)
    draw = np.random.default_rng(arguments.seed)
    checkpoint = arguments.checkpoint or arguments.out.with_suffix(".pt")
    step, spent, heard, pointed = 0, 0.0, 0.0, False
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for stepper, kept in zip(steppers, state["optimizers"], strict=True):
            stepper.load_state_dict(kept)
        step, spent, heard = state["step"], state["spent"], state["heard"]
        if arguments.again:
            spent = 0.0
        pointed = spent / 60 / arguments.minutes > arguments.encoder_only
        batcher.draw = np.random.default_rng(arguments.seed + step)
        batcher.known = {arguments.data / name for name in state["shards"]}
        print(f"goes on at step {step}, {spent / 60:.1f} min", flush=True)
    began = time.time() - spent
    saved = shown = time.time()
    sums: dict[str, float] = {}
    cache: list[tuple[str, Batch, torch.Tensor]] = []
    while True:
        progress = (time.time() - began) / 60 / arguments.minutes
        if progress >= 1 or (arguments.stop and step >= arguments.stop):
            break
        decoding = progress > arguments.encoder_only
        frozen = decoding and arguments.freeze
        if frozen and len(cache) >= 60 and draw.random() < 0.7:
            kind, batch, frames = cache[draw.integers(len(cache))]
        else:
            kind, batch = curriculum(
                batcher,
                max(progress, float(arguments.again)),
                arguments.frames,
                draw,
                arguments.easy,
            )
            with torch.set_grad_enabled(not frozen):
                frames, middle = model.encode(batch.mel, batch.offset)
            if frozen:
                cache.append((kind, batch, frames))
            heard += batch.seconds
        lr = rate(
            progress, arguments.encoder_only, arguments.peak, arguments.freeze, arguments.decay
        )
        for stepper in steppers:
            stepper.param_groups[0]["lr"] = lr
            stepper.zero_grad()
        if decoding and not pointed:
            point(model, [batcher.next("easy", arguments.frames, 0) for _ in range(4)])
            pointed = True
        found: dict[str, torch.Tensor] = {}
        loss = torch.zeros(())
        if not frozen:
            found |= frame_losses(model, batch, frames, middle)
            loss = 0.5 * found["phoneme"] + found["word"]
        if decoding:
            found |= decoder_losses(model, batch, frames, ids)
            loss = loss + found["token"] + 0.4 * found["attention"] + 0.2 * found["before"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        step += 1
        for name, tensor in found.items():
            key, value = f"{kind[0]}.{name}", float(tensor.detach())
            sums[key] = 0.97 * sums.get(key, value) + 0.03 * value
        now = time.time()
        if now - shown > 30:
            text = " ".join(f"{name} {value:.3f}" for name, value in sums.items())
            minutes = (now - began) / 60
            print(
                f"{minutes:.1f} min step {step} heard {heard / 3600:.2f} h lr {lr:.5f} {text}",
                flush=True,
            )
            shown = now
        if now - saved > 180:
            save(checkpoint, model, steppers, batcher, step, now - began, heard)
            saved = now
    save(checkpoint, model, steppers, batcher, step, time.time() - began, heard)
    save_folder(model.eval(), words(), arguments.out)


def save(
    path: Path,
    model: NanoWhisper,
    steppers: list[torch.optim.Optimizer],
    batcher: Batcher,
    step: int,
    spent: float,
    heard: float,
) -> None:
    """Checkpoint beside the output, written aside and renamed."""
    waiting = {path for paths in batcher.fresh.values() for path in paths}
    state = {
        "model": model.state_dict(),
        "optimizers": [stepper.state_dict() for stepper in steppers],
        "step": step,
        "spent": spent,
        "heard": heard,
        "shards": [path.name for path in batcher.known - waiting],
    }
    temporary = path.with_suffix(".part")
    torch.save(state, temporary)
    temporary.rename(path)


if __name__ == "__main__":
    main()
