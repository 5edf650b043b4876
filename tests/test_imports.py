"""Imports between the packages, as docs/architecture.md draws them. The sources are read, nothing is imported."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "server": ("server", "workflows", "pipelines", "loras"),
    "workflows": ("workflows", "pipelines", "loras"),
    "loras": ("loras", "pipelines"),
    "pipelines": ("pipelines",),
}
"""package -> the packages of this project that it may import."""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "opentelemetry": "opentelemetry_api",
    "pynvml": "nvidia_ml_py",
}
"""import name -> name in pyproject.toml, where they differ by more than `-` and `_`."""

HEAVY = ("torch", "diffusers", "transformers", "peft", "safetensors", "accelerate")


def modules(folder: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / folder).rglob("*.py")))


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def imported(path: Path, types: bool = True) -> frozenset[str]:
    """Every module that a file imports, also inside functions; `from a import b` gives a and a.b.

    Args:
        types: also what only the type checker imports.
    """
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not types:
        tree.body = [node for node in tree.body if not for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(files: Iterator[Path], *packages: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in sorted(imported(path))
        if within(name, *packages)
    ]


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_what_is_below_them(package: str) -> None:
    assert offenders(modules(package), *(ALLOWED.keys() - set(ALLOWED[package]))) == []


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_no_tests(package: str) -> None:
    assert offenders(modules(package), "tests") == []


def test_run_time_code_imports_no_training_code() -> None:
    training = ROOT / "pipelines" / "embedded" / "training"
    running = (path for package in ALLOWED for path in modules(package) if training not in path.parents)
    assert offenders(running, "pipelines.embedded.training") == []


@pytest.mark.parametrize(
    ("folder", "libraries"),
    [("server/protocol", ("fastmcp", "mcp", "mcp_types")), ("server/terminal", ("textual",))],
    ids=["protocol", "terminal"],
)
def test_only_one_package_imports(folder: str, libraries: tuple[str, ...]) -> None:
    others = (path for package in ALLOWED for path in modules(package) if ROOT / folder not in path.parents)
    assert offenders(others, *libraries) == []


@pytest.mark.parametrize("folder", ["pipelines/pixels", "server/deploy", "workflows"])
def test_finishing_deploys_and_workflows_need_no_torch(folder: str) -> None:
    assert offenders(modules(folder), *HEAVY) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ALLOWED
        for path in modules(package)
    }
    within_house = {name: (imported(path, types=False) & files.keys()) - {name} for name, path in files.items()}
    # a package that a module imports a sibling from is not a dependency of its own
    graph = {
        name: {other for other in others if not any(inner.startswith(f"{other}.") for inner in others)}
        for name, others in within_house.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_every_imported_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra, lines in extras.items() if extra != "dev" for line in lines)]
    declared = {re.split(r"[<>=\[; ]", line)[0].lower().replace("-", "_") for line in lines}
    known = {*sys.stdlib_module_names, *ALLOWED}
    used = {name.split(".")[0] for package in ALLOWED for path in modules(package) for name in imported(path)} - known
    assert {DISTRIBUTIONS.get(name, name).lower() for name in used} - declared == set()
