"""``result.json``: its format, and how it is checked and read, for every kind of run."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch

from agscl.runs.files import parse_record
from agscl.runs.machine import Machine

from .codec import read_json

FORMAT = 1
"""Counts up when a reader of the old one could not read the new one."""

Parts = TypeVar("Parts")


def parse_result(content: bytes, path: Path, parts: type[Parts]) -> Parts:
    """The parts of a result that are needed, as a dataclass of them.

    Raises:
        ValueError: If it is damaged or was written in another format, or a part is missing or of the wrong type.
    """
    check_format(parse_record(content, path), path)
    return read_json(parts, content, str(path))


def check_format(record: Mapping[str, Any], path: Path) -> None:
    """Refuse a result of another version of the format; those written before it was counted are of format 1."""
    if (version_found := record.get("format", 1)) != FORMAT:
        raise ValueError(
            f"{path.parent} was written in format {version_found!r}, this version of agscl reads format {FORMAT}: "
            "install the version that wrote it (see environment in its result.json)"
        )


ARITHMETIC = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Variables of the environment that change the last digits."""


def _arithmetic(machine: Machine) -> str:
    """What computes, and how exactly."""
    unit = torch.backends.cpu.get_cpu_capability()
    if machine.device.type == "cuda":
        unit = torch.cuda.get_device_name(machine.device)
    given = [f"{name}={os.environ[name]}" for name in ARITHMETIC if os.environ.get(name)]
    return ", ".join([unit, f"{torch.get_float32_matmul_precision()} matmul", *given])


def environment(machine: Machine, packages: Iterable[str] = ()) -> dict[str, str]:
    """Versions and machine of this process, for the record of a run.

    Args:
        machine: Where and how it computes.
        packages: Optional packages whose versions matter as well, where they are installed.
    """
    system = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    versions = {name: version(name) for name in ("agscl", "torch", "numpy")}
    found = {
        **system,
        **versions,
        "compute": str(machine),
        "threads": str(torch.get_num_threads()),
        "arithmetic": _arithmetic(machine),
    }
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
