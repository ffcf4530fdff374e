"""Own data to a result in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agscl.methods import AnyMethod
from agscl.runs import RunFolder

from .kind import AnyResult
from .kinds import choose, experiment_of, run
from .overrides import Overrides


def learn(
    source: str,
    method: AnyMethod,
    out: Path | str,
    *,
    tasks: int | Path | str,
    seed: int = 0,
    data_root: Path | None = None,
    **changes: Any,
) -> AnyResult:
    """Learn own data task after task and write the run into a folder, as ``agscl run`` does.

    Args:
        source: ``folder:PATH``, ``npz:FILE``, ``csv:FILE``, or the name of an imported set.
        method: How the network is protected.
        out: Folder of the run, a new or empty one.
        tasks: Number of tasks of equal size, or a JSON file that names the classes of each.
        seed: Draws everything random.
        data_root: Folder of the data sets; default: the platform's cache folder.
        changes: Further fields of `agscl.experiments.Overrides`: ``network``, ``epochs``, ``image_size``, ...

    Raises:
        ValueError: If the data cannot be read right, is not enough for the tasks, or an argument does not fit.

    Example:
        >>> import numpy as np, tempfile
        >>> from agscl import AGSCL
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.savez(folder / "rows.npz", x=np.random.rand(40, 5), y=np.arange(40) % 4)
        >>> result = learn(f"npz:{folder / 'rows.npz'}", AGSCL(mu=10, lam=400), folder / "run", tasks=2, epochs=1)
        >>> result.names
        ['rows 1', 'rows 2']
    """
    number, file = (tasks, None) if isinstance(tasks, int) else (None, str(tasks))
    overrides = Overrides(tasks=number, task_file=file, **changes)
    choice = choose(source, overrides, data_root)
    experiment = experiment_of(choice.asked, method, seed, overrides)
    return run(experiment, RunFolder(Path(out)), data_root=data_root)
