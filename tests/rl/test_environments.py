"""Environments: what a step is, when an episode ends, what it is worth."""

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from agscl.rl.atari import EIGHT_GAMES, FRAMES_PER_STEP, AtariGames, atari_tasks
from agscl.rl.cartpole import cartpole_tasks
from agscl.rl.pixels import MOST_STEPS, MOVES, PixelGame, pixel_tasks
from agscl.rl.task import shape_of
from agscl.runs.random import derived_seed


def played(env, steps, seed=0):
    """Everything that comes back while random actions are taken."""
    env.seed(seed)
    generator = np.random.default_rng(seed)
    seen = [(env.reset(), None, None, None)]
    seen += [env.step(generator.integers(env.action_space.n, size=env.num_envs)) for _ in range(steps)]
    env.close()
    return seen


def test_the_eight_games_have_the_action_counts_of_the_paper() -> None:
    shape = shape_of(atari_tasks(EIGHT_GAMES))
    assert shape.observation == (4, 84, 84)
    assert shape.num_actions == (18, 18, 9, 9, 8, 18, 6, 6)


def test_training_ends_episodes_with_lives_and_clips_rewards_in_the_same_games_that_evaluation_plays() -> None:
    training = played(AtariGames("demon_attack", 3, training=True), 180)[1:]
    whole = played(AtariGames("demon_attack", 3, training=False), 180)[1:]
    lost = [infos[env] for _, _, done, infos in training for env in np.flatnonzero(done)]
    assert lost
    assert not any(done.any() for _, _, done, _ in whole)
    assert not any(info["TimeLimit.truncated"] for info in lost)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(training, whole, strict=True))
    assert max(raw.max() for _, raw, _, _ in whole) > 1
    assert all(np.array_equal(a[1], np.sign(b[1])) for a, b in zip(training, whole, strict=True))


def test_a_step_is_four_frames() -> None:
    games = AtariGames("boxing", 1, training=False)
    games.seed(0)
    games.reset()
    before = games._games.step(np.zeros(1, dtype=np.int64))[4]["frame_number"][0]
    assert games._games.step(np.zeros(1, dtype=np.int64))[4]["frame_number"][0] - before == FRAMES_PER_STEP
    games.close()


def test_a_game_that_does_not_exist_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"ale-py has no game 'Tetrisphere'; names are those of ALE, such as StarG"):
        atari_tasks(["Boxing", "Tetrisphere"])


@pytest.mark.parametrize("game", MOVES)
def test_the_pixel_world_keeps_gymnasiums_contract(game: str) -> None:
    check_env(PixelGame(game, training=False), skip_render_check=True)


def test_the_pixel_games_have_different_numbers_of_actions() -> None:
    assert shape_of(pixel_tasks()).num_actions == (3, 5, 4)


@pytest.mark.parametrize("game", MOVES)
def test_a_pixel_game_is_over_without_lives_or_time(game: str) -> None:
    env = PixelGame(game, training=False)
    env.reset(seed=0)
    generator, length, ended = np.random.default_rng(0), 0, False
    while not ended:
        picture, reward, terminated, truncated, _ = env.step(generator.integers(len(MOVES[game])))
        length, ended = length + 1, terminated or truncated
        assert reward in (0, 1)
    lives = np.count_nonzero(picture[2])
    assert (lives == 0) if terminated else (length == MOST_STEPS)


def test_in_training_a_pixel_game_goes_on_after_a_lost_life() -> None:
    env = PixelGame("catch", training=True)
    env.reset(seed=0)
    while not env.step(1)[2]:
        pass
    assert np.count_nonzero(env.reset()[0][2]) == 2


def test_the_poles_differ_in_what_is_seen_alone() -> None:
    plain, mirrored, permuted = (played(task.make(1, True), 20, seed=3) for task in cartpole_tasks())
    for a, b, c in zip(plain, mirrored, permuted, strict=True):
        assert np.array_equal(a[0], -b[0])
        assert np.array_equal(a[0][:, [2, 3, 0, 1]], c[0])


def test_tasks_with_other_observations_or_without_discrete_actions_are_refused() -> None:
    from agscl.rl.task import PolicyTask

    with pytest.raises(ValueError, match="tasks that share a trunk need the same shape and type"):
        shape_of([cartpole_tasks()[0], pixel_tasks()[0]])
    continuous = PolicyTask("swing", lambda num_envs, training: _Continuous(num_envs))
    with pytest.raises(ValueError, match=r"task 'swing' has observations .* a number of discrete actions are needed"):
        shape_of([continuous])


class _Continuous(DummyVecEnv):
    def __init__(self, num_envs):
        super().__init__([lambda: PixelGame("catch", training=True)] * num_envs)
        self.action_space = spaces.Box(-1, 1, (1,))


def test_seeds_of_different_purposes_are_unrelated() -> None:
    seeds = {derived_seed(s, t, p, c) for s in (0, 1) for t in (0, 1) for p in ("training", "test") for c in (0, 1)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**30 for seed in seeds)
