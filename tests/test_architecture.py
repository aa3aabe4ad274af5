"""Rooms import only rooms before them, no files import each other in a circle, and package files contain only a docstring.

A room is a folder of ``bioqa/``. Imports inside functions and under ``TYPE_CHECKING`` count like any other.

    python -m tests.test_architecture [FOLDER]    # print and count the imports between the rooms of a package
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.support import REPOSITORY

PACKAGE = REPOSITORY / "bioqa"
FOUNDATION = ("errors", "arguments", "types")
"""Files that every room may import."""
ROOMS = (
    "io",
    "corpus",
    "fetch",
    "index",
    "retrieve",
    "rerank",
    "encode",
    "pipeline",
    "bioasq",
    "pairs",
    "evaluate",
    "train",
    "bench",
    "serve",
    "cluster",
    "cli",
)
FREE = ("bioqa", "bioqa.__main__")
"""The public names and the entry point; they may import anything."""
Graph = Mapping[str, Mapping[str, int]]
"""Module → each module of the package that it imports → the line of the first such import."""


def module_files(package: Path) -> dict[str, Path]:
    """Module name → file, for every Python file of a package."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(package: Path) -> Graph:
    """Which module imports which, wherever the import statement is."""
    files = module_files(package)
    graph: dict[str, dict[str, int]] = {}
    for module, path in files.items():
        found = graph.setdefault(module, {})
        parent = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path)):
            for name in imported_names(node, parent):
                target = name if name in files else name.rpartition(".")[0]  # a module, or a name in one
                if target in files and target != module:
                    found[target] = min(node.lineno, found.get(target, node.lineno))
    return graph


def imported_names(node: ast.AST, parent: str) -> Iterator[str]:
    """The full names imported by a statement in a module of the package ``parent``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = parent.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def without_free_files(graph: Graph) -> Graph:
    """The graph without the files that may import anything."""
    return {
        module: {target: line for target, line in targets.items() if target not in FREE}
        for module, targets in graph.items()
        if module not in FREE
    }


def room(module: str) -> str:
    """The folder that a module is in; for a file directly in the package, its own name."""
    return module.split(".")[1]


def position(name: str) -> int:
    """The position of a room in the list."""
    return -1 if name in FOUNDATION else ROOMS.index(name)


def circles(graph: Graph) -> list[list[str]]:
    """Circles of imports, until none is left: each is broken at its first import before the next is searched for."""
    edges = {module: set(targets) for module, targets in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as problem:
            circle = problem.args[1][::-1]  # each imports the next; the last is the first
            found.append(circle)
            edges[circle[0]].discard(circle[1])
        else:
            return found


def mutual_imports(graph: Graph) -> list[tuple[str, str]]:
    """The pairs of modules that import each other."""
    return [(one, other) for one in graph for other in graph[one] if one < other and one in graph.get(other, ())]


def arrows(graph: Graph) -> Counter[tuple[str, str]]:
    """(room, imported room) → the number of imports between their files; errors and types are not counted."""
    return Counter(
        (room(module), room(target))
        for module, targets in graph.items()
        for target in targets
        if room(module) != room(target) and room(module) not in FOUNDATION and room(target) not in FOUNDATION
    )


def print_arrows(package: Path) -> None:
    """Print and count the imports between the rooms of a package."""
    graph = without_free_files(imports(package))
    between = arrows(graph)
    for source in sorted({source for source, _ in between}):
        print(source, "→", ", ".join(f"{to} {count}" for (one, to), count in sorted(between.items()) if one == source))
    print(f"{len(between)} arrows between rooms, {sum(map(len, graph.values()))} imports between files,", end=" ")
    print(f"{len(mutual_imports(graph))} pairs of files that import each other, {len(circles(graph))} circles")


def test_every_room_is_in_the_list():
    unknown = sorted({room(module) for module in without_free_files(imports(PACKAGE))} - {*ROOMS, *FOUNDATION})
    assert not unknown, f"not in the list of rooms (ROOMS in {Path(__file__).name}): {', '.join(unknown)}"


def test_rooms_import_only_rooms_before_them():
    files = module_files(PACKAGE)
    wrong = [
        f"{files[module].relative_to(REPOSITORY)}:{line} imports {target}"
        for module, targets in without_free_files(imports(PACKAGE)).items()
        for target, line in targets.items()
        if position(room(target)) > position(room(module))
    ]
    assert not wrong, "\n".join([f"A room may import only those before it ({', '.join(ROOMS)}):", *wrong])


def test_no_files_import_each_other_in_a_circle():
    found = circles(without_free_files(imports(PACKAGE)))
    assert not found, "\n".join(["Circles of imports:", *(" → ".join(circle) for circle in found)])


def test_the_package_does_not_use_its_public_names():
    """They are for users; inside the package a name is imported from the module that defines it."""
    files = module_files(PACKAGE)
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} imports {name} from bioqa"
        for module, path in files.items()
        if module not in FREE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path))
        if isinstance(node, ast.ImportFrom) and node.module == "bioqa"
        for name in (alias.name for alias in node.names)
        if name != "__version__" and f"bioqa.{name}" not in files
    ]
    assert not wrong, "\n".join(wrong)


def test_package_files_contain_only_a_docstring():
    wrong = []
    for module, path in module_files(PACKAGE).items():
        if path.name == "__init__.py" and module not in FREE:
            tree = ast.parse(path.read_text(encoding="utf-8"), path)
            if ast.get_docstring(tree) is None or len(tree.body) > 1:
                wrong.append(str(path.relative_to(REPOSITORY)))
    assert not wrong, f"These must contain a docstring and nothing else: {', '.join(wrong)}"


def test_imports_in_functions_and_relative_imports_are_found(tmp_path):
    files = {
        "__init__.py": "from made.b import two\n",
        "a/__init__.py": "",
        "a/one.py": "def f():\n    from made.b import two\n",
        "b/__init__.py": "from . import three\n",
        "b/two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..a.one import f\n",
        "b/three.py": "import made.b.two as two\n",
    }
    for name, text in files.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = imports(tmp_path / "made")
    assert graph == {
        "made": {"made.b.two": 1},
        "made.a": {},
        "made.a.one": {"made.b.two": 2},
        "made.b": {"made.b.three": 1},
        "made.b.two": {"made.a.one": 3},
        "made.b.three": {"made.b.two": 1},
    }
    del graph["made"]
    assert mutual_imports(graph) == [("made.a.one", "made.b.two")]
    assert [set(circle) for circle in circles(graph)] == [{"made.a.one", "made.b.two"}]
    assert arrows(graph) == {("a", "b"): 1, ("b", "a"): 1}


if __name__ == "__main__":
    print_arrows(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PACKAGE)
