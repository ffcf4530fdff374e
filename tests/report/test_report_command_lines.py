"""The command that a report gives for a run asks for that very run."""

import shlex
from dataclasses import fields, replace

import pytest

from agscl.cli.arguments import parser_for
from agscl.cli.run import choice_of, experiments_of
from agscl.experiments import Experiment, PolicyExperiment, preset_named
from agscl.experiments.command import command
from agscl.methods import AGSCL, EWC, HAT
from agscl.training import Compute, Training
from figures.played import FINE_TUNING
from report.made_up import PLAIN, experiment

FULL = preset_named("digits").training


def of_policies(method=PLAIN, **others):
    settings = {"training": preset_named("pixels3").training, **others}
    return PolicyExperiment(preset="pixels3", method=method, **settings)


@pytest.mark.parametrize(
    "config",
    [
        experiment(),
        experiment(PLAIN, seed=12),
        experiment(AGSCL(mu=0.1, lam=float("inf"), rho=0.0, proximal="step")),
        experiment(EWC(lam=1e9, merge="running-mean"), fraction=0.25, tasks=3),
        experiment(HAT(), training=FULL.with_epochs(2), cpr=0.3),
        experiment(training=replace(FULL, on_divergence="restore")),
        experiment(width=0.5),
        experiment(test_seed=3, order_seed=5),
        experiment(compute=Compute(device="cpu", precision="bf16", channels_last="off", compile=True)),
        of_policies(AGSCL(mu=0.1, lam=float("inf")), seed=3),
        of_policies(training=replace(preset_named("pixels3").training, steps=99), tasks=2),
        of_policies(compute=Compute(device="cpu", precision="bf16")),
    ],
)
def test_the_command_asks_for_the_same_experiment(config):
    words = shlex.split(command(config))
    assert words[0] == "agscl"
    arguments = parser_for(words[1:]).parse_args(words[1:])
    assert experiments_of(choice_of(arguments.preset, arguments), arguments) == [config]


def test_the_command_of_a_tuned_run_has_its_values():
    config = experiment(test_seed=0, tuning="first-task (values chosen on the first 3 of 5 tasks)")
    assert command(config) == command(replace(config, tuning=None))


@pytest.mark.parametrize(
    "config",
    [
        experiment(training=Training(epochs=3, batch_size=17)),
        experiment(evaluated_on="validation"),
        FINE_TUNING.experiment,
    ],
)
def test_what_no_option_can_set_has_no_command(config):
    assert command(config) is None


def test_every_setting_of_an_experiment_has_its_option():
    """A new setting must come into the command, or runs cannot be repeated from the page."""
    known = {"preset", "method", "training", "compute", "cpr", "tasks", "fraction", "width", "seed", "own"}
    known |= {"test_seed", "order_seed"} | {"evaluated_on", "tuning"}  # the last two are for sweeps, and have none
    assert {field.name for field in fields(Experiment)} == known
