"""What is tried next, by Optuna, and its journal of what was tried.

What a trial of a method gets is a function of the sweep's seed, the trial's number and the trials of earlier waves,
and of nothing else: not of how many runs are done at once, nor of the order in which they end, nor of interruptions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agscl.extras import require
from agscl.methods.space import LogUniform, OneOf, SearchRange, Space, Uniform
from agscl.runs.files import write_bytes

from .trial import State, Trial

WAVE = 4
"""Trials of a method that are chosen together: those of a wave know all waves before it."""


def wave_of(number: int, trials: int) -> range:
    """The numbers of the trials that are chosen together with one.

    >>> wave_of(5, trials=7)
    range(4, 7)
    """
    first = number - number % WAVE
    return range(first, min(first + WAVE, trials))


Values = Mapping[str, Any]
"""What is searched, by option."""


def propose(
    method: str, space: Space, tried: Sequence[Trial], beside: Sequence[Values], number: int, seed: int
) -> dict[str, Any]:
    """The values of a trial, by a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).

    The first wave is drawn at random. A trial that failed counts as worse than all others, a pruned one as worse than
    those that got further, and one of the same wave as a bad one, so that a wave spreads.

    Args:
        method: Name of the method.
        space: Its ranges.
        tried: The trials of all earlier waves.
        beside: The values of the trials of the same wave that were chosen before.
        number: Of the trial.
        seed: Of the sweep.

    Returns:
        A value for each option, numbers with three digits.
    """
    optuna = _optuna()
    digest = hashlib.sha256(f"{seed}:{method}:{number}".encode()).digest()
    sampler = optuna.samplers.TPESampler(
        seed=int.from_bytes(digest[:4], "big"), n_startup_trials=WAVE, constant_liar=True
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    ranges = {option: _distribution(found) for option, found in space.items()}
    for trial in tried:
        study.add_trial(_frozen(trial, ranges, failed=optuna.trial.TrialState.PRUNED))
    for values in beside:
        running = optuna.trial.TrialState.RUNNING
        study.add_trial(optuna.trial.create_trial(state=running, params=dict(values), distributions=ranges))
    proposed = study.ask(ranges).params
    return {option: _short(value, space[option]) for option, value in proposed.items()}


def _short(value: Any, found: SearchRange) -> Any:
    """A number with three digits, within its range: more of them mean nothing, and a table can show it as it is."""
    if not isinstance(found, LogUniform | Uniform):
        return value
    return min(max(float(f"{value:.3g}"), found.low), found.high)


class Journal:
    """Optuna's journal of a sweep in a file, a study a method: trials are added to it wave by wave, in their order.

    Optuna's own tools read it (``optuna-dashboard``); so does a sweep that goes on.
    """

    def __init__(self, path: Path, spaces: Mapping[str, Space]) -> None:
        """Open it, or begin one; a `ValueError` if it is damaged."""
        optuna = _optuna()
        _mend(path)
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        self._ranges = {name: {o: _distribution(r) for o, r in space.items()} for name, space in spaces.items()}
        try:
            storage = optuna.storages.JournalStorage(backend)
            self._studies = {
                name: optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
                for name in spaces
            }
            for name in spaces:
                self.trials(name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is damaged ({reason}): move it away, and the sweep makes it anew") from error

    def trials(self, method: str) -> list[Trial]:
        """The trials of a method that are in it, in their order."""
        return [_thawed(method, frozen) for frozen in self._studies[method].get_trials(deepcopy=False)]

    def add(self, trials: Sequence[Trial]) -> None:
        """Add trials of a method that are not in it yet."""
        for trial in trials:
            failed = _optuna().trial.TrialState.FAIL
            self._studies[trial.method].add_trial(_frozen(trial, self._ranges[trial.method], failed=failed))


def _mend(path: Path) -> None:
    """Cut off the line that a killed writer left, and take away its lock: whoever calls this holds the folder."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _optuna() -> Any:
    optuna = require("optuna", extra="sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(found: SearchRange) -> Any:
    distributions = _optuna().distributions
    if isinstance(found, LogUniform | Uniform):
        return distributions.FloatDistribution(found.low, found.high, log=isinstance(found, LogUniform))
    assert isinstance(found, OneOf), "all kinds of ranges are above"
    return distributions.CategoricalDistribution(found.values)


def _frozen(trial: Trial, ranges: Mapping[str, Any], *, failed: Any) -> Any:
    """A trial as Optuna has it; what it got to is one value a task, counted on from seed to seed."""
    optuna = _optuna()
    states = optuna.trial.TrialState
    state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": failed}[trial.state]
    reached = [value for row in trial.steps for value in row]
    return optuna.trial.create_trial(
        state=state,
        value=trial.score,
        params=dict(trial.values),
        distributions=dict(ranges),
        user_attrs={"steps": [list(row) for row in trial.steps], "reason": trial.reason, "seconds": trial.seconds},
        intermediate_values={} if trial.state == "failed" else dict(enumerate(reached)),
    )


def _thawed(method: str, frozen: Any) -> Trial:
    """A trial from what `_frozen` made for the journal."""
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    about, state = frozen.user_attrs, states[frozen.state.name]
    steps = tuple(map(tuple, about["steps"]))
    return Trial(method, frozen.number, frozen.params, state, steps, about["reason"], about["seconds"])
