"""MinAtar: the package's games, step for step, many at once; and a run that goes on in the middle of them."""

import inspect
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import agscl
from agscl.experiments import run
from agscl.experiments.policies.experiment import PolicyExperiment
from agscl.experiments.policies.presets import POLICY_PRESETS
from agscl.methods import FineTuning
from agscl.rl.history import Updated
from agscl.rl.learn import learn_sequence
from agscl.rl.learner import PolicyLearner, guarded
from agscl.rl.minatar import ACTIONS, CHANNELS, FIVE_GAMES, STICKY, minatar_tasks
from agscl.rl.task import shape_of
from agscl.runs import RunFolder
from agscl.runs.random import seeded
from agscl.training import Every
from laws.agents import QUICK, Remember

logging.disable()  # the package misses seaborn aloud where it is not installed
from minatar import Environment  # noqa: E402

logging.disable(logging.NOTSET)

GAMES = st.sampled_from(FIVE_GAMES)
SEEDS = st.integers(0, 2**31)


def games_of(name, number=3, seed=0):
    """Games that have begun, and their first boards."""
    (task,) = minatar_tasks([name])
    env = task.make(number, True)
    env.seed(seed)
    return env, env.reset()


def actions_of(seed, steps, number=3):
    return np.random.default_rng(seed).integers(ACTIONS, size=(steps, number))


def same(one, other):
    """Whether two steps are one: boards, rewards, ends, and last boards of games that are over."""
    ends = [[info.get("terminal_observation") for info in step[3]] for step in (one, other)]
    return all(map(np.array_equal, one[:3], other[:3])) and all(map(np.array_equal, *ends))


@settings(max_examples=12, deadline=None)
@given(GAMES, SEEDS)
def test_every_game_is_the_packages_step_for_step(name, seed):
    env, boards = games_of(name, seed=seed)
    references = [Environment(name) for _ in range(3)]
    for index, reference in enumerate(references):
        reference.seed(seed + index)
        reference.reset()
    channels = references[0].state_shape()[2]
    for actions in (None, *actions_of(seed, 150)):
        ended = np.zeros(3, dtype=bool)
        if actions is not None:
            boards, rewards, ended, infos = env.step(actions)
            expected = [reference.act(action) for reference, action in zip(references, actions.tolist(), strict=True)]
            assert [(reward, bool(over)) for reward, over in expected] == list(zip(rewards, ended, strict=True))
        for index, reference in enumerate(references):
            if ended[index]:
                last = infos[index]["terminal_observation"]
                assert np.array_equal(last[:channels], reference.state().transpose(2, 0, 1))
                reference.reset()
            assert np.array_equal(boards[index, :channels], reference.state().transpose(2, 0, 1))
        assert boards.dtype == bool
        assert not boards[:, channels:].any()


def test_the_games_the_actions_and_the_sticking_are_the_packages():
    files = Path(inspect.getfile(Environment)).parent.glob("environments/[a-z]*.py")
    assert sorted(FIVE_GAMES) == sorted(path.stem for path in files)
    options = inspect.signature(Environment).parameters
    assert (options["sticky_action_prob"].default, options["difficulty_ramping"].default) == (STICKY, True)
    assert {Environment(name).num_actions() for name in FIVE_GAMES} == {ACTIONS}
    assert max(Environment(name).state_shape()[2] for name in FIVE_GAMES) == CHANNELS
    shape = shape_of(minatar_tasks())
    assert (shape.observation, shape.num_actions) == ((10, 10, 10), (6,) * 5)


@pytest.mark.parametrize("name", FIVE_GAMES)
def test_a_game_does_not_depend_on_those_beside_it_and_begins_again_from_its_seed(name):
    many, first = games_of(name, 4, seed=7)
    one, alone = games_of(name, 1, seed=9)
    actions = actions_of(0, 60, 4)
    beside = [many.step(row) for row in actions]
    assert np.array_equal(first[2], alone[0])
    for step, row in zip(beside, actions, strict=True):
        assert all(
            np.array_equal(ours[0], theirs[2]) for ours, theirs in zip(one.step(row[2:3])[:3], step, strict=False)
        )
    many.seed(7)
    assert np.array_equal(many.reset(), first)
    assert all(same(many.step(row), step) for row, step in zip(actions, beside, strict=True))


@settings(max_examples=12, deadline=None)
@given(GAMES, SEEDS, st.integers(0, 120))
def test_a_game_goes_on_exactly_from_its_state(name, seed, steps):
    env, seen = games_of(name, seed=seed)
    for row in actions_of(seed, steps):
        seen = env.step(row)[0]
    kept = {key: tensor.clone() for key, tensor in env.state().items()}
    other, _ = games_of(name, seed=seed + 1)
    assert np.array_equal(other.load(kept), seen)
    for row in actions_of(seed + 1, 100):
        assert same(env.step(row), other.step(row))
    assert all(torch.equal(tensor, other.state()[key]) for key, tensor in env.state().items())


def test_a_state_of_other_games_is_refused():
    env, _ = games_of("breakout")
    for name, number in (("asterix", 3), ("breakout", 2)):
        with pytest.raises(
            ValueError, match=r"^the checkpoint does not fit the run, choose a new folder: it has other"
        ):
            env.load(games_of(name, number)[0].state())


def test_a_game_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^MinAtar has no game 'Breakout'; its games are asterix, breakout, freeway"):
        minatar_tasks(["Breakout"])


def learner_of(method, memory):
    """The preset, all of its games included, with less of everything but nodes."""
    preset, training = POLICY_PRESETS["minatar5"], replace(QUICK, evaluated="learned", importance_steps=8)
    tasks = preset.tasks()
    shape = shape_of(tasks)
    network = preset.network(shape)
    return PolicyLearner(tasks, shape, network, guarded(network, method, shape), training, 0, checkpointer=memory)


def test_a_run_of_the_preset_goes_on_exactly_in_the_middle_of_a_game_and_between_two():
    method = agscl.AGSCL(mu=1.0, lam=100.0)
    with seeded(0):
        whole = learner_of(method, memory := Remember())
        finished = learn_sequence(whole)
    assert [(len(state.progress.tasks), state.progress.updates) for state in memory.saved] == [
        (task + last, 0 if last else 1) for task in range(5) for last in (False, True)
    ]
    assert [task.name for task in finished.tasks] == list(FIVE_GAMES)
    for state in (memory.saved[2], memory.saved[5], memory.saved[8]):
        again = learner_of(method, Remember(state))
        resumed = learn_sequence(again)
        assert resumed.evaluations == finished.evaluations
        assert resumed.resumed == []
        assert all(torch.equal(tensor, again.state()[name]) for name, tensor in whole.state().items())


class StopError(Exception):
    pass


class StopAtSecondUpdate:
    """A logger that ends the run with what the first update has left on disk."""

    def emit(self, event):
        if isinstance(event, Updated) and event.update == 2:
            raise StopError


def test_a_run_that_died_in_a_game_leaves_the_record_of_one_that_did_not(tmp_path):
    training = replace(QUICK, evaluated="learned")
    experiment = PolicyExperiment(preset="minatar5", method=FineTuning(), training=training, tasks=1)
    whole = run(experiment, RunFolder(tmp_path / "whole"))
    folder = RunFolder(tmp_path / "broken")
    with pytest.raises(StopError):
        run(experiment, folder, [StopAtSecondUpdate()], every=Every(steps=1))
    resumed = run(experiment, folder, resume=True)
    assert resumed.history.evaluations == whole.history.evaluations
    assert resumed.history.resumed == []
    assert folder.state.read_bytes() == RunFolder(tmp_path / "whole").state.read_bytes()
