"""The package: what is in it, what it says of itself, and that the same stands everywhere."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import agscl

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ALWAYS = {"pyproject.toml", "README.md", "LICENSE", ".gitignore"}
"""What hatchling puts into every source distribution."""


def test_the_source_distribution_has_all_that_is_tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here: this is the source distribution")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    tops = {line.partition("/")[0] for line in listed.splitlines()} - ALWAYS
    assert not [top for top in tops if not any(fnmatch(top, each.strip("/").partition("/")[0]) for each in included)]


def test_links_of_the_package_lead_to_pages_that_exist(monkeypatch):
    hook = pytest.importorskip("hatchling.metadata.plugin.interface") and {}
    exec((ROOT / "hatch_build.py").read_text(), hook)
    for place, before in (("", ""), ("https://example.org/agscl/", "https://example.org/agscl/")):
        monkeypatch.setenv("AGSCL_PLACE", place)
        metadata = {}
        hook["Links"](str(ROOT), {}).update(metadata)
        assert metadata["urls"]
        for link in metadata["urls"].values():
            assert link.startswith(before)
            assert (ROOT / link.removeprefix(before)).is_file()


def test_version_licence_and_paper_are_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    page = (ROOT / "docs" / "citing.md").read_text()
    version, title = PROJECT["project"]["version"], citation["preferred-citation"]["title"]
    assert agscl.__version__ == version == citation["version"] == re.search(r"version = \{(.*?)\}", page)[1]
    assert PROJECT["project"]["license"] == citation["license"] == re.search(r"license = \{(.*?)\}", page)[1]
    assert f"title     = {{{title}}}" in page
    assert [author["family-names"] for author in citation["preferred-citation"]["authors"]] == re.findall(
        r"(\w+), \w+", re.search(r"author    = \{(.*?)\}", page)[1]
    )


@pytest.mark.parametrize("file", sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]), ids=str)
def test_settings_of_services_can_be_read_and_their_commands_exist(file):
    settings = yaml.safe_load(file.read_text())
    assert settings
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", file.read_text())) - {"sets"} <= targets
