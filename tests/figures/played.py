"""Runs of reinforcement learning with scores that are made up number by number."""

import agscl
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import read_runs
from agscl.methods import SingleTask
from agscl.rl.history import Evaluation, PolicyHistory, PolicyTaskFinished
from agscl.runs import RunFolder
from agscl.runs.files import write_bytes
from agscl.runs.tables import write_table
from laws.agents import QUICK

NAMES = ("plain", "mirrored")
RANDOM = [-10.0, 20.0]
AGS = agscl.AGSCL(mu=0.1, lam=100.0)


def made_up(method, middle, first, last, seed=0):
    """A run of two tasks with scores in the middle of each task, after the first and after the second."""
    experiment = PolicyExperiment(preset="cartpole3", method=method, training=QUICK, seed=seed, tasks=2)
    places = [
        (128, 0, -1, (middle[0], 20.0)),
        (256, 0, 0, first),
        (384, 1, 0, (first[0], middle[1])),
        (512, 1, 1, last),
    ]
    evaluations = [
        Evaluation(time, training, after, task, NAMES[task], scores[task], 0.0, 2, 0)
        for time, training, after, scores in places
        for task in (0, 1)
    ]
    tasks = [PolicyTaskFinished(task, name, 256, None, 0, 0, 1.0, 1.0) for task, name in enumerate(NAMES)]
    progress = PolicyHistory(random_scores=RANDOM, tasks=tasks, evaluations=evaluations)
    return PolicyResult(experiment, progress, {"torch": "2"})


FINE_TUNING = made_up(agscl.FineTuning(), (0.0, 60.0), (10.0, 20.0), (-10.0, 120.0))
PROTECTED = made_up(AGS, (0.0, 40.0), (5.0, 20.0), (0.0, 70.0))
ALONE = made_up(SingleTask(), (0.0, 20.0), (10.0, 20.0), (10.0, 120.0))


def stored(tmp_path, *results):
    """The runs as they are read from folders that hold them."""
    for result in results:
        folder = write_policies(tmp_path / result.method, result)
        assert PolicyResult.read(folder) == result
    return read_runs([tmp_path])


def write_policies(path, result):
    """A run folder as a run writes it."""
    folder = RunFolder(path)
    path.mkdir()
    write_bytes(folder.experiment, result.experiment.to_json())
    write_bytes(folder.result, result.to_json())
    write_table(folder.evaluations, result.table())
    return folder
