"""Two processes that share a CUDA card hold the same bits, with statistics of each process and of both."""

import pytest
import torch
import torch.multiprocessing

from laws.process_cases import ON_CARD, work

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (str(folder), True), nprocs=2)

    def of(case):
        number = list(ON_CARD).index(case)
        found = [torch.load(folder / f"{number}-{rank}.pt", weights_only=False) for rank in (0, 1)]
        assert not any(isinstance(outcome, str) for outcome in found), found
        return found

    return of


@pytest.mark.parametrize("case", [name for name in ON_CARD if not name.startswith("frozen")])
def test_both_hold_the_same_bits_after_every_task(case, outcomes):
    first, second = outcomes(case)
    for one, other in zip(first["after"], second["after"], strict=True):
        assert one.keys() == other.keys()
        assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("case", [name for name in ON_CARD if name.startswith("frozen")])
def test_old_logits_keep_their_bits(case, outcomes):
    logits = [each for outcome in outcomes(case) for each in outcome]
    assert all(torch.equal(each, logits[0]) for each in logits)
