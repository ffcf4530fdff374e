"""The structure of the source: no two modules import each other, no two classes share a name."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (SOURCE / "agscl").rglob("*.py")
}


def imported(module):
    """The library's modules that a module imports anywhere, for type checkers included."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from {
                f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source for alias in node.names
            }


def test_no_modules_import_each_other():
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    graph = {module: {other for other in imported(module) if other in MODULES} for module in MODULES}
    graph = {module: others - {p for p in packages if module.startswith(f"{p}.")} for module, others in graph.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the modules of a circle


def test_no_two_public_classes_share_a_name():
    names = defaultdict(list)
    bridges = "agscl.integrations."  # alike in every library, each with its own base class
    for module, path in MODULES.items():
        if module.startswith(bridges):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names[node.name].append(module)
    assert {name: modules for name, modules in names.items() if len(modules) > 1} == {}
