"""The command that a report gives for a run asks for that very run."""

import shlex
from dataclasses import fields, replace

import pytest

from agscl.cli import main
from agscl.cli.session import _experiments
from agscl.experiments import Experiment, preset_named
from agscl.methods import AGSCL, EWC, HAT
from agscl.report.command import command
from agscl.training import Compute, Training
from report.made_up import PLAIN, experiment

FULL = preset_named("digits").training


@pytest.mark.parametrize(
    "asked",
    [
        experiment(),
        experiment(PLAIN, seed=12),
        experiment(AGSCL(mu=0.1, lam=float("inf"), rho=0.0, proximal="step")),
        experiment(EWC(lam=1e9, merge="running-mean"), fraction=0.25, tasks=3),
        experiment(HAT(), training=FULL.with_epochs(2), cpr=0.3),
        experiment(training=replace(FULL, on_divergence="restore")),
        experiment(width=0.5),
        experiment(compute=Compute(device="cpu", precision="bf16", channels_last="off", compile=True)),
    ],
)
def test_the_command_asks_for_the_same_experiment(asked, monkeypatch):
    requests = []
    monkeypatch.setattr("agscl.cli.session.start", requests.append)
    words = shlex.split(command(asked))
    assert words[0] == "agscl"
    assert main(words[1:]) == 0
    assert _experiments(requests[0]) == [asked]


def test_training_that_no_option_can_set_has_no_command():
    assert command(experiment(training=Training(epochs=3, batch_size=17))) is None


def test_every_setting_of_an_experiment_has_its_option():
    """A new setting must come into the command, or runs cannot be repeated from the page."""
    known = {"preset", "method", "training", "compute", "cpr", "tasks", "fraction", "width", "seed"}
    assert {field.name for field in fields(Experiment)} == known
