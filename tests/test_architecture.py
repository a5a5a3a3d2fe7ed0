"""The house of docs/design: proved from the source, never by importing it.

Each rule is a function from sources to faults (`path:line what to do`), and each is seen failing on a bad source.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
GROUND = {
    "errors": (),
    "stopping": ("errors",),
    "backend": ("errors",),
    "recipe": ("errors",),
    "score": ("errors", "recipe"),
}
"""What everything rests on, and what each of it may import beside itself."""
WAY = ("tasks", "data", "models", "training", "runs")
"""The way of the data: each may import the ground, itself and what comes before it."""
TOP = ("report", "explain", "export", "serve", "audit", "sweep", "engines")
"""What one does with a run: each may import all that is below, and what comes before it here."""
ROOMS = (*GROUND, *WAY, *TOP)
VERB = "__main__"
"""A room's verb, which is one of the verbs and not the room's."""
BACKENDS = {"jax", "jaxlib", "tensorflow", "torch", "flax"}
HEAVY = BACKENDS | {"keras", "keras_hub"}
# What must be there without Keras: `import zoo`, `import recipes`, two rooms and the verbs that need no backend.
LIGHT = (
    *("zoo", "recipes", "zoo.cli", "zoo.recipe", "zoo.data"),
    *("zoo.check", "zoo.doctor", "zoo.list", "zoo.fetch", "zoo.report.__main__", "zoo.tokenize", "zoo.runs.listing"),
    "zoo.sweep.__main__",
)
MOST_LINES = 400

Sources = Mapping[str, str]


def test_a_room_imports_only_from_above() -> None:
    assert room_faults(shipped()) == []


def test_room_rule_can_fail() -> None:
    bad = {
        "zoo/models/heads.py": "from zoo.training import loop\nfrom zoo.data.tokens import encode\nimport zoo.errors",
        "zoo/recipe/types.py": "def f():\n    import zoo.run",
        "zoo/runs/recording.py": "from zoo import backend, cli\nfrom zoo.report import card",
        "zoo/data/batches.py": "import zoo\nimport recipes\nfrom ..models import heads",
        "zoo/errors.py": "from zoo.recipe import Recipe",
        "zoo/backend.py": "from zoo.errors import ZooError\nfrom zoo.models import builder",
        "zoo/score/metrics.py": "from zoo.data.dataset import Split",
        "zoo/report/plots.py": "from zoo.score import metrics\nfrom zoo.serve import serving",
        "zoo/serve/__main__.py": "from zoo import cli",
        "zoo/run.py": "from zoo.score import metrics\nfrom zoo import cli",
    }
    assert [fault.split(" ")[0] for fault in room_faults(bad)] == [
        "zoo/models/heads.py:1",
        "zoo/recipe/types.py:2",
        "zoo/runs/recording.py:1",
        "zoo/runs/recording.py:2",
        "zoo/data/batches.py:1",
        "zoo/data/batches.py:2",
        "zoo/data/batches.py:3",
        "zoo/errors.py:1",
        "zoo/backend.py:2",
        "zoo/score/metrics.py:1",
        "zoo/report/plots.py:2",
    ]


def test_no_module_reaches_itself() -> None:
    assert circle_faults(shipped()) == []


def test_circle_rule_can_fail() -> None:
    bad = {
        "zoo/data/a.py": "from zoo.data import b",
        "zoo/data/b.py": "def f():\n    from zoo.data.c import thing",
        "zoo/data/c.py": "import typing\nif typing.TYPE_CHECKING:\n    from zoo.data.a import A",
        "zoo/data/d.py": "from zoo.data.a import A",
        "zoo/data/__init__.py": "",
    }
    assert circle_faults(bad) == [
        "zoo.data.a, zoo.data.b, zoo.data.c import each other: move what they share below them"
    ]


def test_no_private_name_of_a_library_is_set() -> None:
    assert private_faults(shipped()) == []


def test_private_rule_can_fail() -> None:
    bad = {
        "zoo/models/heads.py": "layer._kernel = 1\nself._mine = 2\nlayer.__class__ = X\nsetattr(layer, '_x', 1)",
        "zoo/models/layers.py": "self._parts.layer._kernel = 1\ncls._own = 3\nlayer.trainable = False",
        "zoo/run.py": "from unittest import mock",
    }
    assert [fault.split(" ")[0] for fault in private_faults(bad)] == [
        "zoo/models/heads.py:1",
        "zoo/models/heads.py:3",
        "zoo/models/heads.py:4",
        "zoo/models/layers.py:1",
        "zoo/run.py:1",
    ]


def test_backends_are_named_in_one_module() -> None:
    assert backend_faults(shipped()) == []


def test_backend_rule_can_fail() -> None:
    bad = {
        "zoo/models/heads.py": "def f():\n    import torch.nn as nn",
        "zoo/training/loop.py": "from jax import numpy",
        "zoo/report/plots.py": "import importlib\nimportlib.import_module('tensorflow.data')",
        "zoo/backend.py": "import torch",
        "zoo/data/tokens.py": "import torchless\nname = 'torch'",
    }
    assert [fault.split(" ")[0] for fault in backend_faults(bad)] == [
        "zoo/models/heads.py:2",
        "zoo/training/loop.py:1",
        "zoo/report/plots.py:2",
    ]


def test_light_modules_reach_no_keras() -> None:
    assert light_faults(shipped()) == []


def test_light_rule_can_fail() -> None:
    bad = {
        "zoo/__init__.py": "import typing\nif typing.TYPE_CHECKING:\n    import keras\nfrom zoo import errors",
        "zoo/errors.py": "",
        "zoo/check.py": "from zoo.models import estimate",
        "zoo/models/__init__.py": "",
        "zoo/models/estimate.py": "def f():\n    import keras\nfrom zoo.models.heads import x",
        "zoo/models/heads.py": "try:\n    from keras import layers\nexcept ImportError:\n    raise",
        "zoo/data/__init__.py": "",
        "zoo/data/tokens.py": "class A:\n    import keras_hub",
        "zoo/run.py": "import keras",
    }
    assert [fault.split(" ")[0] for fault in light_faults(bad)] == ["zoo/data/tokens.py:2", "zoo/models/heads.py:2"]


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


def test_a_tool_finds_the_repository_it_is_of() -> None:
    """`python tools/NAME.py` has tools/ on its path, and not what tools/ stands in."""
    assert tool_faults(_read("tools")) == []


def test_tool_rule_can_fail() -> None:
    lost = "from tools.near import thing\n"
    found = 'sys.path.insert(0, str(ROOT))\nfrom tools.near import thing\nif __name__ == "__main__":\n    main()\n'
    main = 'if __name__ == "__main__":\n    main()\n'
    sources = {"tools/lost.py": lost + main, "tools/near.py": lost, "tools/found.py": found}
    assert [fault.partition(" ")[0] for fault in tool_faults(sources)] == ["tools/lost.py:1"]


def test_the_rules_see_the_house() -> None:
    assert {"zoo/errors.py", "recipes/__init__.py"} <= set(shipped())
    assert "tests/test_architecture.py" in house()
    assert all((ROOT / "zoo" / room).is_dir() for room in ROOMS if room not in ("errors", "stopping"))


def shipped() -> Sources:
    """What the wheel holds: path -> source."""
    return _read("zoo", "recipes")


def house() -> Sources:
    """All our Python: path -> source."""
    return _read("zoo", "recipes", "tests", "tools", "benchmarks")


def room_faults(sources: Sources) -> list[str]:
    """Imports against the direction of the data."""
    below = {room: {room, *others} for room, others in GROUND.items()}
    for number, room in enumerate((*WAY, *TOP)):
        below[room] = {*GROUND, *(*WAY, *TOP)[: number + 1]}
    faults = []
    for path, tree in _trees(sources):
        place = _module(path).split(".")
        if place[0] != "zoo" or len(place) < 2 or place[1] not in below or place[-1] == VERB:
            continue
        for line, name in _imports(path, tree, sources):
            target = name.split(".")
            inside = target[0] == "zoo" and len(target) > 1 and target[1] in below[place[1]] and target[-1] != VERB
            if target[0] in ("zoo", "recipes") and not inside:
                may = ", ".join(sorted(below[place[1]]))
                faults.append(
                    f"{path}:{line} imports {name}, {place[1]} may import {may}: move the code or pass the value"
                )
    return faults


def circle_faults(sources: Sources) -> list[str]:
    """Modules that import each other, within functions and for types too."""
    trees = dict(_trees(sources))
    modules = {_module(path): path for path in trees}
    graph: dict[str, set[str]] = {
        name: {target for _, target in _imports(path, trees[path], sources) if target in modules and target != name}
        for name, path in modules.items()
    }

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    reach = {name: reached(name) for name in graph}
    circles = {
        tuple(sorted({name, *(other for other in reach[name] if name in reach[other])}))
        for name in graph
        if name in reach[name]
    }
    return [f"{', '.join(circle)} import each other: move what they share below them" for circle in sorted(circles)]


def private_faults(sources: Sources) -> list[str]:
    """What is set on another's object by a name that it keeps to itself; classes exchanged; mocks."""
    faults = []
    for path, tree in _trees(sources):
        for line, name in _imports(path, tree, sources):
            if name.startswith("unittest"):
                faults.append(f"{path}:{line} imports {name}: say what is wanted by a public name")
        for node in ast.walk(tree):
            name = None
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                name = None if own and node.attr != "__class__" else node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr" and len(node.args) == 3:
                name = ast.unparse(node.args[1]).strip("'\"")
            if name is not None and name.startswith("_") and (name == "__class__" or not name.endswith("__")):
                faults.append(f"{path}:{node.lineno} sets {name}, which is another's own: use a public name")
    return sorted(faults, key=lambda fault: (fault.split(":")[0], int(fault.split(":")[1].split(" ")[0])))


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


def tool_faults(sources: Sources) -> list[str]:
    """Commands of tools/ that import their neighbours and run under PYTHONPATH alone."""
    return [
        f"{path}:1 imports from tools and does not put the repository on sys.path: it runs in no clone as it is"
        for path, text in sources.items()
        if Path(path).parent == Path("tools")
        and "__main__" in text
        and "from tools." in text
        and "sys.path.insert(0" not in text
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
            ours = {_module(other) for other in sources} | {f"zoo.{room}" for room in (*ROOMS, "cli")}
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
