"""A model as files that need no library of ours: plain tensors, a `torch.export` program, ONNX; and what it costs."""

from __future__ import annotations

import io
import timeit
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agscl.extras import require
from agscl.metrics import inference_cost
from agscl.runs.files import LEFTOVER, tensor_bytes, write_files

TOLERANCE = 1e-5
"""Most that an output may differ from the full model's, in units of the largest output if that is above 1."""

LATENCY_ROUNDS = 9
BATCH = 256
LARGEST = 2**62
"""Samples of a batch that a program takes; with no limit the first torch that can export refuses some networks."""
ABOUT = "model.json"
"""Describes the other files."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Answer = Callable[..., Any]
"""Maps inputs to an output, or to several."""


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        parameters: How many an answer takes.
        flops: Floating point operations of one answer, see `agscl.metrics.inference_cost`.
        state_bytes: Size of its tensors.
        latency_seconds: Shortest time of one answer.
        batch_seconds: Shortest time of a batch of 256.
    """

    parameters: int
    flops: int
    state_bytes: int
    latency_seconds: float
    batch_seconds: float


def require_new(out: Path, option: str = "") -> None:
    """Refuse a folder that holds something, or packages that are missing.

    Args:
        out: The folder.
        option: How another one is chosen.

    Raises:
        ValueError: If so.
    """
    for package in PACKAGES:
        require(package, extra="export")
    held = out.is_dir() and any(not path.match(LEFTOVER) for path in out.iterdir())
    half_written = held and any(path.match(LEFTOVER) for path in out.glob(f".{ABOUT}.*"))  # renamed last
    if (out.exists() and not out.is_dir()) or (held and not half_written):
        raise ValueError(f"{out} is not empty: choose a new folder{option}")


def write_programs(out: Path, programs: Mapping[str, bytes], about: bytes) -> None:
    """Write all programs of a model into a folder, and what describes them last: with it the folder is whole.

    Raises:
        OSError: If the folder cannot be written; nothing is left in it then.
    """
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        write_files({**{out / name: content for name, content in programs.items()}, out / ABOUT: about})
    except BaseException:
        for name in [*programs, ABOUT]:  # some may be renamed already
            with suppress(OSError):
                (out / name).unlink(missing_ok=True)
        if new:
            with suppress(OSError):
                out.rmdir()
        raise


def programs(
    model: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], outputs: Sequence[str]
) -> dict[str, tuple[bytes, Answer]]:
    """By file name its content, and what answers with it.

    Args:
        model: In eval mode, on the CPU.
        inputs: A batch of two samples or more; programs take any number.
        names: Of the inputs.
        outputs: Names of the outputs.
    """
    import onnxruntime

    shapes = tuple({0: torch.export.Dim("batch", min=1, max=LARGEST)} for _ in names)
    program = torch.export.export(model, inputs, dynamic_shapes=shapes, strict=False)
    saved = io.BytesIO()
    torch.export.save(program, saved)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="# The axis name")  # of several inputs: they share the batch
        converted = torch.onnx.export(
            program,
            inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(names),
            output_names=list(outputs),
            verbose=False,
        )
    assert converted is not None
    onnx: bytes = converted.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def by_onnx(*given: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, arrays)))

    return {
        "model.safetensors": (tensor_bytes(model.state_dict()), model),
        "model.pt2": (saved.getvalue(), torch.export.load(io.BytesIO(saved.getvalue())).module()),
        "model.onnx": (onnx, by_onnx),
    }


def cost(model: nn.Module, inputs: tuple[Tensor, ...]) -> Cost:
    """What a model costs, in eval mode on the CPU."""
    one = tuple(x[:1] for x in inputs)
    many = tuple(x.expand(BATCH, *x.shape[1:]).contiguous() for x in one)
    answer = inference_cost(model, (), {}, lambda: model(*one))
    state = model.state_dict().values()
    return Cost(
        parameters=answer.parameters,
        flops=answer.flops,
        state_bytes=sum(tensor.numel() * tensor.element_size() for tensor in state),
        latency_seconds=_seconds(model, one),
        batch_seconds=_seconds(model, many),
    )


@torch.no_grad()
def _seconds(model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    return min(timeit.repeat(lambda: model(*inputs), number=1, repeat=LATENCY_ROUNDS))


def difference(expected: Tensor, found: Tensor) -> float:
    """The largest difference of an output, in units of the largest output if that is above 1.

    >>> difference(torch.tensor([4.0, 0.0]), torch.tensor([4.0, 1.0]))
    0.25
    """
    return float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))


def require_close(largest: float) -> float:
    """The difference; refuses an export that computes something else.

    Raises:
        ValueError: If it does.
    """
    if not largest <= TOLERANCE:
        raise ValueError(f"the exported model's logits differ from the full model's by {largest:.2g}")
    return largest
