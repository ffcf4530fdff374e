"""How fast own images come: images a second of the import, of opening what is kept, and of a first epoch."""

import time

import numpy as np
import torch
from PIL import Image

from agscl.benchmarks import LoadOptions, from_folder

CLASSES, EACH, SIDE = 4, 75, 300
"""Of the folder: 300 images of 300 x 300 pixels."""


def test_images_a_second(tmp_path):
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (tmp_path / "photos" / f"class {label}").mkdir(parents=True)
        for number in range(EACH):
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"class {label}" / f"{number}.jpg")
    options, count = LoadOptions(data_root=tmp_path / "data"), CLASSES * EACH
    rates = {}
    for what in ("import", "opening what is kept"):
        start = time.perf_counter()
        sequence = from_folder(tmp_path / "photos", 2, options=options)
        rates[what] = count / (time.perf_counter() - start)
    start = time.perf_counter()
    for task in sequence.tasks:
        seen = sum(len(y) for _, y in task.train.batches(32, generator=torch.Generator()))
        assert seen == len(task.train)
    rates["first epoch"] = sum(len(task.train) for task in sequence.tasks) / (time.perf_counter() - start)
    print("; ".join(f"{what}: {rate:,.0f} images/s" for what, rate in rates.items()))  # noqa: T201 - what a benchmark is for
    assert rates["opening what is kept"] > 5 * rates["import"], "decoding is done once"
