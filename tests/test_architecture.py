"""The house of docs/design: proved from the source, never by importing it.

Each rule is a function from sources to faults (`path:line what to do`), and each is seen failing on a bad source.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("recipe", "data", "model", "training", "results")
# What every room may import: zoo/<name>.py, or a package of that name.
SHARED = ("errors", "backend")
BACKENDS = {"jax", "jaxlib", "tensorflow", "torch", "flax"}
HEAVY = BACKENDS | {"keras", "keras_hub"}
# What must be there without Keras: `import zoo`, `import recipes`, two rooms and the verbs that need no backend.
LIGHT = (
    *("zoo", "recipes", "zoo.cli", "zoo.recipe", "zoo.data"),
    *("zoo.check", "zoo.list", "zoo.fetch", "zoo.report", "zoo.tokenize"),
)
MOST_LINES = 400

Sources = Mapping[str, str]


def test_a_room_imports_only_from_above() -> None:
    assert room_faults(shipped()) == []


def test_room_rule_can_fail() -> None:
    bad = {
        "zoo/model/heads.py": "from zoo.training import loop\nfrom zoo.data.tokens import encode\nimport zoo.errors",
        "zoo/recipe/types.py": "def f():\n    import zoo.run",
        "zoo/results/report.py": "from zoo import backend, cli",
        "zoo/data/batches.py": "import zoo\nimport recipes\nfrom ..model import heads",
        "zoo/errors.py": "from zoo.recipe import Recipe",
        "zoo/backend.py": "from zoo.errors import ZooError\nfrom zoo.model import builder",
        "zoo/run.py": "from zoo.results import metrics\nfrom zoo import cli",
    }
    assert [fault.split(" ")[0] for fault in room_faults(bad)] == [
        "zoo/model/heads.py:1",
        "zoo/recipe/types.py:2",
        "zoo/results/report.py:1",
        "zoo/data/batches.py:1",
        "zoo/data/batches.py:2",
        "zoo/data/batches.py:3",
        "zoo/errors.py:1",
        "zoo/backend.py:2",
    ]


def test_backends_are_named_in_one_module() -> None:
    assert backend_faults(shipped()) == []


def test_backend_rule_can_fail() -> None:
    bad = {
        "zoo/model/heads.py": "def f():\n    import torch.nn as nn",
        "zoo/training/loop.py": "from jax import numpy",
        "zoo/results/plots.py": "import importlib\nimportlib.import_module('tensorflow.data')",
        "zoo/backend.py": "import torch",
        "zoo/data/tokens.py": "import torchless\nname = 'torch'",
    }
    assert [fault.split(" ")[0] for fault in backend_faults(bad)] == [
        "zoo/model/heads.py:2",
        "zoo/training/loop.py:1",
        "zoo/results/plots.py:2",
    ]


def test_light_modules_reach_no_keras() -> None:
    assert light_faults(shipped()) == []


def test_light_rule_can_fail() -> None:
    bad = {
        "zoo/__init__.py": "import typing\nif typing.TYPE_CHECKING:\n    import keras\nfrom zoo import errors",
        "zoo/errors.py": "",
        "zoo/check.py": "from zoo.model import estimate",
        "zoo/model/__init__.py": "",
        "zoo/model/estimate.py": "def f():\n    import keras\nfrom zoo.model.heads import x",
        "zoo/model/heads.py": "try:\n    from keras import layers\nexcept ImportError:\n    raise",
        "zoo/data/__init__.py": "",
        "zoo/data/tokens.py": "class A:\n    import keras_hub",
        "zoo/run.py": "import keras",
    }
    assert [fault.split(" ")[0] for fault in light_faults(bad)] == ["zoo/data/tokens.py:2", "zoo/model/heads.py:2"]


def test_no_module_is_too_long() -> None:
    assert length_faults(house()) == []


def test_length_rule_can_fail() -> None:
    assert length_faults({"zoo/long.py": "\n" * 401, "zoo/well.py": "\n" * 400}) == [
        "zoo/long.py:401 is over 400 lines: make it two modules"
    ]


def test_no_drawer_for_odds_and_ends() -> None:
    assert name_faults(house()) == []


def test_name_rule_can_fail() -> None:
    assert len(name_faults({"zoo/utils.py": "", "zoo/data/utils/__init__.py": "", "zoo/tokens.py": ""})) == 2


def test_the_rules_see_the_house() -> None:
    assert {"zoo/errors.py", "recipes/__init__.py"} <= set(shipped())
    assert "tests/test_architecture.py" in house()
    assert all((ROOT / "zoo" / room).is_dir() for room in ROOMS)


def shipped() -> Sources:
    """What the wheel holds: path -> source."""
    return _read("zoo", "recipes")


def house() -> Sources:
    """All our Python: path -> source."""
    return _read("zoo", "recipes", "tests", "tools", "benchmarks")


def room_faults(sources: Sources) -> list[str]:
    """Imports against the direction of the data."""
    allowed = {"errors": {"errors"}, "backend": {"errors", "backend"}}
    allowed |= {room: {*SHARED, *ROOMS[: number + 1]} for number, room in enumerate(ROOMS)}
    faults = []
    for path, tree in _trees(sources):
        place = _module(path).split(".")
        if place[0] != "zoo" or len(place) < 2 or place[1] not in allowed:
            continue
        for line, name in _imports(path, tree, sources):
            target = name.split(".")
            inside = target[0] == "zoo" and len(target) > 1 and target[1] in allowed[place[1]]
            if target[0] in ("zoo", "recipes") and not inside:
                may = ", ".join(sorted(allowed[place[1]]))
                faults.append(
                    f"{path}:{line} imports {name}, {place[1]} may import {may}: move the code or pass the value"
                )
    return faults


def backend_faults(sources: Sources) -> list[str]:
    """Backends imported, by statement or by name, outside zoo/backend."""
    faults = []
    for path, tree in _trees(sources):
        if path == "zoo/backend.py" or path.startswith("zoo/backend/"):
            continue
        named = [
            (node.lineno, node.args[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
            and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}
        ]
        for line, name in [*_imports(path, tree, sources), *named]:
            if name.split(".")[0] in BACKENDS:
                faults.append(f"{path}:{line} imports {name}: only zoo/backend.py may; call a function of it")
    return faults


def light_faults(sources: Sources) -> list[str]:
    """Heavy imports at the top of a module that a light one reaches."""
    trees = dict(_trees(sources))
    modules = {_module(path): path for path in trees}
    waiting = [name for name in modules if any(name == light or name.startswith(f"{light}.") for light in LIGHT[3:5])]
    waiting += [name for name in LIGHT if name in modules]
    seen: set[str] = set()
    faults = set()
    while waiting:
        name = waiting.pop()
        # Importing a.b.c runs a and a.b too.
        parents = [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
        for module in {name, *parents} & modules.keys() - seen:
            seen.add(module)
            path = modules[module]
            for line, target in _imports(path, trees[path], sources, top_only=True):
                if target.split(".")[0] in HEAVY:
                    faults.add(
                        f"{path}:{line} imports {target} at its top: import it inside the function that needs it"
                    )
                waiting.append(target)
    return sorted(faults)


def length_faults(sources: Sources) -> list[str]:
    """Modules that have become two."""
    return [
        f"{path}:{lines} is over {MOST_LINES} lines: make it two modules"
        for path, text in sources.items()
        if (lines := text.count("\n")) > MOST_LINES
    ]


def name_faults(sources: Sources) -> list[str]:
    """Names that say nothing of what is inside."""
    return [
        f"{path}:1 is a drawer for odds and ends: name it after what it does"
        for path in sources
        if "utils" in Path(path).with_suffix("").parts
    ]


def _read(*folders: str) -> Sources:
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def _trees(sources: Sources) -> Iterator[tuple[str, ast.Module]]:
    for path, text in sources.items():
        yield path, ast.parse(text, path)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(path: str, tree: ast.Module, sources: Sources, top_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of each imported module; `from a import b` is a.b where that is a module of ours."""
    package = path.split("/")[:-1]
    for node in _statements(tree, top_only):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            inner = {f"{name}.{alias.name}" for alias in node.names}
            ours = {_module(other) for other in sources} | {f"zoo.{shared}" for shared in (*SHARED, *ROOMS, "cli")}
            yield from ((node.lineno, full) for full in sorted(inner & ours))
            if not inner <= ours:
                yield node.lineno, name


def _statements(tree: ast.AST, top_only: bool) -> Iterator[ast.AST]:
    """All nodes, or those that run when the module is imported by Python itself."""
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if top_only and (lazy or for_types):
            continue
        yield node
        yield from _statements(node, top_only)
