"""The trainers of other libraries in two processes: both hold the bits of a loop by hand in two processes."""

import os
import socket
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import agscl
from laws.bridges import DATA, EPOCHS, Net, fresh, optimizer
from laws.sequences import logits

pytest.importorskip("lightning.pytorch")
pytest.importorskip("transformers")

BATCH, TASKS = 9, 2
"""Four batches an epoch, two for each process."""


def share(rank: int, task: int, library: str) -> list[tuple[Tensor, Tensor]]:
    """The batches of a process: Lightning deals out samples, Hugging Face batches."""
    x, y = DATA[task]
    if library == "lightning":
        x, y = x[rank::2], y[rank::2]
        return list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    return list(zip(x.split(BATCH), y.split(BATCH), strict=True))[rank::2]


def by_hand(net: Net, guard: agscl.Guard, task: int, share: list[tuple[Tensor, Tensor]], _: Path) -> None:
    adam, wrapped = optimizer(net.parameters()), DistributedDataParallel(net, find_unused_parameters=True)
    with guard.attach(adam, steps_per_epoch=len(share)):
        for x, y in share * EPOCHS:
            adam.zero_grad()
            F.cross_entropy(wrapped(x)[task], y).backward()
            adam.step()


def lightning(net: Net, guard: agscl.Guard, task: int, _: list[tuple[Tensor, Tensor]], __: Path) -> None:
    from integrations.test_lightning import Lit, trainer

    data = TensorDataset(*DATA[task])
    loader = DataLoader(data, batch_size=BATCH, sampler=DistributedSampler(data, shuffle=False))
    trainer(guard, strategy="ddp_find_unused_parameters_true", devices=2).fit(Lit(net, task), loader)


def huggingface(net: Net, guard: agscl.Guard, task: int, _: list[tuple[Tensor, Tensor]], folder: Path) -> None:
    from integrations.test_huggingface import trainer

    settings = {"per_device_train_batch_size": BATCH, "ddp_find_unused_parameters": True, "ddp_backend": "gloo"}
    trainer(net, guard, task, folder, **settings).train()


LIBRARIES = {"lightning": lightning, "huggingface": huggingface}


def learned(rank: int, library: str, train: Any, folder: Path) -> dict[str, Any]:
    """All tasks in one of two processes."""
    net, guard = fresh()
    answers = []
    for task in range(TASKS):
        own = share(rank, task, library)
        train(net, guard, task, own, folder)
        torch.manual_seed(task)
        guard.consolidate(own, lambda batch, task=task: net(batch[0])[task])
        answers.append(logits(net, task, DATA[task][0]))
        net.train()
    kept = [torch.equal(old, logits(net, n, DATA[n][0])) for n, old in enumerate(answers)]
    return {"state": net.state_dict(), "kept": kept, "verified": guard.verify().identical}


def work(rank: int, folder: str, port: int) -> None:
    """One of two processes, as torchrun starts it."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    dist.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(minutes=2))
    outcomes: dict[str, Any] = {}
    for library, train in LIBRARIES.items():
        try:
            outcomes[library] = [learned(rank, library, one, Path(folder)) for one in (train, by_hand)]
        except Exception:
            outcomes[library] = traceback.format_exc()
    torch.save(outcomes, Path(folder) / f"{rank}.pt")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What came out of every library in each of the two processes."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (str(folder), port), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_both_processes_hold_the_bits_of_the_loop_by_hand(library: str, outcomes: list[dict[str, Any]]) -> None:
    found = [outcome[library] for outcome in outcomes]
    assert not any(isinstance(outcome, str) for outcome in found), found
    expected = found[0][1]["state"]
    for outcome, _ in found:
        assert outcome["kept"] == [True] * TASKS
        assert outcome["verified"]
        assert [name for name in expected if not torch.equal(outcome["state"][name], expected[name])] == []
