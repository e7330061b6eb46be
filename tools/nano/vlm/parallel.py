"""Several processes that train one model: gradients are averaged after every step.

Start n processes with WORLD_SIZE=n, RANK=0..n-1, MASTER_ADDR=127.0.0.1 and one MASTER_PORT; one
alone needs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist


def join() -> tuple[int, int]:
    """(rank, number of processes) of this one, connected to the others."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
        return dist.get_rank(), world
    return 0, 1


def average(parameters: Sequence[torch.nn.Parameter], world: int) -> None:
    """Replaces every gradient by the mean over the processes."""
    if world == 1:
        return
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world
    for parameter, part in zip(parameters, flat.split([g.numel() for g in grads]), strict=True):
        parameter.grad = part.view_as(parameter)
