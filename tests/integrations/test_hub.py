"""A guarded model as a folder: others load it with the same bits, offline, and what does not fit is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import agscl
from agscl.integrations.hub import from_pretrained, save_pretrained
from laws.sequences import MLP, OPTIMIZERS, learn, logits, protected, tasks

SHAPE = (3, 2, 2)
DATA = tasks(SHAPE)


def make(config: dict[str, Any], lam: float = float("inf")) -> tuple[MLP, agscl.Guard]:
    model = MLP(width=config["width"])
    return model, protected(model, agscl.AGSCL(mu=9, lam=lam), SHAPE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: Any) -> tuple[MLP, agscl.Guard, Path]:
    torch.manual_seed(0)
    model, guard = make({"width": 24})
    for task in range(2):
        learn(guard, model, task, DATA[task], OPTIMIZERS["adam"], epochs=3)
    guard.expand(layer="fc1", nodes=3)
    return model, guard, save_pretrained(guard, tmp_path_factory.mktemp("hub") / "belt", config={"width": 24})


def test_a_loaded_model_answers_and_learns_on_with_the_same_bits(saved: tuple[MLP, agscl.Guard, Path]) -> None:
    model, guard, folder = saved
    other, second = from_pretrained(folder, make)
    assert second.learned == (0, 1)
    for task in range(3):
        if task == 2:
            for net, each in ((model, guard), (other, second)):
                torch.manual_seed(1)
                learn(each, net, 2, DATA[2], OPTIMIZERS["adam"], epochs=1)
        assert torch.equal(logits(model, task, DATA[task][0]), logits(other, task, DATA[task][0]))


def test_the_card_has_the_certificate_and_the_capacity(saved: tuple[MLP, agscl.Guard, Path]) -> None:
    _, _, folder = saved
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: agscl\n")
    assert "task 0: identical\ntask 1: identical\n" in card
    assert re.search(r"^fc1 +27 ", card, flags=re.MULTILINE)
    assert json.loads((folder / "config.json").read_text()) == {"agscl": agscl.__version__, "model": {"width": 24}}


def test_what_does_not_fit_is_refused(saved: tuple[MLP, agscl.Guard, Path], tmp_path: Path) -> None:
    _, guard, folder = saved
    with pytest.raises(ValueError, match=r"saved with lam=inf \(here 4.0\)"):
        from_pretrained(folder, lambda config: make(config, lam=4))
    with pytest.raises(ValueError, match="there is no folder"):
        from_pretrained(tmp_path / "nothing", make)
    with pytest.raises(ValueError, match="exists and is not empty"):
        save_pretrained(guard, folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(ValueError, match="was not written by save_pretrained"):
        from_pretrained(tmp_path / "other", make)


def test_a_failure_leaves_nothing_behind(saved: tuple[MLP, agscl.Guard, Path], tmp_path: Path) -> None:
    _, guard, _ = saved
    with pytest.raises(ValueError, match="the config is no JSON"):
        save_pretrained(guard, tmp_path / "a", config={"act": torch.relu})
    model, changed = make({"width": 24})
    learn(changed, model, 0, DATA[0], OPTIMIZERS["adam"], epochs=1)
    with torch.no_grad():
        model.fc1.weight += 1
    with pytest.raises(ValueError, match="changed outside attach"):
        save_pretrained(changed, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_downloaded_from_the_hub(
    saved: tuple[MLP, agscl.Guard, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        return str(saved[2])

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    from_pretrained("someone/belt", make, revision="main")
    assert asked == [("someone/belt", "main")]
