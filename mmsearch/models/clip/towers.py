"""Forward passes of an open_clip model, as fast as the bound on their error allows.

open_clip's modules are the reference. `selection` compares every faster way below with them on
probe inputs when a model is loaded, and uses it only where the vectors agree.

- `FastTransformer` runs open_clip's transformer blocks with fewer, larger operations, and the
  last block only at the pooled position, because nothing else of its output is used.
- Causal text towers read up to the longest end-of-text token only: later tokens cannot influence
  it. Towers with bidirectional attention (SigLIP, MobileCLIP) read all their padding.
- The normalisation of pixels is folded into the patch embedding of a vision transformer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from open_clip.transformer import (
    ResidualAttentionBlock,
    TextTransformer,
    Transformer,
    VisionTransformer,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own convention

from mmsearch.types import Preprocess

Arithmetic: TypeAlias = Literal["fp32", "bf16", "int8"]
Linear: TypeAlias = Callable[[Tensor], Tensor]

# ------------------------------------------------------------------ arithmetic


def linear(weight: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> Linear:
    """x @ weight.T + bias in the given arithmetic; weight (out, in) and bias in fp32."""
    if arithmetic == "int8":
        return Int8Linear(weight, bias)
    dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
    w = weight.detach().to(dtype).contiguous()
    b = None if bias is None else bias.detach().to(dtype)
    return lambda x: F.linear(x, w, b)


class Int8Linear(nn.Module):
    """8-bit weights (one scale per output), 8-bit activations (one scale per call).

    torch's own dynamic quantisation (FBGEMM); in and out are fp32. Activations use 7 of
    the 8 bits, because without VNNI instructions pairs of products overflow 16 bits.
    """

    int8_original_dtype = torch.float32
    """open_clip's blocks read the dtype of a layer without float weights here."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        w = weight.detach().float()
        scales = (w.abs().amax(dim=1) / 127).clamp_min(1e-12)
        zeros = torch.zeros(len(w), dtype=torch.long)
        with warnings.catch_warnings():
            # torch has deprecated these tensors; `runtime.can_quantise` checks for them.
            warnings.simplefilter("ignore", UserWarning)
            quantised = torch.quantize_per_channel(w, scales, zeros, 0, torch.qint8)
        b = None if bias is None else bias.detach().float()
        self._packed = torch.ops.quantized.linear_prepack(quantised, b)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self._packed, True)


def quantise_linears(module: nn.Module) -> None:
    """Replace every large `nn.Linear` below `module` by its 8-bit form, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Linear and child.weight.numel() >= 2**14:
            setattr(module, name, Int8Linear(child.weight, child.bias))
        else:
            quantise_linears(child)


# ------------------------------------------------------------------ transformer blocks


class FastTransformer:
    """open_clip's `Transformer` of default blocks, pooled at one position per row."""

    def __init__(self, transformer: Transformer, arithmetic: Arithmetic) -> None:
        if not supported(transformer):
            raise TypeError("not a transformer of open_clip's default blocks")
        self._blocks = [_Block(block, arithmetic) for block in transformer.resblocks]

    def __call__(self, x: Tensor, *, causal: bool, pool: Tensor | None) -> Tensor:
        """x (n, length, width) to (n, length, width), or with `pool` (n,) to (n, width)."""
        for block in self._blocks[:-1]:
            x = block(x, causal=causal)
        last = self._blocks[-1]
        return last(x, causal=causal) if pool is None else last.at(x, pool, causal=causal)

    def last_values(self, x: Tensor) -> Tensor:
        """The values of the last block, before any position is pooled: (n, length, width)."""
        for block in self._blocks[:-1]:
            x = block(x, causal=False)
        return self._blocks[-1].values(x)


def supported(transformer: Any) -> bool:
    """Whether FastTransformer can run this transformer."""
    return type(transformer) is Transformer and all(
        type(block) is ResidualAttentionBlock
        and not hasattr(block, "ln_1_kv")
        and block.attn.in_proj_weight is not None
        and block.attn.in_proj_bias is not None
        for block in transformer.resblocks
    )


class _Norm:
    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._shape, self._eps = norm.normalized_shape, norm.eps
        self._weight, self._bias = norm.weight.detach().to(dtype), norm.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self._shape, self._weight, self._bias, self._eps)


class _Block:
    def __init__(self, block: ResidualAttentionBlock, arithmetic: Arithmetic) -> None:
        dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        attention, mlp = block.attn, block.mlp
        self._heads = attention.num_heads
        width = self._width = attention.embed_dim
        self._ln_1, self._ln_2 = _Norm(block.ln_1, dtype), _Norm(block.ln_2, dtype)
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self._qkv = linear(weight, bias, arithmetic)
        self._out = linear(*_scaled(attention.out_proj, block.ls_1), arithmetic)
        self._fc = linear(mlp.c_fc.weight, mlp.c_fc.bias, arithmetic)
        self._activation = mlp.gelu
        self._proj = linear(*_scaled(mlp.c_proj, block.ls_2), arithmetic)
        self._head = width // self._heads

    def values(self, x: Tensor) -> Tensor:
        """The attention output of each position if it attended to itself only."""
        v = self._split(self._qkv(self._ln_1(x)))[2]
        return self._out(v.transpose(1, 2).flatten(2))

    def __call__(self, x: Tensor, *, causal: bool) -> Tensor:
        q, k, v = self._split(self._qkv(self._ln_1(x)))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self._out(attended.transpose(1, 2).flatten(2))
        return x + self._mlp(x)

    def at(self, x: Tensor, pool: Tensor, *, causal: bool) -> Tensor:
        """The block's output at position pool[i] of each row i only: (n, width)."""
        rows = torch.arange(len(x), device=x.device)
        q, k, v = self._split(self._qkv(self._ln_1(x)))
        q = q[rows, :, pool].unsqueeze(2)
        mask = None
        if causal and len(x) > 1:
            seen = torch.arange(x.shape[1], device=x.device) <= pool[:, None]
            mask = seen[:, None, None, :]
        elif causal:
            end = int(pool[0]) + 1
            k, v = k[:, :, :end], v[:, :, :end]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        pooled = x[rows, pool] + self._out(attended.flatten(1))
        return pooled + self._mlp(pooled)

    def _mlp(self, x: Tensor) -> Tensor:
        return self._proj(self._activation(self._fc(self._ln_2(x))))

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, length, _ = qkv.shape
        parts = qkv.view(n, length, 3, self._heads, self._head).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]


def _scaled(layer: nn.Linear, scale: nn.Module) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias multiplied by the LayerScale that follows it."""
    gamma = getattr(scale, "gamma", None)
    if gamma is None:
        return layer.weight, layer.bias
    return layer.weight * gamma[:, None], layer.bias * gamma


# ------------------------------------------------------------------ image towers


class VitImageTower:
    """open_clip's VisionTransformer, from uint8 pixels to vectors that are not normalised."""

    def __init__(
        self, visual: VisionTransformer, preprocess: Preprocess, arithmetic: Arithmetic
    ) -> None:
        if not is_plain_vit(visual):
            raise TypeError("not a plain open_clip vision transformer")
        self._visual = visual
        self._dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        self._patch = visual.patch_size
        weight = visual.conv1.weight.detach().float()  # (width, 3, patch, patch)
        std = torch.tensor(preprocess.std, device=weight.device).view(1, 3, 1, 1)
        mean = torch.tensor(preprocess.mean, device=weight.device).view(1, 3, 1, 1)
        folded = weight / (255 * std)
        # Patches are flattened in the memory order of pixels: row, column, channel.
        self._embed = folded.permute(0, 2, 3, 1).flatten(1).contiguous()
        shift = -(weight.double() * (mean / std)).sum(dim=(1, 2, 3)).float()
        position = visual.positional_embedding.detach().float()
        self._positions = position[1:] + shift
        self._first = (visual.class_embedding.detach().float() + position[0]).view(1, 1, -1)
        self._blocks = FastTransformer(visual.transformer, arithmetic)
        self._one_position = visual.pool_type == "tok" and visual.attn_pool is None

    @property
    def one_position(self) -> bool:
        """Whether the vector is pooled from the class token only."""
        return self._one_position

    def patches(self, pixels: Tensor) -> Tensor:
        """(n, height, width, 3) uint8 to (n, rows, columns, dimension) fp32: the contribution of
        each patch, projected into the space of the vectors."""
        n, height, width, _ = pixels.shape
        values = self._blocks.last_values(self._tokens(pixels)).float()[:, 1:]
        visual = self._visual
        patches = visual.ln_post(values)
        patches = patches @ visual.proj if visual.proj is not None else patches
        return patches.view(n, height // self._patch[0], width // self._patch[1], -1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, height, width, 3) uint8 to (n, dimension) fp32."""
        n = len(pixels)
        x = self._tokens(pixels)
        visual = self._visual
        if self._one_position:
            first = torch.zeros(n, dtype=torch.long, device=x.device)
            pooled = visual.ln_post(self._blocks(x, causal=False, pool=first).float())
        else:
            pooled, _ = visual._pool(self._blocks(x, causal=False, pool=None).float())  # noqa: SLF001
        return pooled @ visual.proj if visual.proj is not None else pooled

    def _tokens(self, pixels: Tensor) -> Tensor:
        """The class token and the patches as input of the first block."""
        n, height, width, _ = pixels.shape
        ph, pw = self._patch
        patches = pixels.view(n, height // ph, ph, width // pw, pw, 3).transpose(2, 3)
        patches = patches.reshape(n, -1, ph * pw * 3).float()
        x = F.linear(patches, self._embed) + self._positions
        x = torch.cat([self._first.expand(n, -1, -1), x], dim=1)
        return self._visual.ln_pre(x).to(self._dtype)


def is_plain_vit(visual: nn.Module) -> bool:
    """Whether VitImageTower can run this tower."""
    return type(visual) is VisionTransformer and supported(visual.transformer)


class ModuleImageTower:
    """Any open_clip image tower, unchanged, in fp32 or bf16."""

    def __init__(self, visual: nn.Module, preprocess: Preprocess) -> None:
        self._visual = visual
        weight = next(p for p in visual.parameters() if p.is_floating_point())
        self._dtype = weight.dtype
        std = torch.tensor(preprocess.std, device=weight.device)
        self._scale = (1 / (255 * std)).view(1, 3, 1, 1)
        mean = torch.tensor(preprocess.mean, device=weight.device)
        self._shift = (-mean / std).view(1, 3, 1, 1)

    @property
    def visual(self) -> nn.Module:
        """open_clip's module."""
        return self._visual

    def normalised(self, pixels: Tensor) -> Tensor:
        """(n, height, width, 3) uint8 to normalised (n, 3, height, width) in the module's dtype."""
        # The permuted view is channels_last already: no copy, and convolutions are fast on it.
        images = pixels.permute(0, 3, 1, 2).float().mul_(self._scale).add_(self._shift)
        return images.to(self._dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, height, width, 3) uint8 to (n, dimension) fp32."""
        out = self._visual(self.normalised(pixels))
        return (out[0] if isinstance(out, tuple) else out).float()


# ------------------------------------------------------------------ text towers


class FastTextTower:
    """open_clip's text tower; a causal one reads up to the longest end-of-text token only."""

    def __init__(self, model: nn.Module, arithmetic: Arithmetic) -> None:
        parts = text_parts(model)
        if parts is None:
            raise TypeError("not a plain open_clip text tower")
        self._parts = parts
        self._dtype = torch.bfloat16 if arithmetic == "bf16" else torch.float32
        self._blocks = FastTransformer(parts.transformer, arithmetic)

    def __call__(self, tokens: Tensor) -> Tensor:
        """(n, context) int64 to (n, dimension) fp32."""
        parts = self._parts
        pooled_at = parts.pooled_at(tokens)
        if parts.causal:
            tokens = tokens[:, : int(pooled_at.max()) + 1]
        x = parts.embedding(tokens) + parts.positions[: tokens.shape[1]]
        x = self._blocks(x.to(self._dtype), causal=parts.causal, pool=pooled_at)
        pooled = parts.ln_final(x.float())
        if parts.projection is None:
            return pooled
        if isinstance(parts.projection, nn.Linear):
            return parts.projection(pooled)
        return pooled @ parts.projection

    def drop_originals(self) -> None:
        """Free open_clip's blocks: from now on only this tower can run."""
        self._parts.owner.transformer = nn.Identity()
        self._parts.transformer = nn.Identity()


class TextParts:
    """The parts of a plain text tower, independent of the model's class."""

    def __init__(self, owner: Any, *, pool_type: str, eos: int) -> None:
        self.owner = owner
        self.pool_type, self.eos = pool_type, eos
        self.causal = getattr(owner, "attn_mask", None) is not None
        self.embedding: nn.Embedding = owner.token_embedding
        self.positions: Tensor = owner.positional_embedding
        self.transformer: nn.Module = owner.transformer
        self.ln_final: nn.LayerNorm = owner.ln_final
        self.projection: nn.Linear | Tensor | None = owner.text_projection

    def pooled_at(self, tokens: Tensor) -> Tensor:
        """The pooled position of each row, (n,) int64."""
        if self.pool_type == "argmax":
            return tokens.argmax(dim=-1)
        if self.pool_type == "eos":
            return (tokens == self.eos).int().argmax(dim=-1)
        position = 0 if self.pool_type == "first" else tokens.shape[1] - 1
        return torch.full((len(tokens),), position, device=tokens.device)


def text_parts(model: Any) -> TextParts | None:
    """The parts of the model's text tower if FastTextTower can run it, else None.

    Truncating a text behind the pooled position is exact with causal attention. A class token
    behind the text, or a separate padding mask, is not supported.
    """
    text: Any = getattr(model, "text", None)
    if text is None and getattr(model, "token_embedding", None) is not None:
        parts = TextParts(model, pool_type=model.text_pool_type, eos=model.text_eos_id)
    elif type(text) is TextTransformer and text.cls_emb is None and not text.use_pad_mask:
        parts = TextParts(text, pool_type=text.pool_type, eos=text.eos_id)
    else:
        return None
    pooled = parts.pool_type in ("argmax", "eos", "first", "last")
    return parts if pooled and supported(parts.transformer) else None


class ModuleTextTower:
    """Any open_clip text tower on its full context, with padding."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, tokens: Tensor) -> Tensor:
        """(n, context) int64 to (n, dimension) fp32."""
        return self._model.encode_text(tokens).float()
