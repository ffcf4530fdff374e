"""The package: what is in it, what it says of itself, and that the same stands everywhere."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


@pytest.mark.parametrize("place", ["", "https://example.org/agscl/"])
def test_links_of_the_package_and_its_readme_lead_to_pages_that_exist(monkeypatch, place):
    hook = pytest.importorskip("hatchling.metadata.plugin.interface") and {}
    exec((ROOT / "hatch_build.py").read_text(), hook)
    monkeypatch.setenv("AGSCL_PLACE", place)
    metadata = {}
    hook["Links"](str(ROOT), {}).update(metadata)
    shown = re.findall(r"\]\(([^)\s]+)\)", metadata["readme"]["text"])
    images = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", metadata["readme"]["text"])
    assert metadata["urls"]
    assert shown
    assert images
    assert all(image.endswith("?raw=true") for image in images) is bool(place)
    for link in [*metadata["urls"].values(), *shown]:
        assert link.startswith(place)
        assert (ROOT / link.removeprefix(place).removesuffix("?raw=true")).is_file()


def test_without_a_place_the_readme_is_the_file(monkeypatch):
    monkeypatch.delenv("AGSCL_PLACE", raising=False)
    hook = pytest.importorskip("hatchling.metadata.plugin.interface") and {}
    exec((ROOT / "hatch_build.py").read_text(), hook)
    metadata = {}
    hook["Links"](str(ROOT), {}).update(metadata)
    assert metadata["readme"]["text"] == (ROOT / "README.md").read_text()


def bounds(specifiers: list[str]) -> dict[str, Version]:
    """The lowest version that each requirement allows."""
    requirements = [Requirement(each) for each in specifiers]
    return {
        canonicalize_name(each.name): Version(low.version)
        for each in requirements
        for low in each.specifier
        if low.operator in (">=", "==")
    }


def pins(file: str) -> dict[str, Version]:
    """The versions of a file of constraints."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    each = [Requirement(line) for line in lines if line]
    return {canonicalize_name(one.name): Version(str(one.specifier).removeprefix("==")) for one in each}


SECTIONS = {"core": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}


@pytest.mark.parametrize("section", SECTIONS)
def test_each_lower_bound_is_what_the_oldest_tests_run_with(section):
    oldest, lowest = pins("constraints-oldest.txt"), bounds(SECTIONS[section])
    assert len(lowest) == len(SECTIONS[section])
    assert {name: oldest.get(name) for name in lowest} == lowest


@pytest.mark.parametrize(
    "section", sorted(SECTIONS.keys() - {"mlflow", "ray"})
)  # not with the newest of all: see Makefile
def test_each_requirement_has_an_exact_version_that_it_allows(section):
    newest = pins("constraints.txt")
    assert not [name for name, low in bounds(SECTIONS[section]).items() if newest[name] < low]


def test_what_developers_need_can_be_had_with_the_oldest_versions():
    oldest = pins("constraints-oldest.txt")
    for group in PROJECT["dependency-groups"].values():
        wanted = [Requirement(each) for each in group if isinstance(each, str)]
        pinned = {
            each: oldest[canonicalize_name(each.name)] for each in wanted if canonicalize_name(each.name) in oldest
        }
        assert not [f"{each}, pinned {version}" for each, version in pinned.items() if version not in each.specifier]


def test_the_versions_of_python_are_those_that_are_tested():
    said = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in PROJECT["project"]["classifiers"]
    ]
    versions = [found[1] for found in said if found]
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]["test"]
    assert versions == job["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"
    assert f"Python {versions[0]} to {versions[-1]}" in (ROOT / "README.md").read_text()


def test_every_night_both_ends_are_tested():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text())["jobs"]["nightly"]
    rules = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^(nightly-.*): nightly-%:$", rules, flags=re.MULTILINE)
    assert set(job["strategy"]["matrix"]["target"]) == set(targets.split())
    for name, file in (("newest", "constraints.txt"), ("oldest", "constraints-oldest.txt")):
        assert f"nightly-{name}: PINS := --constraint {file}\n" in rules
        assert f"nightly-{name}" in targets


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
