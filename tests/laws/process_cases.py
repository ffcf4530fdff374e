"""All cases that two processes work through together, and the work; what came out is compared by the tests."""

import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import agscl
from laws import failing_processes as failing
from laws import many_processes as many

ORDERS = ("guard first", "wrapper first", "around the wrapper")
REORDERED = ("ags-cl, hard", "ewc", "hat", "wsn", "single-task")
"""Methods that are tried in all orders of protecting and wrapping: those that add parameters, and others."""

LEARNED = [(name, order) for name in many.SETTINGS for order in (ORDERS if name in REORDERED else ORDERS[:1])]

FROZEN: dict[str, dict[str, Any]] = {
    "hard": {"method": many.HARD},
    "hard, gradients as views": {"method": many.HARD, "gradient_as_bucket_view": True},
    "hard, statistics of each": {"method": many.HARD, "forward_sync_buffers": False},
    "hard, live": {"method": many.HARD, "live": True},
    "hard, optimizer in parts": {"method": many.HARD, "optimizer": many.ZERO},
    "hat": {"method": agscl.HAT(smax=50.0)},
    "wsn": {"method": agscl.WSN(c=0.5), "gradient_as_bucket_view": True},
    "single-task": {"method": agscl.SingleTask()},
}

MEASURED = ("ags-cl, hard", "ewc", "mas", "ewc, batched")

SHARDED = list(product(("fully_shard", "FSDP"), ("shards first", "guard first")))

CASES: dict[str, Callable[[int], Any]] = {
    **{f"{name}, {order}": partial(many.learned, method=name, order=order) for name, order in LEARNED},
    **{f"fails: {name}": partial(failing.fails, story=name) for name in failing.STORIES},
    **{f"{kind}, {order}": partial(failing.sharded, kind=kind, order=order) for kind, order in SHARDED},
    **{f"frozen: {name}": partial(many.frozen, **given) for name, given in FROZEN.items()},
    **{f"all data in one: {name}": partial(many.one_without_data, method=many.SETTINGS[name]) for name in MEASURED},
    "expanded": many.expanded, "unwrapped": many.unwrapped, "any tensor": many.any_tensor, "sums": many.sums,
    "told apart": many.told_apart, "a step more": failing.a_step_more, "apart later": failing.apart_later,
    "of another size": failing.of_another_size, "untraceable": failing.untraceable,
    "a local method": failing.a_local_method, "left alone": failing.left_alone,
}  # fmt: skip


def work(rank: int, folder: str) -> None:
    """Work through all cases as one of two processes, and save what came out."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    for number, case in enumerate(CASES.values()):
        try:
            outcome = case(rank)
        except Exception:
            outcome = traceback.format_exc()
        torch.save(outcome, Path(folder) / f"{number}-{rank}.pt")
