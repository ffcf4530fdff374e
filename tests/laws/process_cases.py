"""All cases that two processes work through together, and the work; what came out is compared by the tests."""

import inspect
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import agscl
from laws import failing_processes as failing
from laws import many_processes as many

REORDERED = ("ewc", "wsn", "gated-ags-cl", "single-task", "lwf", "cpr", "ags-cl, hard", "hat")
"""Methods that are also tried with the wrapper first: those that add parameters or a loss, and others."""

LEARNED = [
    *((name, "guard first") for name in many.SETTINGS),
    *((name, "wrapper first") for name in REORDERED),
    *((name, "around the wrapper") for name in ("ags-cl, hard", "hat", "wsn")),
]

NOT_BROADCAST = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")  # an older torch has the second name alone
    if name in inspect.signature(DistributedDataParallel).parameters
)

FROZEN: dict[str, dict[str, Any]] = {
    "hard": {"method": many.HARD},
    "hard, gradients as views": {"method": many.HARD, "gradient_as_bucket_view": True},
    "hard, statistics of each": {"method": many.HARD, NOT_BROADCAST: False},
    "hard, live": {"method": many.HARD, "live": True},
    "hard, optimizer in parts": {"method": many.HARD, "optimizer": many.ZERO},
    "hat": {"method": agscl.HAT(smax=50.0)},
    "wsn": {"method": agscl.WSN(c=0.5), "gradient_as_bucket_view": True},
    "single-task": {"method": agscl.SingleTask()},
    "gated": {"method": agscl.GatedAGSCL(begin=1, end=2)},
    "packnet": {"method": agscl.PackNet(train_epochs=1)},
}

EXPANDED: dict[str, Any] = {
    "ags-cl": many.HARD,
    **{name: many.SETTINGS[name] for name in ("gated-ags-cl", "hat", "wsn")},
}

RESUMED = ("ags-cl", "si", "hat", "gated-ags-cl")

MEASURED = ("ags-cl, hard", "ewc", "mas", "ewc, batched")

SHARDED = list(product(("fully_shard", "FSDP"), ("shards first", "guard first")))

CASES: dict[str, Callable[[int], Any]] = {
    **{f"{name}, {order}": partial(many.learned, method=name, order=order) for name, order in LEARNED},
    **{f"fails: {name}": partial(failing.fails, story=name) for name in failing.STORIES},
    **{f"{kind}, {order}": partial(failing.sharded, kind=kind, order=order) for kind, order in SHARDED},
    **{f"frozen: {name}": partial(many.frozen, **given) for name, given in FROZEN.items()},
    **{f"all data in one: {name}": partial(many.one_without_data, method=many.SETTINGS[name]) for name in MEASURED},
    **{
        f"{name}, {'in two parts' if parts else 'in one part'}": partial(many.resumed, method=name, interrupted=parts)
        for name, parts in product(RESUMED, (False, True))
    },
    **{f"expanded: {name}": partial(many.expanded, method=method) for name, method in EXPANDED.items()},
    "unwrapped": many.unwrapped, "any tensor": many.any_tensor, "sums": many.sums,
    "told apart": many.told_apart,
    **{case.__name__.replace("_", " "): case for case in failing.OTHERS},
    "left alone": failing.left_alone,
}  # fmt: skip


ON_CARD: dict[str, Callable[[int], Any]] = {
    **{
        f"{name}, {turn.__name__}": partial(many.learned, method=name, order="wrapper first", turn=turn)
        for name, turn in product(many.SETTINGS, (many.on_card, many.synchronised_on_card))
    },
    "moved by the wrapper": partial(
        many.learned, method="ags-cl, hard", order="around the wrapper", turn=many.on_card, device_ids=[0]
    ),
    **{
        f"frozen, {turn.__name__}": partial(many.frozen, method=many.HARD, turn=turn)
        for turn in (many.on_card, many.synchronised_on_card)
    },
}
"""The same where two processes share a CUDA card, with statistics of each process and of both."""


def work(rank: int, folder: str, on_card: bool = False) -> None:
    """Work through all cases as one of two processes, and save what came out."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(minutes=3)
    )
    for number, case in enumerate((ON_CARD if on_card else CASES).values()):
        try:
            outcome = case(rank)
        except Exception:
            outcome = traceback.format_exc()
        torch.save(outcome, Path(folder) / f"{number}-{rank}.pt")
