"""A run as a value: the JSON round trip, what it refuses, and what its methods are made from."""

import json
import math
import re
from dataclasses import MISSING, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agscl import AGSCL, FineTuning
from agscl.experiments import Experiment, method_from_options, name_of, run
from agscl.experiments.kind import scale_of
from agscl.experiments.supervised.presets import SUPERVISED_PRESETS
from agscl.methods import METHODS
from agscl.runs import RunFolder
from agscl.training import Training

TUNED = SUPERVISED_PRESETS["digits"].methods
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
STRENGTHS = st.one_of(POSITIVE, st.just(math.inf))
AGS = st.builds(
    AGSCL,
    mu=st.floats(0, 1e6),
    lam=STRENGTHS,
    eta=st.floats(0.1, 1),
    rho=st.floats(0, 1),
    proximal=st.sampled_from(["epoch", "step"]),
)
SETTINGS = st.builds(
    Training,
    epochs=st.integers(1, 1000),
    batch_size=st.integers(1, 4096),
    learning_rate=POSITIVE,
    patience=st.integers(1, 50),
    decay=st.floats(1.01, 100),
    floor=st.floats(0, 1),
    optimizer=st.just("sgd"),
    momentum=st.floats(0, 0.99),
    milestones=st.lists(st.integers(1, 100)).map(lambda epochs: tuple(sorted(epochs))),
)
EXPERIMENTS = st.builds(
    Experiment,
    preset=st.sampled_from(list(SUPERVISED_PRESETS)),
    method=st.one_of(AGS, st.just(FineTuning())),
    training=SETTINGS,
    seed=st.integers(0, 2**31),
    tasks=st.one_of(st.none(), st.integers(1, 50)),
    fraction=st.floats(0, 1, exclude_min=True),
)
EXAMPLE = Experiment(preset="digits", method=AGSCL(mu=1, lam=math.inf), training=Training())


def changed(path, value):
    """The example as JSON with one entry changed, added, or (for `...`) removed."""
    content = json.loads(EXAMPLE.to_json())
    *parents, key = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return json.dumps(content)


@given(EXPERIMENTS)
def test_an_experiment_survives_json(experiment):
    assert Experiment.from_json(experiment.to_json()) == experiment


@given(EXPERIMENTS)
def test_experiments_are_written_as_strict_json(experiment):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(experiment.to_json(), parse_constant=refuse)


def test_equal_experiments_give_equal_bytes():
    whole = replace(EXAMPLE, method=AGSCL(mu=7, lam=3))
    assert whole.to_json() == replace(EXAMPLE, method=AGSCL(mu=7.0, lam=3.0)).to_json()
    rate, fraction = replace(EXAMPLE, training=Training(learning_rate=1)), replace(EXAMPLE, fraction=1)
    assert rate.to_json() == replace(EXAMPLE, training=Training(learning_rate=1.0)).to_json()
    assert fraction.to_json() == EXAMPLE.to_json()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sede", 1, "no option 'sede'"),
        ("training.epoch", 1, "training.epoch"),
        ("seed", -1, "seed must not be negative"),
        ("seed", "3", "seed"),
        ("seed", 1.5, "seed"),
        ("preset", "digit", "unknown preset 'digit'"),
        ("preset", ..., "needs a value for 'preset'"),
        ("training.epochs", 0, "epochs must be at least 1"),
        ("training.learning_rate", "0.1", "learning_rate"),
        ("training.optimizer", "rmsprop", "optimizer"),
        ("training.milestones", [3, 1], "ascending order"),
        ("tasks", 0, "tasks must be at least 1"),
        ("tasks", "2", "tasks"),
        ("fraction", 2, "fraction must be in (0, 1]"),
        ("fraction", "half", "fraction"),
        ("method", "ags-cl", "an object with a name"),
        ("method.name", "ags", "unknown method 'ags'"),
        ("method.mu", -1, "mu"),
        ("method.mu", ..., "ags-cl needs a value for 'mu'"),
        ("method.lambda", 1, "no option 'lambda'"),
        ("method.eta", "0.9", "eta"),
        ("method.rho", 1.5, "rho"),
        ("method.proximal", "batch", "proximal"),
    ],
)
def test_json_that_is_no_experiment_is_refused_in_one_line(path, value, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        Experiment.from_json(changed(path, value))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_stray_key_is_refused_in_every_method(name):
    with pytest.raises(ValueError, match="no option 'stray'"):
        Experiment.from_json(changed("method", {"name": name, "stray": 1}))


def test_text_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        Experiment.from_json("{")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_name_and_survives_json(name):
    needed = {field.name: "1" for field in fields(METHODS[name]) if field.default is MISSING}
    method = method_from_options(name, needed, {})
    assert name_of(method) == name
    assert method_from_options(name, {}, {name: method}) == method
    experiment = replace(EXAMPLE, method=method)
    assert Experiment.from_json(experiment.to_json()) == experiment


def test_options_replace_the_tuned_values_and_leave_the_others():
    method = method_from_options("ags-cl", {"lam": "inf", "proximal": "step"}, TUNED)
    assert method == replace(TUNED["ags-cl"], lam=math.inf, proximal="step")


def test_without_options_a_method_is_the_tuned_one():
    assert method_from_options("ags-cl", {}, TUNED) == TUNED["ags-cl"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ags", {}, "unknown method 'ags'; there are: ags-cl"),
        ("ags-cl", {}, "ags-cl needs a value for 'mu'"),
        ("ags-cl", {"mu": "1", "lam": "1", "lambda": "3"}, "ags-cl has no option 'lambda'; it has: mu, lam"),
        ("fine-tuning", {"lam": "3"}, "fine-tuning has no option 'lam'; it has: none"),
        ("ags-cl", {"mu": "-1", "lam": "1"}, "mu"),
        ("ags-cl", {"mu": "much", "lam": "1"}, "mu"),
        ("ags-cl", {"mu": "1", "lam": "1", "rho": "2"}, "rho"),
        ("ags-cl", {"mu": "1", "lam": "1", "eta": "0"}, "eta"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        method_from_options(name, options, {})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", SUPERVISED_PRESETS)
def test_every_preset_compares_its_methods_with_fine_tuning(name):
    methods = SUPERVISED_PRESETS[name].methods
    assert methods["fine-tuning"] == FineTuning()
    assert all(name_of(method) == key for key, method in methods.items())


def test_a_run_too_short_for_the_group_lasso_says_so_wherever_its_numbers_are_read(tmp_path):
    def finished(epochs, method):
        training = SUPERVISED_PRESETS["digits"].training.with_epochs(epochs)
        experiment = Experiment(preset="digits", method=method, training=training, tasks=2)
        return run(experiment, RunFolder(tmp_path / f"{epochs}-{method.name}-{getattr(method, 'mu', 0)}"))

    short, other = finished(2, AGSCL(mu=10, lam=400)), finished(2, FineTuning())
    assert short.lasso_reach == pytest.approx(10 * 2e-3 / 0.58, rel=0.1)  # rows begin with norms of about 0.58
    assert other.lasso_reach is None
    assert "can remove at most 3% of an average node's initial norm" in scale_of([other, short])
    assert scale_of([other]) == other.scale_in_words()
    assert finished(2, AGSCL(mu=300, lam=400)).caveats() == []  # it can
