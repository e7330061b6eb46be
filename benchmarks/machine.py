"""One line about the machine, for the head of every benchmark's output."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> str:
    """Processor, cores this process may use, vector instructions, load, Python, torch."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text("utf-8").splitlines()
        cpu = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), cpu)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    simd = torch.backends.cpu.get_cpu_capability()
    return (
        f"{cpu}, {cores} cores, {simd}{load}; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
