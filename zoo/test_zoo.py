"""Every model of the zoo traces and obeys the law, or is refused by name."""

from __future__ import annotations

import pytest
import torch
from table import Row

import agscl
from laws import zoo
from laws.node_law import broken_laws

OFFSETS = {"poolformer v2", "hgnet v2"}
"""Their activations add a number that all nodes share: a silent node is a constant there, and counts as needed."""

MODELS = [(family, name) for family, models in zoo.FAMILIES.items() for name in models]


def test_the_zoo_holds_sixty_models_and_more() -> None:
    assert len(MODELS) >= 60


@pytest.mark.parametrize(("family", "name"), MODELS)
def test_it_traces_and_obeys_the_law(family: str, name: str, record: list[Row]) -> None:
    make, inputs = zoo.FAMILIES[family][name]
    torch.manual_seed(0)
    model = make()
    graph = agscl.trace(model, inputs)
    assert graph.heads
    broken = broken_laws(model, graph, inputs, most=4)
    assert not [law for law in broken if not (name in OFFSETS and law.endswith(": zero"))]
    record.append(Row(family, name, plastic=graph.plastic))


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_it_is_refused_by_name(name: str, record: list[Row]) -> None:
    (make, inputs), message = zoo.REFUSED[name]
    with pytest.raises(agscl.nodes.TraceError, match=message) as caught:
        agscl.trace(make(), inputs)
    record.append(Row("refused", name, refusal=str(caught.value)))
