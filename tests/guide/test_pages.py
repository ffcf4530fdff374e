"""What the pages show is true: their Python runs and prints what they say, their commands exist, their names too."""

import re
import subprocess
import sys
import warnings

import pytest

import agscl
from agscl.cli.arguments import parser_for
from agscl.methods import METHODS
from guide.pages import DOCS, MARKS, PROCESSES, ROOT, blocks, commands, run_page

PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", *PAGES]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Pages write files where they run; nothing that they draw depends on what ran before."""
    monkeypatch.chdir(tmp_path)


RUN = [
    page for page in PAGES if any(b.mark == "run" or (b.language == "python" and b.mark == "") for b in blocks(page))
]


ADVICE = {"lightning", "huggingface"}
"""Pages on libraries that warn of matters of their own."""


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(DOCS)))
@pytest.mark.filterwarnings("ignore::agscl.CapacityWarning")
def test_a_page_runs_and_prints_what_it_says(page):
    with warnings.catch_warnings():
        if page.stem in ADVICE:
            warnings.simplefilter("ignore")
        assert run_page(page) > 0


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists_with_its_options(page):
    for block in blocks(page):
        if block.language in ("sh", ""):
            for given in commands(block):
                parser_for(given).parse_args(given)


def test_no_page_has_code_that_nothing_looks_at():
    known = {"python", "text", "sh", "toml", "json", "bibtex", "yaml", ""}
    for page in PAGES:
        odd = {block.language for block in blocks(page)} - known
        assert not [language for language in odd if not language.startswith("{")], page
        assert {block.mark for block in blocks(page)} <= MARKS, page


def test_two_processes_that_run_the_script_hold_the_same_bits(tmp_path):
    (code,) = [block.text for block in blocks(DOCS / "howto" / "many-processes.md") if block.mark == PROCESSES]
    sums = "[t.double().sum().item() for t in (*model.state_dict().values(), *guard.importance.values())]"
    shown = f"import os\nopen(f'{tmp_path}/{{os.environ[\"RANK\"]}}', 'w').write(str({sums}))\n"
    script = tmp_path / "train.py"
    script.write_text(code + shown)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == second != "[]"


def test_the_table_of_methods_names_every_method():
    text = (DOCS / "methods.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", text, flags=re.MULTILINE)
    assert set(METHODS) <= {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    documented = set(
        re.findall(r"auto(?:function|class|exception|data):: agscl\.(\w+)(?:\(\))?$", text, flags=re.MULTILINE)
    )
    assert documented >= set(dir(agscl)) - {"metrics"}
