"""The network: Whisper's architecture, small, with two helper heads that only training uses.

Parameter names follow transformers' `WhisperForConditionalGeneration` (queries, keys and values
are kept in one matrix here and split on export). The encoder takes windows of any length, placed
at any position, so that training can begin on short clips.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

MEL_BINS = 80
FRAMES = 1500  # encoder positions of 20 ms: 30 s


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    width: int = 192
    heads: int = 6
    hidden: int = 512
    encoder_layers: int = 4
    decoder_layers: int = 3
    tokens: int = 448  # faster-whisper asks for up to 448 decoder positions

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def sinusoids(length: int, channels: int) -> torch.Tensor:
    """Whisper's fixed encoder positions, (length, channels): sines, then cosines."""
    step = math.log(10000) / (channels // 2 - 1)
    rates = torch.exp(-step * torch.arange(channels // 2).float())
    angles = torch.arange(length).float()[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values (keys have no bias)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, causal: bool) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if length < 600 and not causal:  # plain products beat the flash kernel on short clips
            mixed = (q * (width // self.heads) ** -0.5 @ k.transpose(2, 3)).softmax(-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))


class CrossAttention(nn.Module):
    """Attention of the decoder to the encoder's frames; also gives its log weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Output (batch, tokens, width) and attention weights (batch, heads, tokens, frames)."""
        batch, length, width = x.shape
        size = width // self.heads
        q = self.q_proj(x).view(batch, length, self.heads, size).transpose(1, 2)
        kv = self.kv(frames).view(batch, -1, 2, self.heads, size)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(2, 3) * size**-0.5).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, length, width)
        return self.out_proj(mixed), weights


class EncoderLayer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=False)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class DecoderLayer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.encoder_attn = CrossAttention(shape.width, shape.heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x + self.self_attn(self.self_attn_layer_norm(x), causal=True)
        mixed, weights = self.encoder_attn(self.encoder_attn_layer_norm(x), frames)
        x = x + mixed
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), weights


class NanoWhisper(nn.Module):
    """Encoder, decoder and the training-only heads for phonemes and words of each frame."""

    def __init__(self, shape: Shape, phonemes: int, word_tokens: torch.Tensor) -> None:
        """`word_tokens` are the token ids of the words, in the order of the word ids."""
        super().__init__()
        self.shape = shape
        self.register_buffer("word_tokens", word_tokens, persistent=False)
        width = shape.width
        self.conv1 = nn.Conv1d(MEL_BINS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(FRAMES, width), persistent=False)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.embed = nn.Embedding(shape.vocabulary, width)
        self.embed_positions = nn.Parameter(torch.randn(shape.tokens, width) * 0.02)
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.phoneme_head = nn.Linear(width, phonemes)
        self.no_word = nn.Parameter(torch.zeros(width))
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Initial weights that spare the optimiser what is known beforehand.

        Timestamps begin as the sinusoids of their own frame, so that near times are near; the
        first four encoder heads of each layer begin by looking at fixed distances (queries and
        keys read the fast sinusoids, turned against each other), as a convolution would.
        """
        width, size = self.shape.width, self.shape.width // self.shape.heads
        nn.init.normal_(self.embed.weight, std=0.03)
        self.embed.weight[-FRAMES - 1 :] = 0.05 * sinusoids(FRAMES + 1, width)
        half = width // 2
        rates = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half).float())
        pairs = size // 2
        chosen = torch.arange(0, pairs * 2, 2)  # every second of the faster sinusoids
        reach = ((-2, 2, -6, 6), (-3, 3, -9, 9), (-5, 5, -15, 15), (-8, 8, -25, 25))
        for index, layer in enumerate(self.encoder):
            assert isinstance(layer, EncoderLayer)
            weight = layer.self_attn.qkv.weight
            nn.init.normal_(weight, std=width**-0.5 * 0.7)
            for head, shift in enumerate(reach[index % len(reach)]):
                q = torch.zeros(size, width)
                k = torch.zeros(size, width)
                rows = torch.arange(pairs)
                turn = rates[chosen] * shift
                # Query at t reads the key of t + shift: turn the query's angle forward.
                q[rows, chosen], q[rows, half + chosen] = turn.cos(), turn.sin()
                q[pairs + rows, chosen] = -turn.sin()
                q[pairs + rows, half + chosen] = turn.cos()
                k[rows, chosen] = 1.0
                k[pairs + rows, half + chosen] = 1.0
                at = slice(head * size, (head + 1) * size)
                weight[at] = 0.05 * torch.randn(size, width) + 1.2 * q
                weight[width:][at] = 0.05 * torch.randn(size, width) + 1.2 * k

        # The decoder starts as a reader: lower layers look for the input token's own frames (frames
        # share the embeddings' space, see `word_logits`), the last one hands frames through.
        eye = torch.eye(width)
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            cross = layer.encoder_attn
            match = nn.init.orthogonal_(torch.empty(size, width)) * 1.5
            cross.q_proj.weight[:size] = match
            cross.kv.weight[:size] = match
        assert isinstance(layer, DecoderLayer)
        cross.kv.weight[width:] = eye
        cross.out_proj.weight.copy_(eye)

    def word_logits(self, frames: torch.Tensor) -> torch.Tensor:
        """Scores of the words for each frame, (..., 1 + words); 0 is "no word". They use the
        tokens' embeddings, so the decoder finds the words in the space that it writes from."""
        table = torch.cat([self.no_word[None], self.embed.weight[self.word_tokens]])
        return frames @ table.T

    def encode(self, mel: torch.Tensor, offset: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (batch, length / 2, width) of log-mels (batch, 80, length), and those of the
        second layer. `offset` is the position of the first frame in the window."""
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions[offset : offset + x.shape[1]]
        middle = x
        for index, layer in enumerate(self.encoder):
            if index == len(self.encoder) - 2:
                middle = x
            x = layer(x)
        return self.encoder_norm(x), middle

    def decode(
        self, tokens: torch.Tensor, frames: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Normed states (batch, tokens, width) and the cross-attention weights of each layer."""
        x = self.embed(tokens) + self.embed_positions[: tokens.shape[1]]
        weights = []
        for layer in self.decoder:
            x, layer_weights = layer(x, frames)
            weights.append(layer_weights)
        return self.decoder_norm(x), weights

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.embed.weight.T

    def transformers_state(self) -> dict[str, torch.Tensor]:
        """The weights under transformers' names, without the training-only heads."""
        out: dict[str, Any] = {}
        width = self.shape.width
        for name, value in self.state_dict().items():
            if name.startswith(("phoneme_head", "no_word")):
                continue
            value = value.detach()
            head, _, rest = name.partition(".")
            if head in ("encoder", "decoder"):
                target = f"model.{head}.layers.{rest}"
            elif head in ("encoder_norm", "decoder_norm"):
                target = f"model.{head.split('_')[0]}.layer_norm.{rest}"
            elif head == "embed":
                out["proj_out.weight"] = value
                target = "model.decoder.embed_tokens.weight"
            elif head == "embed_positions":
                target = "model.decoder.embed_positions.weight"
            else:
                target = f"model.encoder.{name}"
            if ".qkv." in target or ".kv." in target:
                names = "qkv" if ".qkv." in target else "kv"
                for part, chunk in zip(names, value.split(width), strict=True):
                    if part == "k" and target.endswith("bias"):
                        continue  # a bias of the keys shifts all scores alike: no effect
                    out[target.replace(f".{names}.", f".{part}_proj.")] = chunk
            else:
                out[target] = value
        out["model.encoder.embed_positions.weight"] = self.positions
        return out
