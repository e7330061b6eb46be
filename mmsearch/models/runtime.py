"""Where and how local models run: device, precision, threads, and where their files are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from mmsearch.errors import ConfigurationError
from mmsearch.models import loading

if TYPE_CHECKING:
    import torch

    from mmsearch.settings import Settings

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "int8"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every adapter of a local model needs to know of the settings."""

    device: str = "auto"
    """"auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:N"."""
    precision: Precision = "auto"
    threads: int = 0
    """Threads of arithmetic on a CPU; 0: one per core that this process may use."""
    model_folder: Path = Path("~/.cache/mmsearch/models")
    """Searched before the hub's cache and the hub."""
    allow_download: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
            model_folder=settings.model_folder,
            allow_download=settings.allow_download,
        )

    def offline(self) -> Self:
        """The same without downloads."""
        return replace(self, allow_download=False)

    @property
    def thread_count(self) -> int:
        """`threads`, with 0 resolved to the number of available cores."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def find_model(
        self,
        name: str,
        *,
        repo: str | None,
        patterns: Sequence[str],
        needs: Sequence[str],
        ignored: Sequence[str] = (),
    ) -> Path:
        """The folder of the model `name`, checked against its manifest if it has one.

        Arguments and order of search as in `loading.find_model`.
        Raises WeightsNotFoundError, DamagedModelError.
        """
        folder = loading.find_model(
            name,
            model_folder=self.model_folder,
            repo=repo,
            patterns=patterns,
            needs=needs,
            allow_download=self.allow_download,
            ignored=ignored,
        )
        loading.verify_manifest(folder)
        return folder

    # ------------------------------------------------------------------ torch

    def torch_device(self) -> torch.device:
        """The device for torch. Raises ConfigurationError if it does not exist."""
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise ConfigurationError(f"unknown device '{self.device}'", param="device") from error
        if device.type not in ("cpu", "cuda"):
            raise ConfigurationError(
                f"device '{self.device}' is neither cpu nor cuda", param="device"
            )
        count = torch.cuda.device_count() if device.type == "cuda" else 1
        if device.type == "cuda" and (device.index or 0) >= count:
            raise ConfigurationError(
                f"there is no device '{self.device}' ({count} GPUs)", param="device"
            )
        return device

    def limit_torch_threads(self) -> None:
        """Make torch compute with `thread_count` threads; the number is global to the process."""
        import torch

        if torch.get_num_threads() != self.thread_count:
            torch.set_num_threads(self.thread_count)

    def use_bf16(self, device: torch.device) -> bool:
        """Whether a large model runs in bf16: if asked for, or natively on this GPU by "auto"."""
        if self.precision == "auto":
            return device.type == "cuda" and native_bf16(device)
        return self.precision == "bf16"


def native_bf16(device: torch.device) -> bool:
    """Whether the device computes bf16 natively; emulated it is several times slower than fp32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supports_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    supports_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool((supports_avx512 and supports_avx512()) or (supports_amx and supports_amx()))


def can_quantise() -> bool:
    """Whether this build of torch multiplies 8-bit matrices on this processor."""
    import torch

    return "x86" in torch.backends.quantized.supported_engines and hasattr(
        torch, "quantize_per_channel"
    )
