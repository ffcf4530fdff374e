"""Files of run folders damaged in thousands of ways: they are read as they are or refused, and nothing else."""

import hashlib
import shutil
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agscl.cli import main
from agscl.cli.verify import certified_states
from agscl.experiments import Experiment, run
from agscl.experiments.records import read_runs
from agscl.experiments.supervised.result import Result
from agscl.methods import AGSCL
from agscl.report import page
from agscl.runs import RunFolder
from agscl.runs.checkpoint import Checkpoint, CheckpointFolder
from agscl.runs.files import tensors_in
from agscl.runs.overview import overview
from agscl.runs.tables import read_evaluations, read_nodes
from agscl.training import Every, Training
from figures.played import PROTECTED, write_policies
from hostile.cases import cases
from hostile.mutations import damage, damaged
from hostile.records import misfits
from hostile.watch import confined
from report.made_up import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished and certified run, with a checkpoint as an unfinished one has it."""
    made = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    experiment = Experiment(preset="digits", method=AGSCL(mu=10.0, lam=400.0), training=Training(epochs=1), tasks=2)
    run(experiment, made, every=Every(steps=1))
    assert main(["verify", str(made.path)]) == 1  # soft freezing drifts: the certificate says by how much
    return made


def read_experiment(folder):
    Experiment.from_json(folder.experiment.read_bytes())


def read_result(folder):
    result = Result.read(folder)
    assert len(result.accuracy) == len(result.history.tasks)


def read_state(folder):
    tensors_in(folder.state.read_bytes(), folder.state)


READERS = {
    "experiment.json": read_experiment,
    "result.json": read_result,
    "state.safetensors": read_state,
    "certificate.json": lambda folder: certified_states(folder.path / "certificate.json"),
    "result.parquet": lambda folder: read_evaluations(folder.evaluations),
    "nodes.parquet": lambda folder: read_nodes(folder.nodes),
}


@pytest.mark.parametrize("name", READERS)
@cases(25)
@given(edits=damage)
def test_a_damaged_file_of_a_run_is_read_or_refused(folder, name, edits):
    read_damaged(folder, name, lambda whole: damaged(whole, edits), READERS[name])


def read_damaged(folder, name, harm, read):
    """Read a folder while one of its files is not what was written."""
    path = folder.path / name
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    try:
        with confined(folder.path):
            read(folder)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - there may be no error
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """A finished run of a sequence of tasks, with made-up accuracies."""
    return RunFolder(write_run(tmp_path_factory.mktemp("sequence") / "run", tasks=2))


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """A finished run of policies, with made-up scores."""
    return write_policies(tmp_path_factory.mktemp("policies") / "run", PROTECTED)


@pytest.fixture(scope="module", params=["sequence", "policies"])
def written(request):
    """A finished run of each kind."""
    return request.getfixturevalue(request.param)


WHOLE = {
    "overview": lambda folder: overview([folder.path]).write_csv(None),
    "page": lambda folder: page(read_runs([folder.path])),
}


@pytest.mark.parametrize("reader", WHOLE)
@pytest.mark.parametrize("name", ["experiment.json", "result.json"])
@cases(25)
@given(misfit=misfits)
def test_a_value_that_does_not_belong_into_a_record_is_shown_or_refused(written, name, reader, misfit):
    read_damaged(written, name, misfit, WHOLE[reader])


@cases(25)
@given(edits=damage)
def test_a_damaged_table_of_evaluations_is_shown_or_refused(policies, edits):
    read_damaged(policies, "result.parquet", lambda whole: damaged(whole, edits), WHOLE["page"])


TENSORS = {
    "model.weight": torch.arange(12.0).view(3, 4),
    "random.torch": torch.get_rng_state()[:64],
    "n": torch.tensor(3),
}


@cases(50)
@given(edits=damage, record=st.text(max_size=50), signed=st.booleans())
def test_a_damaged_checkpoint_is_never_taken_for_another(tmp_path_factory, edits, record, signed):
    """Even if whoever damaged it made its digest right again."""
    path = tmp_path_factory.getbasetemp() / "checkpoint"
    shutil.rmtree(path, ignore_errors=True)
    folder = CheckpointFolder(path)
    file = folder.write(Checkpoint(record, TENSORS))
    whole = file.read_bytes()
    content = damaged(whole, edits)
    file.unlink()
    digest = hashlib.blake2b(content, digest_size=16).hexdigest() if signed else file.stem.partition("-")[2]
    (path / f"00000001-{digest}.safetensors").write_bytes(content)
    with confined(path), warnings.catch_warnings(action="ignore"):
        try:
            found = folder.newest()
        except ValueError:
            found = None
    assert found is None or signed or content == whole
