"""Imports run one way: no circles between files, no arrow against the order of the packages, few storeys."""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "durable": set[str](),
    "compiling": {"durable"},
    "align3d": {"compiling", "durable"},
    "models": {"compiling", "durable"},
    "retrieval": {"compiling", "durable"},
    "envs": {"compiling", "durable", "models"},
    "agents": {"compiling", "durable", "envs"},
    "experiments": {"agents", "align3d", "compiling", "durable", "envs", "models", "retrieval"},
}
"""What each package may import of ours besides itself."""

MOST_STOREYS = {"envs": 8, "experiments": 9}
"""Files in the longest chain of imports inside a package, those of ``__init__`` aside."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")}


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:  # a submodule, or a name in the module
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in MODULES else node.module


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def import_names(tree: ast.AST) -> Iterator[str]:
    """Imports at any depth, those for type checkers alone aside."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        yield from imported(node)
        yield from import_names(node)


@lru_cache
def exports(package: str) -> dict[str, str]:
    """Where the names come from that a package's ``__init__`` re-exports."""
    tree = ast.parse(MODULES[package].read_text())
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


@lru_cache
def dependencies(module: str) -> frozenset[str]:
    """Modules of ours that a module imports; a re-exported name is imported from where it is defined."""
    tree = ast.parse(MODULES[module].read_text())
    found = set(import_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES and is_package(node.module):
            found |= {exports(node.module).get(alias.name, node.module) for alias in node.names}
            found.discard(node.module)
    return frozenset(name for name in found if name in MODULES and name != module)


def is_package(module: str) -> bool:
    return MODULES[module].name == "__init__.py"


def test_every_package_imports_only_what_lies_below_it() -> None:
    wrong = [
        f"{module} -> {target}"
        for module in MODULES
        for target in import_names(ast.parse(MODULES[module].read_text()))
        if target.split(".")[0] in MAY_IMPORT
        and target.split(".")[0] not in MAY_IMPORT[module.split(".")[0]] | {module.split(".")[0]}
    ]
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for target in sorted(dependencies(module)):
            if not is_package(target):
                visit(target, [*path, module])
        done.add(module)

    for module in sorted(MODULES):
        if not is_package(module):
            visit(module, [])


@pytest.mark.parametrize("package", MOST_STOREYS)
def test_chains_of_imports_are_short(package: str) -> None:
    @lru_cache
    def longest(module: str) -> tuple[str, ...]:
        inside = [
            name for name in dependencies(module) if name.startswith(f"{package}.") and not is_package(name)
        ]
        return (module, *max((longest(name) for name in inside), key=len, default=()))

    chain = max((longest(name) for name in MODULES if name.startswith(f"{package}.")), key=len)
    assert len(chain) <= MOST_STOREYS[package], " -> ".join(chain)


MIRRORED = ("__init__", "base", "protocol")
"""Files that several packages have, with the same part to play."""
NAMED_BY_USERS = ("experiments.benchmarks.", "align3d.sources.procedural.families.")
"""Folders whose files are called what a benchmark measures, or what a family of shapes is."""


def test_a_file_name_says_which_file() -> None:
    """A name stands twice only where folders mirror each other."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        mirrored = path.stem in MIRRORED or "kernels" in path.parts or module.startswith(NAMED_BY_USERS)
        is_command = module.count(".") == 1 and module.startswith(("experiments.", "align3d."))
        if not mirrored and not is_command:
            places.setdefault(path.stem, []).append(module)
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_the_retrieval_protocol_imports_types_alone() -> None:
    assert not dependencies("retrieval.protocol")
