"""A run that was broken off goes on from its checkpoint: nothing is lost or done twice, and the record says so."""

import json
from dataclasses import replace

import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

import agscl
from agscl.experiments import run
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.experiments.policies.result import PolicyResult
from agscl.methods import EWC, SI, WSN, FineTuning, RWalk, SingleTask
from agscl.rl.history import PolicyResumed
from agscl.rl.learn import learn_sequence
from agscl.runs import RunFolder
from agscl.training import Every, Stopped
from laws.agents import QUICK, Remember, poles

METHODS = [
    agscl.AGSCL(mu=0.1, lam=100.0), EWC(lam=10.0), SI(c=1.0), RWalk(lam=1.0), WSN(), SingleTask(),
    agscl.GatedAGSCL(begin=1, end=2), agscl.HAT(smax=20.0), agscl.PackNet(train_epochs=2),
]  # fmt: skip


class Still:
    """Environments that never change what they say, so that beginning an episode anew makes no difference."""

    def __init__(self, task):
        self.name, self._make = task.name, task.make

    def make(self, num_envs, training):
        env = self._make(num_envs, training)
        observations = torch.linspace(-1, 1, num_envs * 4).reshape(num_envs, 4).numpy()
        env.reset = observations.copy
        env.step_wait = lambda: (observations.copy(), observations[:, 0].copy(), env.buf_dones.copy(), env.buf_infos)
        return env


def learner_of(method, memory):
    learner = poles(method, tasks=2, checkpointer=memory)
    return replace(learner, tasks=[Still(task) for task in learner.tasks])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_everything_but_the_environments_goes_on_exactly(method) -> None:
    whole = learner_of(method, memory := Remember())
    finished = learn_sequence(whole)
    assert len(memory.saved) == 2 * QUICK.updates
    for state in memory.saved[:-1]:
        again = learner_of(method, Remember(state))
        resumed = learn_sequence(again)
        assert resumed.evaluations == finished.evaluations
        for name, tensor in whole.state().items():
            assert torch.equal(tensor, again.state()[name]), name


EXPERIMENT = PolicyExperiment(preset="cartpole3", method=agscl.AGSCL(mu=0.1, lam=100.0), training=QUICK, tasks=2)


class StopError(Exception):
    pass


class StopAt:
    """A logger that ends the run at an event."""

    def __init__(self, kind, number):
        self.kind, self.left = kind, number

    def emit(self, event):
        self.left -= event.event == self.kind
        if self.left == 0:
            raise StopError


@pytest.mark.parametrize(("kind", "number"), [("Evaluation", 1), ("Updated", 2), ("TaskFinished", 1), ("Updated", 4)])
def test_a_run_that_died_goes_on_with_every_task_learned_once(tmp_path, kind, number) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(StopError):
        run(EXPERIMENT, folder, [StopAt(kind, number)], every=Every(steps=1))
    result = run(EXPERIMENT, folder, resume=True, every=Every(steps=1))
    events = [json.loads(line) for line in folder.events.read_text().splitlines()]
    finished = [event for event in events if event["event"] == "TaskFinished"]
    assert [event["name"] for event in finished] == ["plain", "mirrored"] == result.names
    updates = [(event["task"], event["update"]) for event in events if event["event"] == "Updated"]
    assert updates == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert len(result.history.evaluations) == 6
    assert len(result.history.resumed) == (kind != "Evaluation")
    assert not folder.checkpoints.exists()
    assert [folder.state_after(task).exists() for task in (0, 1)] == [True, True]
    assert PolicyResult.read(folder) == result == run(EXPERIMENT, folder, resume=True)


def test_a_signal_ends_a_run_with_a_checkpoint(tmp_path, monkeypatch) -> None:
    import signal

    class Ask:
        def emit(self, event):
            if type(event).__name__ == "Updated":
                signal.raise_signal(signal.SIGTERM)

    folder = RunFolder(tmp_path / "run")
    with pytest.raises(Stopped, match="go on with --resume"):
        run(EXPERIMENT, folder, [Ask()])
    result = run(EXPERIMENT, folder, resume=True)
    assert result.history.resumed == [PolicyResumed(task=0, updates=1)]


def test_another_experiment_does_not_go_on_in_the_folder(tmp_path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(StopError):
        run(EXPERIMENT, folder, [StopAt("Updated", 1)])
    with pytest.raises(ValueError, match="holds a run with another method and seed"):
        run(replace(EXPERIMENT, method=FineTuning(), seed=1), folder, resume=True)


def test_environments_begin_with_another_seed_after_every_resumption(tmp_path, monkeypatch) -> None:
    seeds = []
    monkeypatch.setattr(DummyVecEnv, "seed", lambda env, seed: seeds.append(seed))
    folder, every = RunFolder(tmp_path / "run"), Every(steps=1)
    with pytest.raises(StopError):
        run(EXPERIMENT, folder, [StopAt("Updated", 2)], every=every)
    begun = seeds[-1]
    run(EXPERIMENT, folder, resume=True, every=every)
    assert seeds.count(begun) == 1


def test_an_experiment_survives_json() -> None:
    assert PolicyExperiment.from_json(EXPERIMENT.to_json()) == EXPERIMENT
    with pytest.raises(ValueError, match="experiment has no option 'sede'"):
        PolicyExperiment.from_json(EXPERIMENT.to_json().replace(b'"seed"', b'"sede"'))
