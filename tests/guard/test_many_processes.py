"""Two processes that train one network, each on its own shard, hold the same bits; what cannot be right stops both."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

import agscl
from laws.failing_processes import STORIES
from laws.many_processes import FEATURES, SETTINGS, TASKS, Net, shard
from laws.process_cases import CASES, EXPANDED, FROZEN, LEARNED, MEASURED, RESUMED, SHARDED, work

Outcomes = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What came out of a case in each of the two processes; they work through all cases once."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)

    def of(case: str) -> list[Any]:
        number = list(CASES).index(case)
        found = [torch.load(folder / f"{number}-{rank}.pt", weights_only=False) for rank in (0, 1)]
        assert not any(isinstance(outcome, str) and "Traceback" in outcome for outcome in found), found
        return found

    return of


def different(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    """Names of tensors that do not have the same bits."""
    pairs = {name: (first.get(name), second.get(name)) for name in first | second}
    return {name for name, (a, b) in pairs.items() if a is None or b is None or bits(a) != bits(b)}


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize(("method", "order"), LEARNED)
def test_both_hold_the_same_bits_after_every_task(method: str, order: str, outcomes: Outcomes) -> None:
    first, second = outcomes(f"{method}, {order}")
    assert len(first["after"]) == TASKS
    assert [different(*pair) for pair in zip(first["after"], second["after"], strict=True)] == [set()] * TASKS


def in_one_process(method: str, before: dict[str, Tensor], task: int, seed: int) -> dict[str, Tensor]:
    """The state after one process has consolidated the task with the samples of both."""
    net = Net()
    guard = agscl.protect(net, SETTINGS[method], example_inputs=torch.zeros(2, FEATURES), heads="heads")
    parts = {part: {n.removeprefix(part): t for n, t in before.items() if n.startswith(part)} for part in PARTS}
    guard.load_state_dict(parts["guard."])
    net.load_state_dict(parts["net."])
    torch.manual_seed(seed)
    guard.consolidate([*shard(0, task), *shard(1, task)], lambda batch: net(batch[0])[task])
    states = {"net.": net.state_dict(), "guard.": guard.state_dict()}
    return {f"{part}{name}": tensor for part, tensors in states.items() for name, tensor in tensors.items()}


PARTS = ("net.", "guard.")


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same up to rounding; digests and fingerprints are of bits, and example inputs others: they are left out."""
    names = [name for name in expected if not name.endswith("digest") and ".probe." not in name]
    assert found.keys() == expected.keys()
    for name in names:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("method", [name for name in SETTINGS if name != "ewc, sampled"])
def test_a_task_ends_as_in_one_process_with_the_samples_of_both(method: str, outcomes: Outcomes) -> None:
    outcome = outcomes(f"{method}, guard first")[0]
    last = TASKS - 1
    assert_close(outcome["after"][last], in_one_process(method, outcome["before"], last, seed=last))


@pytest.mark.parametrize("method", MEASURED)
def test_a_process_may_have_no_sample(method: str, outcomes: Outcomes) -> None:
    first, second = outcomes(f"all data in one: {method}")
    assert different(first["after"][0], second["after"][0]) == set()
    assert_close(first["after"][0], in_one_process(method, first["before"], 0, seed=5))


@pytest.mark.parametrize(("method", "order"), [(name, order) for name, order in LEARNED if order != "guard first"])
def test_it_is_all_the_same_whether_guard_or_wrapper_comes_first(method: str, order: str, outcomes: Outcomes) -> None:
    reference, found = (outcomes(f"{method}, {each}")[0]["after"][-1] for each in ("guard first", order))
    assert different(found, reference) == set()


@pytest.mark.parametrize("way", FROZEN)
def test_old_logits_keep_their_bits(way: str, outcomes: Outcomes) -> None:
    first, second = outcomes(f"frozen: {way}")
    assert {bits(logits) for logits in (*first, *second)} == {bits(first[0])}


@pytest.mark.parametrize("method", RESUMED)
def test_a_task_goes_on_exactly_from_what_the_first_process_saved(method: str, outcomes: Outcomes) -> None:
    states = [*outcomes(f"{method}, in two parts"), *outcomes(f"{method}, in one part")]
    assert [different(states[0], state) for state in states] == [set()] * 4


@pytest.mark.parametrize("method", EXPANDED)
def test_new_nodes_are_those_of_the_first_process(method: str, outcomes: Outcomes) -> None:
    first, second = outcomes(f"expanded: {method}")
    assert [different(*pair) for pair in zip(first, second, strict=True)] == [set(), set()]


WORDS = {
    "nothing": "nothing was refused",
    "other_steps_per_epoch": "'steps_per_epoch' differs between the processes (4 in process 0, 3 in process 1)",
    "an_empty_loader": "steps_per_epoch must be at least 1",
    "another_optimizer": "the optimizer does not hold 'first.weight'",
    "another_learning_rate": "'the optimizer' differs between the processes",
    "another_task": "'guard.task' differs between the processes (0 in process 0, 1 in process 1)",
    "other_weights": "'model.second.weight' differs between the processes",
    "another_guard_state": "'guard.method.importance.first' differs between the processes",
    "attached_and_not": "process 0 is at 'consolidate' and process 1 at 'attach'",
    "no_steps": "nothing was learned yet",
    "a_lost_batch": "the disk is gone",
    "infinite_inputs": "the activations of 'first' are not finite",
    "no_data_at_all": "the batches are empty",
    "consolidated_within": "consolidate after the attach() block",
    "trained_apart": "the gradient of 'first.weight' differs between the processes",
    "wrong_labels": "labels must be numbers below 2",
}
ALONE = ("an_empty_loader", "another_optimizer", "a_lost_batch", "wrong_labels")
"""Where one process fails, the other is told which one it was."""


@pytest.mark.parametrize("story", STORIES)
def test_what_goes_wrong_in_one_stops_both_with_one_line(story: str, outcomes: Outcomes) -> None:
    (first, _), (second, _) = outcomes(f"fails: {story}")
    assert WORDS[story] in first
    assert WORDS[story] in second
    assert "\n" not in first + second
    assert first.startswith("process 1: ") == (story in ALONE)


@pytest.mark.parametrize("story", STORIES)
def test_what_was_stopped_has_changed_nothing(story: str, outcomes: Outcomes) -> None:
    (_, first), (_, second) = outcomes(f"fails: {story}")
    assert different(first, second) == set()
    if story not in ("wrong_labels", "trained_apart"):  # another method; statistics that moved before the step
        assert different(first, outcomes("fails: nothing")[0][1]) == set()


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("a step more", "differs between the processes; train with DistributedDataParallel"),
        ("not a number", "is not finite at step 1"),
        ("uneven steps", "'guard.steps' differs between the processes (4 in process 0, 3 in process 1)"),
        ("not synchronised", "the gradient of 'first.weight' differs between the processes"),
        ("apart later", "differs between the processes; train with DistributedDataParallel"),
        ("of another size", "'the graph' differs between the processes"),
        ("another model", "'the graph' differs between the processes"),
        ("another strength", "'the method' differs between the processes (AGSCL(mu=1, lam=2, "),
        ("a wrapped part", "DistributedDataParallel"),
        ("untraceable", "the example inputs do not fit the model"),
        ("a local method", "the method must add up what it measures"),
        ("left alone", "2 processes have trained this task, and this one is alone now"),
        *[(f"{kind}, {order}", "are spread over processes") for kind, order in SHARDED],
    ],
)
def test_what_cannot_be_right_is_refused_in_both(case: str, words: str, outcomes: Outcomes) -> None:
    first, second = outcomes(case)
    assert words in first
    assert words in second


def test_names_are_those_of_the_model_within_the_wrappers(outcomes: Outcomes) -> None:
    names = sorted(name for name, _ in Net().named_parameters() if not name.startswith("heads"))
    assert outcomes("unwrapped") == [[names] * 4] * 2


def test_tensors_of_every_kind_are_taken_from_the_first_process(outcomes: Outcomes) -> None:
    first, second = outcomes("any tensor")
    assert different(first, second) == set()
    assert first["odd"].isnan().any()


def test_sums_and_numbers_of_samples_are_added(outcomes: Outcomes) -> None:
    for sums, samples in outcomes("sums"):
        assert samples == 3 + 4
        assert sums["a"].tolist() == [3.0, 6.0]
        assert sums["b"].tolist() == [[0.2, 0.2], [0.2, 0.2]]


def test_a_single_bit_tells_tensors_apart(outcomes: Outcomes) -> None:
    assert outcomes("told apart") == [["extra", "steps", "weight", "zero"]] * 2


def test_data_parallel_on_several_devices_is_refused() -> None:
    model = torch.nn.DataParallel(Net())
    model.device_ids = [0, 1]
    with pytest.raises(ValueError, match="use DistributedDataParallel"):
        agscl.protect(model, SETTINGS["ewc"], example_inputs=torch.zeros(2, FEATURES), heads="heads")


def test_synchronised_statistics_make_no_other_nodes_whether_they_come_first_or_later() -> None:
    plain, later = Net(), Net()
    synchronised = torch.nn.SyncBatchNorm.convert_sync_batchnorm(Net())
    graphs = [agscl.trace(net, torch.zeros(2, FEATURES), heads="heads") for net in (plain, synchronised)]
    assert str(graphs[0]) == str(graphs[1])
    guard = agscl.protect(later, SETTINGS["ewc"], example_inputs=torch.zeros(2, FEATURES), heads="heads")
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(later)
    model.norm.eval()  # without a card it has no training mode
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), lr=0.1), shard(0, 0)[0]
    with guard.attach(optimizer, steps_per_epoch=1):
        torch.nn.functional.cross_entropy(model(x)[0], y).backward()
        optimizer.step()
    guard.consolidate([(x, y)], lambda batch: model(batch[0])[0])
    assert guard.state_dict()["method.importance.norm.weight"].any()


def test_every_method_is_tried() -> None:
    assert set(agscl.methods.METHODS) <= set(SETTINGS)
