"""The settings `device` and `precision` made definite for torch."""

from __future__ import annotations

import torch

from mmsearch.errors import ConfigurationError


def resolve_device(device: str) -> torch.device:
    """The setting `device` as torch means it: "auto" is the first GPU, else the CPU.

    Raises ConfigurationError if that device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigurationError(f"unknown device '{device}'", param="device") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"device '{device}' is neither cpu nor cuda", param="device")
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        raise ConfigurationError(f"device '{device}' is not there ({count} GPUs)", param="device")
    return chosen


def native_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed natively there; emulated it is several times slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supports = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool((supports and supports()) or (amx and amx()))


def can_quantise() -> bool:
    """Whether this build of torch multiplies 8-bit matrices on this processor."""
    return "x86" in torch.backends.quantized.supported_engines and hasattr(
        torch, "quantize_per_channel"
    )
