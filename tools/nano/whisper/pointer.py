"""A head start for the decoder: where to look next, solved instead of learned.

When the decoder joins the training, the encoder's frames already tell their word (they share the
tokens' embedding space) and, linearly, their place in the window. A least-squares map from frames
to their sinusoids lets the first decoder layer fetch the place of the word just written, and the
last layer look a little behind it. Without it, attention takes several times as many steps.
"""

from __future__ import annotations

import math

import torch
from model import DecoderLayer, NanoWhisper
from windows import Batch

_SHIFTS = (6, 10, 14, 18, 24, 32)  # frames from the middle of a word to that of the next


@torch.no_grad()
def place_map(model: NanoWhisper, batches: list[Batch], columns: torch.Tensor) -> torch.Tensor:
    """(width + 1, columns): least-squares map from frames (and 1) to sinusoids of their place."""
    inputs, outputs = [], []
    for batch in batches:
        frames, _ = model.encode(batch.mel, batch.offset)
        places = model.positions[batch.offset : batch.offset + frames.shape[1], columns]
        inputs.append(frames.flatten(0, 1))
        outputs.append(places[None].expand(len(frames), -1, -1).flatten(0, 1))
    x = torch.cat(inputs)
    x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
    ridge = 1e-3 * len(x) * torch.eye(x.shape[1])
    return torch.linalg.solve(x.T @ x + ridge, x.T @ torch.cat(outputs))


@torch.no_grad()
def point(model: NanoWhisper, batches: list[Batch]) -> None:
    """Set the first and the last layer's cross-attention of the decoder as described above."""
    width, heads = model.shape.width, model.shape.heads
    size, half = width // heads, width // 2
    chosen = 6 + 2 * torch.arange(size // 2)  # rates that frames still tell well
    columns = torch.cat([chosen, half + chosen])
    found = place_map(model, batches, columns)
    first, last = model.decoder[0], model.decoder[-1]
    assert isinstance(first, DecoderLayer)
    assert isinstance(last, DecoderLayer)
    match = torch.nn.init.orthogonal_(torch.empty(width, width)) * 1.5
    fetch = first.encoder_attn
    for head in range(2):
        at = slice(head * size, (head + 1) * size)
        fetch.q_proj.weight[at] = match[at]
        fetch.kv.weight[:width][at] = match[at]
        fetch.kv.weight[width:][at] = found[:-1].T
        fetch.kv.bias[width:][at] = found[-1]
        fetch.out_proj.weight[:, at] = 0
        fetch.out_proj.weight[columns, at] = torch.eye(size)
    look = last.encoder_attn
    rates = torch.exp(-math.log(10000) / (half - 1) * chosen.float())
    rows = torch.arange(size // 2)
    for head, shift in enumerate(_SHIFTS[:heads]):
        at = slice(head * size, (head + 1) * size)
        turn = rates * shift
        q = torch.zeros(size, width)
        q[rows, chosen], q[rows, half + chosen] = turn.cos(), turn.sin()
        q[size // 2 + rows, chosen] = -turn.sin()
        q[size // 2 + rows, half + chosen] = turn.cos()
        look.q_proj.weight[at] = 1.2 * q
        look.kv.weight[:width][at] = 1.2 * found[:-1].T
