"""Avalanche's own strategies, guarded by the plugin: exact, the same as a loop by hand, or refused by name."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import agscl
from laws.bridges import BATCH, DATA, EPOCHS, Net, assert_same_bits, by_hand, consolidate, fresh, learn_in
from laws.bridges import optimizer as adamw

pytest.importorskip("avalanche", reason="avalanche-lib comes with `make bench`")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own advice

from avalanche.benchmarks import benchmark_from_datasets, with_task_labels  # noqa: E402
from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset  # noqa: E402
from avalanche.benchmarks.utils.data_attribute import DataAttribute  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin  # noqa: E402
from avalanche.training.supervised import Naive  # noqa: E402

from agscl.integrations.avalanche import GuardPlugin, HeadSelector  # noqa: E402


def dataset(task: int, label: int) -> Any:
    x, y = DATA[task]
    targets = DataAttribute(y.tolist(), "targets")
    labels = DataAttribute([label] * len(y), "targets_task_labels", use_in_getitem=True)
    return as_classification_dataset(AvalancheDataset([TensorDataset(x, y)], data_attributes=[targets, labels]))


def stream(labels: tuple[int, ...] = (0, 1, 2)) -> Any:
    data = [dataset(task, label) for task, label in enumerate(labels)]
    return list(with_task_labels(benchmark_from_datasets(train=data, test=data)).train_stream)


def strategy(net: Net, guard: agscl.Guard, *more: Any, same_task: bool = False, **settings: Any) -> Naive:
    return Naive(
        model=HeadSelector(net),
        optimizer=adamw(net.parameters()),
        train_mb_size=BATCH,
        train_epochs=EPOCHS,
        plugins=[GuardPlugin(guard, same_task=same_task), *more],
        evaluator=EvaluationPlugin(strict_checks=False),
        **settings,
    )


class FreshOptimizer(SupervisedPlugin):
    """The library keeps the optimizer's memory from one experience to the next; the loop by hand does not."""

    def before_training_exp(self, strategy: Any, *_: Any, **__: Any) -> None:
        strategy.optimizer.state.clear()


def library(*more: Any, **settings: Any) -> Any:
    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        strategy(net, guard, *more, **settings).train(stream()[task], shuffle=False)

    return train


def test_a_strategy_gives_the_bits_of_the_loop_by_hand() -> None:
    net, _ = learn_in(library())
    assert_same_bits(net, by_hand())


def test_one_strategy_for_all_experiences_keeps_every_old_bit() -> None:
    net, guard = fresh()
    naive = strategy(net, guard, FreshOptimizer())
    for task, experience in enumerate(stream()[:2]):
        naive.train(experience, shuffle=False)
        consolidate(net, guard, task)
        naive.eval(stream())
        assert guard.verify().identical
        assert guard.task == task + 1
    assert_same_bits(net, by_hand())


def test_an_epoch_is_as_long_as_the_data_that_other_plugins_make() -> None:
    class Look(SupervisedPlugin):
        def before_training_epoch(self, strategy: Any, *_: Any, **__: Any) -> None:
            lengths.append(len(strategy.dataloader))

        def after_forward(self, strategy: Any, *_: Any, **__: Any) -> None:
            mixed.append(len(strategy.mb_task_id.unique()) > 1)

    lengths, mixed, replay = list[int](), list[bool](), ReplayPlugin(mem_size=60)

    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        lengths.clear()
        strategy(net, guard, replay, Look()).train(stream()[task])
        assert int(guard.state_dict()["steps"]) == sum(lengths) == EPOCHS * lengths[0]

    learn_in(train)
    assert any(mixed)


@pytest.mark.parametrize("method", [agscl.GatedAGSCL(), agscl.HAT(), agscl.PackNet(), agscl.WSN()], ids=str)
def test_methods_that_give_each_task_its_part_are_evaluated_with_it(method: Any) -> None:
    net, guard = fresh(method)
    naive = strategy(net, guard, eval_mb_size=100)
    answers: dict[int, Tensor] = {}

    class Keep(SupervisedPlugin):
        def after_eval_forward(self, strategy: Any, *_: Any, **__: Any) -> None:
            task = strategy.experience.dataset.targets_task_labels[0]
            if task in guard.learned:
                kept = answers.setdefault(task, strategy.mb_output.clone())
                assert torch.equal(kept, strategy.mb_output)

    naive.plugins.append(Keep())
    for task, experience in enumerate(stream()):
        naive.train(experience)
        consolidate(net, guard, task)
        naive.eval(stream())
        assert guard.task == task + 1
    assert len(answers) == 3


def test_other_tasks_are_not_answered_with_the_part_of_the_one_in_training() -> None:
    net, guard = fresh(agscl.PackNet())
    naive = strategy(net, guard, eval_every=1)
    naive.train(stream()[0], eval_streams=[stream()])
    consolidate(net, guard, 0)
    with pytest.raises(ValueError, match="task 0 cannot be answered while task 1 is learned"):
        naive.train(stream()[1], eval_streams=[stream()])


def test_two_experiences_without_consolidating_are_refused_unless_they_are_one_task() -> None:
    net, guard = fresh()
    with pytest.raises(ValueError, match="task 0 was trained and not consolidated"):
        strategy(net, guard).train([stream((0, 0))[0], stream((0, 0))[1]])
    strategy(net, guard, same_task=True).train(stream((0, 0)))
    consolidate(net, guard, 0)
    with pytest.raises(ValueError, match="experience 1 has task label 0, which is learned already"):
        strategy(net, guard).train(stream((0, 0))[1])


def test_tasks_are_learned_in_the_order_of_their_labels() -> None:
    net, guard = fresh()
    for position, task in enumerate((2, 0)):
        strategy(net, guard).train(stream((2, 0))[position])
        assert guard.task == task
        guard.consolidate([DATA[position]], lambda batch, task=task: net(batch[0])[task])
    assert guard.learned == (2, 0)


def test_a_failed_training_is_left_by_close() -> None:
    class Fail(SupervisedPlugin):
        def before_backward(self, strategy: Any, *_: Any, **__: Any) -> None:
            raise InterruptedError

    net, guard = fresh()
    naive = strategy(net, guard, Fail())
    with pytest.raises(InterruptedError):
        naive.train(stream()[0])
    assert guard.attached
    naive.plugins[0].close()
    strategy(net, guard).train(stream()[0])
    consolidate(net, guard, 0)


def test_a_guard_of_another_model_is_refused() -> None:
    net, _ = fresh()
    _, guard = fresh()
    with pytest.raises(ValueError, match="the optimizer does not hold"):
        strategy(net, guard).train(stream()[0])


def test_a_pickled_strategy_goes_on_with_its_guard() -> None:
    dill = pytest.importorskip("dill")  # what save_checkpoint pickles with; it fails on the library's own evaluator
    net, guard = fresh()
    strategy(net, guard).train(stream()[0], shuffle=False)
    consolidate(net, guard, 0)
    other, plugin = dill.loads(dill.dumps((net, GuardPlugin(guard))))
    strategy(other, plugin.guard).train(stream()[1], shuffle=False)
    consolidate(other, plugin.guard, 1)
    assert_same_bits(other, by_hand())
    assert other is not net


def test_heads_of_different_widths_do_not_win_with_classes_that_they_lack() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [-x, -x[:, :1]]

    x = torch.rand(4, 3) + 1
    logits = HeadSelector(Two())(x, torch.tensor([0, 1, 0, 1]))
    assert logits.argmax(1).tolist()[1::2] == [0, 0]
    assert torch.equal(logits[::2], -x[::2])
    assert torch.equal(HeadSelector(Two())(x, torch.ones(4, dtype=torch.long)), -x[:, :1])
