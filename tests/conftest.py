"""One precision on every machine, Hypothesis without time limits, and a data folder with a little of every data set."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from agscl.benchmarks.cache import Cache
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.importing import import_set
from agscl.benchmarks.names import ALPHABETS as NAMES
from agscl.benchmarks.names import FINE

settings.register_profile("agscl", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
settings.register_profile("thorough", settings.get_profile("agscl"), max_examples=10_000)
settings.load_profile("agscl")

ALPHABETS = 50


@pytest.fixture(scope="session", autouse=True)
def a_machine_without_bfloat16():
    """`auto` is float32 in this process, whatever the hardware: no machine decides what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
        yield


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def precision(request):
    """Both, for what has to hold in each."""
    return request.param


def noise(count, shape):
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def ordinary(entry):
    """Every class of a set, four images each for training and two for testing."""
    side = entry.shape[1] if not entry.resizable else 32
    labels = {part: np.repeat(np.arange(entry.num_classes), each) for part, each in (("train", 4), ("test", 2))}
    images = {part: noise(len(own), (entry.shape[0], side, side)) for part, own in labels.items()}
    arrays = {f"x_{part}": images[part] for part in labels} | {f"y_{part}": labels[part] for part in labels}
    names = {"cifar100": FINE.split(), "cub200": [f"{n:03d}.Plain_Warbler" for n in range(1, 201)]}
    plain = [str(n) for n in range(entry.num_classes)]
    return {**arrays, "classes": np.array(entry.classes or names.get(entry.name, plain))}


def alphabets():
    """Two or three characters in each of the fifty alphabets, twenty drawings of each."""
    pairs = np.array([(a, c) for a in range(ALPHABETS) for c in range(1, 3 + a % 2)]).repeat(20, axis=0)
    names = np.array(NAMES.split())
    return {"x": noise(len(pairs), (28, 28)), "alphabet": pairs[:, 0], "character": pairs[:, 1], "alphabets": names}


@pytest.fixture(scope="session")
def little_data(tmp_path_factory):
    """A data folder with a little of every set, put there by the import that users have."""
    folder = tmp_path_factory.mktemp("little")
    for name, entry in CATALOGUE.items():
        file = folder / f"{name}.npz"
        np.savez(file, **(alphabets() if name == "omniglot" else ordinary(entry)))
        import_set(name, file, Cache(folder / "data"), size=32 if entry.resizable else None)
    return folder / "data"
