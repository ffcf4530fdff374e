"""The report on policies: the numbers of figure 7, curves of every game, and what cannot be measured said plainly."""

from dataclasses import replace

import pytest

from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import read_runs
from agscl.report import page
from agscl.rl.history import PolicyResumed
from figures.played import ALONE, FINE_TUNING, PROTECTED, RANDOM, stored, write_policies
from report.browser import PATH, chromium
from report.test_report_page import Outline


def with_seed(result, seed):
    return replace(result, experiment=replace(result.experiment, seed=seed))


def outline(tmp_path, *results):
    for result in results:
        folder = tmp_path / str(result.experiment.seed)
        folder.mkdir(exist_ok=True)
        stored(folder, result)
    return Outline(page(read_runs([tmp_path])).decode())


def rows(found, caption):
    """The rows of the one table whose caption begins so, by method."""
    ((head, *body),) = next(tables for name, tables in found.tables.items() if name.startswith(caption))
    names = [title.partition("\N{NO-BREAK SPACE}")[0] for title in head]
    return {row[0]: dict(zip(names, row, strict=True)) for row in body}


def test_the_headline_has_every_measure_and_one_seed_has_no_interval(tmp_path):
    found = outline(tmp_path, FINE_TUNING, PROTECTED, ALONE)
    own = rows(found, "Relative scores (random actions 0, fine-tuning 1)")["AGS-CL"]
    assert own["accumulated reward"] == "1.00"
    assert own["performance"] == f"{(0.5 + 0.5) / 2:.2f}"
    assert own["plasticity"] == "0.62"  # 0.625 is rounded to even
    assert own["stability"] == "0.83"
    assert "forward transfer" in own
    assert "One seed, so no interval: AGS-CL, fine-tuning, single task." in found.text


def with_progress(result, **changes):
    return replace(result, history=replace(result.history, **changes))


def without_an_end(number):
    """All evaluations but one of those at the ends of tasks, of tasks that were learned."""
    made = PROTECTED.history.evaluations
    ends = [e for e in made if e.after == e.training and e.task <= e.after]
    return [e for e in made if e != ends[number]]


LAST = PROTECTED.history.evaluations[-1]
DAMAGES = {
    "no tasks": {"tasks": [], "random_scores": [], "evaluations": []},
    "a random score less": {"random_scores": RANDOM[1:]},
    "another task": {"evaluations": [replace(e, task=e.task + 1) for e in PROTECTED.history.evaluations]},
    "an evaluation more": {"evaluations": [*PROTECTED.history.evaluations, replace(LAST, task=2)]},
    "another time": {"evaluations": [replace(e, time=e.time + 1) for e in PROTECTED.history.evaluations]},
    "other steps": {"tasks": [replace(task, steps=task.steps + 1) for task in PROTECTED.history.tasks]},
    **{f"evaluation {number} less": {"evaluations": without_an_end(number)} for number in range(3)},
}


@pytest.mark.parametrize("changes", DAMAGES.values(), ids=list(DAMAGES))
def test_a_record_that_lacks_what_every_run_has_is_refused(tmp_path, changes):
    folder = write_policies(tmp_path / "run", with_progress(PROTECTED, **changes))
    with pytest.raises(ValueError, match="its evaluations and random scores are not those of its tasks"):
        PolicyResult.read(folder)


def test_every_task_has_its_plasticity_and_stability(tmp_path):
    found = outline(tmp_path, FINE_TUNING, PROTECTED)
    plasticity, stability = (rows(found, f"{name} of each task") for name in ("Plasticity", "Stability"))
    assert plasticity["AGS-CL"] == {"method": "AGS-CL", "plain": "0.75", "mirrored": "0.50"}
    assert stability["AGS-CL"] == {"method": "AGS-CL", "plain": "0.67", "mirrored": "1.00"}


def test_several_seeds_give_intervals_in_the_headline_and_for_every_task(tmp_path):
    found = outline(tmp_path, *(with_seed(r, s) for r in (FINE_TUNING,) for s in (0, 1)),
                    PROTECTED, with_seed(replace(FINE_TUNING, experiment=PROTECTED.experiment), 1))  # fmt: skip
    own = rows(found, "Relative scores")["AGS-CL"]
    assert own["seeds"] == "2"
    assert own["plasticity"] == "0.81 [0.62, 1.00]"
    assert rows(found, "Plasticity of each task")["AGS-CL"]["plain"] == "0.88 [0.75, 1.00]"


def test_every_task_has_a_panel_with_its_curves_its_training_and_random_actions(tmp_path):
    found = outline(tmp_path, FINE_TUNING, PROTECTED)
    curve = rows(found, "Mean score of an episode of mirrored")
    assert curve["384"] == {"agent steps": "384", "AGS-CL": "40.00", "fine-tuning": "60.00"}
    drawn = [attrs.get("class") for _, attrs in found.attributes]
    assert drawn.count("phase") == drawn.count("level") == 2


def test_runs_without_fine_tuning_are_shown_without_relative_scores(tmp_path):
    found = outline(tmp_path, PROTECTED)
    assert "No run of fine-tuning with the same seed" in found.text
    assert not any(caption.startswith("Relative scores") for caption in found.tables)
    assert rows(found, "Mean score of an episode of plain")["512"]["AGS-CL"] == "0.00"


def test_a_seed_without_fine_tuning_does_not_count_and_is_named(tmp_path):
    found = outline(tmp_path, FINE_TUNING, PROTECTED, with_seed(PROTECTED, 7))
    assert rows(found, "Relative scores")["AGS-CL"]["seeds"] == "1"
    assert "Not counted here: seed 7, without a run of fine-tuning with the same seed" in found.text


def test_where_fine_tuning_learned_nothing_nothing_is_measured_and_the_page_says_so(tmp_path):
    learned_nothing = [replace(e, score=RANDOM[e.task]) for e in FINE_TUNING.history.evaluations]
    useless = with_progress(FINE_TUNING, evaluations=learned_nothing)
    found = outline(tmp_path, useless, PROTECTED)
    assert set(rows(found, "Relative scores")["AGS-CL"].values()) == {"AGS-CL", "1", "-"}
    assert "Seed 0: fine-tuning was no better than random actions on plain, mirrored: not measured." in found.text
    assert "Accumulated reward" not in found.tables


def test_cut_off_episodes_are_counted(tmp_path):
    first, *others = PROTECTED.history.evaluations
    cut = with_progress(PROTECTED, evaluations=[replace(first, capped=1), *others])
    assert "1 of 32 evaluated episodes were cut off after 40 agent steps" in outline(tmp_path, FINE_TUNING, cut).text


def test_a_run_that_was_resumed_says_that_its_episodes_began_anew(tmp_path):
    resumed = with_progress(PROTECTED, resumed=[PolicyResumed(task=1, updates=3)])
    found = outline(tmp_path, FINE_TUNING, resumed)
    assert "Resumed in task 2 after 3 updates: its environments began new episodes there" in found.text
    assert found.text.count("Resumed in") == 1


def test_a_repeat_does_not_count_twice(tmp_path):
    (tmp_path / "again").mkdir()
    stored(tmp_path / "again", PROTECTED)
    found = outline(tmp_path, FINE_TUNING, PROTECTED)
    assert rows(found, "Relative scores")["AGS-CL"]["seeds"] == "1"
    assert "repeats another run of these: not counted twice" in found.text


def test_training_that_no_option_can_set_has_no_command(tmp_path):
    assert "agscl run cartpole3" not in outline(tmp_path, FINE_TUNING, PROTECTED).text


@pytest.mark.skipif(PATH is None, reason="chromium is not installed (Debian package chromium)")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_the_page_and_nothing_is_wider_than_the_screen(tmp_path, width):
    (tmp_path / "runs").mkdir()
    file = tmp_path / "report.html"
    file.write_bytes(page(stored(tmp_path / "runs", FINE_TUNING, PROTECTED)))
    with chromium(tmp_path / "profile") as browser:
        browser.open(file, width=width)
        assert browser.errors == []
        assert browser.value("document.documentElement.scrollWidth") == width
        panels = "[...document.querySelectorAll('figure > svg')].map(svg => svg.getBoundingClientRect().height > 30)"
        assert browser.value(panels) == [True] * 6
