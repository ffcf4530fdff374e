"""Where a network computes, in which numbers, and in which layout of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

IMAGE_BATCH_DIMS = 4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SWITCH = ("auto", "on", "off")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The configuration of the hardware; ``auto`` takes what is fastest there.

    Attributes:
        device: ``auto``, or a device that torch knows: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: Of activations and their gradients; weights are always float32. ``auto`` is bfloat16 where the
            hardware computes in it, else float32.
        channels_last: Layout of images in memory; ``auto`` turns it on for networks with 2-D convolutions.
        compile: Compile the network with `torch.compile`: faster steps after a start of half a minute or more; needs
            a C++ compiler.
        live: Compute with the live nodes only: dead nodes cost no arithmetic and frozen ones no backward pass.
            Without dropout the results are those of the whole model up to the order of summation; with it, other masks
            are drawn.
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: Literal["auto", "on", "off"] = "auto"
    compile: bool = False
    live: bool = False

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *DTYPES):
            raise ValueError(f"precision must be auto, {', '.join(DTYPES)}, not {self.precision!r}")
        if self.channels_last not in SWITCH:
            raise ValueError(f"channels_last must be {', '.join(SWITCH)}, not {self.channels_last!r}")
        if self.compile and self.live:
            raise ValueError("compile or live, not both: the live network changes its shapes")

    def resolve(self, model: nn.Module) -> Machine:
        """The machine that fits here and for the model.

        >>> print(Compute(device="cpu", precision="fp32").resolve(nn.Conv2d(3, 8, 3)))
        cpu, fp32, channels last

        Raises:
            ValueError: If there is no such device on this machine.
        """
        device = self.find_device()
        dtype = _fastest(device) if self.precision == "auto" else DTYPES[self.precision]
        convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
        return Machine(device, dtype, convolves if self.channels_last == "auto" else self.channels_last == "on")

    def find_device(self) -> torch.device:
        """The device of the configuration.

        Raises:
            ValueError: If there is no such device on this machine.
        """
        own = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if self.device == "auto":
            return own or torch.device("cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
            if device.type == "meta":
                raise RuntimeError("it computes nothing")
        except (RuntimeError, AssertionError) as error:
            here = "cpu" if own is None else f"cpu, {own.type}"
            raise ValueError(f"device {self.device!r} cannot be used; here there is: {here}") from error
        return device


@dataclass(frozen=True)
class Machine:
    """A device with a precision and a layout.

    >>> print(Machine(torch.device("cpu"), torch.bfloat16, channels_last=True))
    cpu, bf16, channels last

    Attributes:
        device: Where batches go.
        dtype: Of activations.
        channels_last: Whether images are laid out with their channels last.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    channels_last: bool = False

    def __str__(self) -> str:
        layout = ", channels last" if self.channels_last else ""
        return f"{self.device}, {next(name for name, dtype in DTYPES.items() if dtype == self.dtype)}{layout}"

    def place(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and labels on the device; the copy does not make the host wait."""
        pins = self.device.type == "cuda"
        pinned = [tensor.pin_memory() if pins and tensor.device.type == "cpu" else tensor for tensor in batch]
        inputs, labels = (tensor.to(self.device, non_blocking=tensor.is_pinned()) for tensor in pinned)
        return self.lay_out(inputs), labels

    def lay_out(self, inputs: Tensor) -> Tensor:
        """Images in the layout; other inputs as they are."""
        if self.channels_last and inputs.ndim == IMAGE_BATCH_DIMS:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    @property
    def answers_at_once(self) -> bool:
        """Whether a value can be read without making the host wait for the device."""
        return self.device.type == "cpu"

    @property
    def scales(self) -> bool:
        """Whether gradients would underflow without a scaled loss."""
        return self.dtype == torch.float16

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the precision within the context."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


AUTOMATIC = Compute()
"""What is fastest here."""

PLAIN = Machine()
"""The CPU, with nothing special."""


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on a number of CPU threads within the context; `None` leaves their number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fastest(device: torch.device) -> torch.dtype:
    """Bfloat16 where the hardware has arithmetic for it, not where it is emulated."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        asked = getattr(torch.cpu, "get_capabilities", dict)  # older torch versions cannot tell
        can: dict[str, bool] = asked() if device.type == "cpu" else {}
        native = bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32
