"""A guarded model as a folder that others can load, and that the Hugging Face Hub shows with its certificate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from agscl.extras import require
from agscl.guard import Guard

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
"""The files of the folder: what `Guard.save` writes, what the model is built from, and the model card."""

Model = TypeVar("Model")


def save_pretrained(guard: Guard, folder: str | Path, *, config: Mapping[str, Any] | None = None) -> Path:
    """Write a guarded model into a folder: weights and the guard's state, config, and a model card.

    The card holds the certificate, ``guard.verify()``, and how full the model is. No network is needed;
    ``huggingface_hub.upload_folder(folder_path=folder, repo_id=...)`` publishes the folder.

    Args:
        guard: The guard.
        folder: A new or empty folder; it is there in full or not at all. Its name is the card's title.
        config: What `from_pretrained` builds the model from, as JSON.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder is not empty, the config is no JSON, or earlier tasks are not what they were.
        OSError: If it cannot be written.

    >>> import agscl, tempfile, torch
    >>> def make(config):
    ...     model = torch.nn.Sequential(torch.nn.Linear(2, config["width"]), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    ...     return model, agscl.protect(model, agscl.AGSCL(mu=1, lam=10), example_inputs=torch.zeros(2, 2))
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = save_pretrained(make({"width": 3})[1], f"{parent}/belt", config={"width": 3})
    ...     model, guard = from_pretrained(folder, make)
    ...     sorted(path.name for path in folder.iterdir())
    ['README.md', 'config.json', 'model.safetensors']
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; choose a new folder")
    try:
        record = json.dumps({"agscl": version("agscl"), "model": dict(config or {})}, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the config is no JSON: {error}") from error
    certificate = guard.verify()
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        guard.save(temporary / WEIGHTS)
        (temporary / CONFIG).write_text(f"{record}\n")
        (temporary / CARD).write_text(_card(folder.name, str(guard), str(certificate)))
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def from_pretrained(
    source: str | Path, make: Callable[[dict[str, Any]], tuple[Model, Guard]], **download: Any
) -> tuple[Model, Guard]:
    """A guarded model from a folder that `save_pretrained` wrote, or from a repository on the Hub with one.

    Every answer of a learned task keeps its bits, and training goes on as if nothing had come between.

    Args:
        source: The folder, or the name of a repository, which is downloaded (``pip install 'agscl[huggingface]'``).
        make: Builds model and guard from the config; its method, example inputs and heads are those it was saved with.
        download: Options of `huggingface_hub.snapshot_download`, such as `revision`.

    Returns:
        Model and guard.

    Raises:
        ValueError: If the folder is none of these, or what was built does not fit.
        OSError: If it cannot be read or downloaded.
    """
    folder = Path(source)
    if not folder.is_dir():
        if folder.is_absolute() or str(source).count("/") != 1:
            raise ValueError(f"there is no folder {source}")
        files = [WEIGHTS, CONFIG]
        hub = require("huggingface_hub", extra="huggingface")
        folder = Path(hub.snapshot_download(str(source), allow_patterns=files, **download))
    try:
        config = json.loads((folder / CONFIG).read_text())["model"]
        model, guard = make(dict(config))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG} was not written by save_pretrained, or does not fit: {error}") from error
    guard.load(folder / WEIGHTS)
    return model, guard


def _card(title: str, guard: str, certificate: str) -> str:
    return f"""---
library_name: agscl
tags:
- continual-learning
---
# {title}

A model that learns task after task and is protected from forgetting by [agscl](https://pypi.org/project/agscl/)
{version("agscl")}. `{WEIGHTS}` holds weights and the guard's state, `{CONFIG}` what the model is built from.

## What it has learned
```
{guard}
```

## Certificate
Each learned task's answers to the example inputs, compared with those right after it was learned:
```
{certificate or "no task is learned yet"}
```

## Use
```python
from agscl.integrations.hub import from_pretrained

model, guard = from_pretrained("{title}", make)  # make(config) builds model and guard as they were saved
```
"""
