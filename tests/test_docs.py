"""What README.md and docs/ say is true: commands run, examples load, lists are complete, links lead somewhere.

Every command that stands in a fence marked `sh` is in one of two lists: RUN, which a test runs in a clone, in this
order, and LONG, which take minutes, a GPU or a network. Of these, and of the commands within sentences and in
`--help`, what they name is looked up: targets, verbs, options, recipes, profiles, keys.
"""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands_known import ROOT, help_text, text_of, unknown_in

from zoo import cli, errors
from zoo.data.against_catalog import disagreements
from zoo.data.catalog import BackboneCard, DatasetCard
from zoo.recipe import load_recipe, types
from zoo.recipe.kinds import Config
from zoo.sweep.reading import read_plan

PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
)

RUN = (
    "python -m zoo.list",
    "python -m zoo.check quickstart --profile smoke",
    "python -m zoo.check quickstart --profile smoke --deep",
    "python -m zoo.fetch quickstart --profile smoke",
    "python -m zoo.run quickstart --profile smoke --out runs/first",
    'python -m zoo.predict runs/first --text "A truly great film."',
    "python -m zoo.predict runs/first --file zoo/data/catalog/samples/smoke_films_test.csv --out scored.csv",
    "python -m zoo.predict runs/first --file zoo/data/catalog/samples/smoke_films_test.csv --shard 1/2 --out scored",
    "python -m zoo.evaluate runs/first --data zoo/data/catalog/samples/smoke_films_test.csv",
    "python -m zoo.audit runs/first",
    "python -m zoo.export runs/first --to onnx",
    'python -m zoo.explain runs/first --text "A truly boring film."',
    "python -m zoo.report runs/first",
    "python -m zoo.run imdb_masked --profile smoke --out runs/masked",
    'python -m zoo.fill runs/masked "I love this [MASK]."',
    "python -m zoo.bias runs/masked --templates zoo/explain/templates/films.yaml",
    'python -m zoo.tokenize "I like NLP" --backbone nano_uncased',
    "python -m zoo.run quickstart --profile smoke --set seed=1 --out runs/other",
    "python -m zoo.report runs/first runs/other",
    "python -m zoo.list runs --where status=done --sort -test",
    "python -m zoo.list runs --where 'metrics.test.f1>0.5' --columns folder,seed,recipe.training.epochs --format csv",
)
LONG = (
    "make quickstart",
    "make test",
    "make .venv",
    "make check",
    "make docs",
    "make sbom",
    "make audit",
    "make gpu-bench",
    "make gpu-bench PYTHON=/opt/env/bin/python OUT=build/gpu-bench",
    "source .venv/bin/activate",
    "python -m zoo.serve runs/first",
    "python -m zoo.doctor",
    "python -m zoo.run imdb_bert --profile cpu --out runs/imdb --log tensorboard",
    "python -m zoo.run imdb_bert --profile cpu --set training.epochs=1 --set training.optimizer.learning_rate=5e-5",
    "KERAS_BACKEND=torch python -m zoo.run imdb_distilbert --profile cpu --out runs/imdb-torch",
    "python -m zoo.run imdb_masked --profile cpu --out runs/films",
    "python -m zoo.bias runs/films --out runs/films/bias",
    "python -m zoo.sweep recipes/sweeps/quickstart.yaml --workers 2 --out runs/sweep",
    "python -m zoo.check my.yaml",
    "python -m zoo.run my.yaml --profile quick",
    "python benchmarks/compare.py --speed-only --profile cpu --recipes quickstart --backends torch --peers hf",
    "python tools/parity.py",
    "python tools/parity.py --perturb",
    "python tools/parity.py --small",
    "pip install --target compilers 'libtpu==0.0.42.*'",
    "pip install --target compilers 'jax-cuda13-plugin[with-cuda]==0.10.2'",
    "python tools/compile_for.py imdb_bert --device v5e --compilers compilers",
    "python tools/compile_for.py imdb_bert --device h100 --stock --compilers compilers",
    "JAX_COORDINATOR_ADDRESS=first:29500 JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0 "
    "python -m zoo.run imdb_bert --devices 8 --out /shared/mine",
    "torchrun --nnodes 2 --nproc-per-node 4 --node-rank 0 --master-addr first "
    "-m zoo.run imdb_bert --devices 8 --out /shared/mine",
    "python -m zoo.run imdb_bert --set training.devices=8 --set training.model_parallel=2",
    "docker build --file deploy/Dockerfile --target cpu --tag text-zoo:cpu .",
    "docker build --file deploy/Dockerfile --target cuda --tag text-zoo:jax-cuda .",
    "docker build --file deploy/Dockerfile --target cuda --build-arg EXTRAS=tensorflow-cuda --tag "
    "text-zoo:tensorflow-cuda .",
    "docker build --file deploy/Dockerfile --target cuda --build-arg EXTRAS=torch --tag text-zoo:torch .",
    "docker run --rm --volume zoo-cache:/cache text-zoo:cpu fetch imdb_bert --profile cpu",
    "docker run --detach --restart on-failure:3 --stop-timeout 300 --volume zoo-cache:/cache --volume zoo-runs:/runs "
    "text-zoo:cpu run imdb_bert --profile cpu --out /runs/imdb --resume",
    "docker run --rm --volume zoo-runs:/runs text-zoo:cpu list runs /runs --sort -test",
    "docker run --rm --gpus all --volume zoo-cache:/cache text-zoo:torch doctor",
    "python -m zoo.fetch imdb_bert",
    "python -m zoo.check imdb_bert",
    "sbatch deploy/slurm.sh imdb_bert",
    "sbatch --array=0-4 --time=02:00:00 deploy/slurm.sh imdb_bert --set training.epochs=2",
    "KERAS_BACKEND=torch sbatch deploy/slurm-nodes.sh imdb_bert",
    "KERAS_BACKEND=jax sbatch --ntasks-per-node=1 deploy/slurm-nodes.sh imdb_bert",
    "kubectl apply --filename deploy/kubernetes/volumes.yaml",
    "kubectl apply --filename deploy/kubernetes/job.yaml",
    "kubectl apply --filename deploy/kubernetes/jobset.yaml",
)


# --- commands -----------------------------------------------------------------------------------


def test_every_command_is_run_or_listed_as_long() -> None:
    written = [command for page in PAGES for fence in fences(page, "sh") for command in commands(fence)]
    # Those of curl are run by tests/test_serve.py.
    assert sorted(command for command in {*written} - {*RUN, *LONG} if not command.startswith("curl ")) == []
    assert [command for command in (*RUN, *LONG) if command not in written] == []


def test_what_commands_name_exists() -> None:
    everywhere = [(page, command) for page in PAGES for command in inline_commands(page)]
    everywhere += [("RUN and LONG", command) for command in (*RUN, *LONG)]
    everywhere += [(f"zoo {verb} --help", example) for verb in cli.VERBS for example in examples(help_text(verb))]
    assert [f"{where}: {command}: {fault}" for where, command in everywhere if (fault := unknown_in(command))] == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("make quickstrat", "no target quickstrat"),
        ("make gpu-bench PYTHN=python3", "no setting PYTHN"),
        ("python -m zoo.trian imdb_bert", "no verb trian"),
        ("zoo run imdb_bert --profil cpu", "no option --profil"),
        ("python -m zoo.run imdb_bret", "did you mean imdb_bert?"),
        ("python -m zoo.run imdb_bert --profile gpu", "gpu"),
        ("python -m zoo.run imdb_bert --set training.epoch=1", "training.epoch"),
        ("python tools/render.py", "no file tools/render.py"),
        ("KERAS_BACKND=jax python -m zoo.list", "no setting KERAS_BACKND"),
        ("pip install -e '.[pytorch]'", "no extra pytorch"),
        ("docker build --file deploy/Dockerfile --target gpu .", "no target gpu"),
        ("docker build --file deploy/Dockerfile --target cuda --build-arg EXTRAS=cuda .", "no extra cuda"),
        ("docker run --rm text-zoo:cpu fetsh imdb_bert", "no verb fetsh"),
        ("sbatch deploy/slurm.sh imdb_bert --profile gpu", "gpu"),
        ("kubectl apply --filename deploy/job.yaml", "no file deploy/job.yaml"),
        ("wget file", "nothing that is known here"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, fault: str) -> None:
    assert fault in (unknown_in(command) or "")


def test_every_verb_stands_in_the_readme_and_has_an_example() -> None:
    shown = [command for fence in fences("README.md", "sh") for command in commands(fence)]
    for verb in cli.VERBS:
        assert any(f"python -m zoo.{verb}" in command for command in shown), verb
        assert any(re.match(rf"(\w+=\S+ )*(python -m zoo\.|zoo ){verb}\b", e) for e in examples(help_text(verb))), verb


ONE_BY_ONE = """
import contextlib, io, json, runpy, shlex, sys, warnings
warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)  # what another command has imported
for command in json.loads(sys.argv[1]):
    python, option, module, *words = shlex.split(command)
    assert [python, option] == ["python", "-m"]
    sys.argv[1:] = words
    with contextlib.redirect_stdout(io.StringIO()) as told:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as done:
            print(json.dumps([command, done.code, told.getvalue()]), file=sys.__stdout__)
"""


def test_the_quick_commands_run(clone: Path) -> None:
    """As Python runs a module, but in one process: sixteen would import Keras for a minute."""
    done = run_in(clone, [sys.executable, "-c", ONE_BY_ONE, json.dumps(RUN)])
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [command for command, *_ in ends] == list(RUN)
    for command, code, told in ends:
        assert code == 0, f"{command}\n{told}{done.stderr}"
        assert told.strip(), command
    written, page = clone / "runs" / "first", text_of("docs/run-folder.md")
    files = [f.relative_to(written) for f in written.rglob("*") if f.is_file() and not f.name.startswith(".")]
    told = {file: any(f"`{way}`" in page for way in (file, file.parent / f"*{file.suffix}")) for file in files}
    assert [str(file) for file, documented in told.items() if not documented] == []
    assert {"recipe.yaml", "run.json", "history.jsonl", "predictions.jsonl", "report.html"} <= set(map(str, files))
    run = json.loads((written / "run.json").read_text(encoding="utf-8"))
    assert [key for key in keys_of(run) if f"`{key}`" not in page] == []
    assert [key for key in run["metrics"]["test"] if f"`{key}`" not in page] == []
    rows = [json.loads(line) for line in (written / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [key for row in rows for key in row if key != "kind" and f"`{key}`" not in page] == []


def test_the_python_of_the_pages_runs(clone: Path) -> None:
    blocks = [block for page in PAGES for block in fences(page, "python")]
    assert len(blocks) == 5
    done = run_in(clone, [sys.executable, "-W", "error::SyntaxWarning", "-c", "\n".join(blocks)])
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"[01]\.\d+ \d+\n(posi|nega)tive\n2 token_embedding\n80 test/\d+\n80\n\(2, 2\) \['\w+', '\w+'\]\n", done.stdout
    )


# --- what is documented -------------------------------------------------------------------------


def test_every_field_of_a_recipe_is_documented() -> None:
    page = text_of("docs/recipe.md")
    groups = [kind for kind in vars(types).values() if inspect.isclass(kind) and issubclass(kind, Config)]
    fields = {name for group in groups for name in group.model_fields}
    assert len(fields) > 30
    assert [name for name in sorted(fields) if not re.search(rf"[`.]{name}`", page)] == []


def test_the_exit_codes_are_documented() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)}
    codes |= {errors.EXIT_DONE, errors.EXIT_BUG, errors.EXIT_INTERRUPTED, errors.EXIT_TERMINATED}
    for page in ("README.md", "docs/run-folder.md"):
        table = text_of(page).partition("| code |")[2].partition("\n\n")[0]
        first_cells = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        assert {int(code) for cell in first_cells for code in cell.split(",")} == codes, page


def test_the_examples_in_yaml_are_accepted(tmp_path: Path) -> None:
    blocks = [(page, block) for page in PAGES for block in fences(page, "yaml")]
    assert len(blocks) >= 4
    for page, block in blocks:
        data = yaml.safe_load(block)
        if "origins" in data:
            card = BackboneCard if "family" in data else DatasetCard
            assert card(name="example", **data).title, page
            continue
        path = tmp_path / "my.yaml"
        path.write_text(block, encoding="utf-8")
        if "search" in data:
            assert read_plan(path, cli.find_recipe).parameters, page
            continue
        for profile in (None, *data.get("profiles", {})):
            assert list(disagreements(load_recipe(path, profile=profile))) == [], page


def test_the_examples_in_json_are_json() -> None:
    blocks = [block for page in PAGES for block in fences(page, "json")]
    assert [type(json.loads(block)) for block in blocks] == [dict] * len(blocks)


def test_every_fence_says_what_it_holds() -> None:
    known = {"sh", "python", "yaml", "json", "text", "bibtex"}
    odd = [
        f"{page}: {line!r}"
        for page in PAGES
        for line in re.findall(r"^```.*$", text_of(page), re.MULTILINE)[::2]
        if line.removeprefix("```") not in known
    ]
    assert odd == []


def test_links_lead_somewhere() -> None:
    assert [fault for page in PAGES for fault in dead_links(page, text_of(page))] == []


def test_a_dead_link_is_noticed() -> None:
    text = "[a](docs/none.md) [b](docs/run-folder.md#no-such) [c](docs/run-folder.md#runjson) [d](https://example.org)"
    assert dead_links("README.md", text) == ["README.md: docs/none.md", "README.md: docs/run-folder.md#no-such"]


def test_the_tests_that_hold_a_promise_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", text_of("docs/security.md"))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_changelog_says_what_is_unreleased() -> None:
    section = text_of("CHANGELOG.md").partition("\n## [Unreleased]\n")[2].partition("\n## ")[0]
    assert re.findall(r"^- \w", section, re.MULTILINE)


def test_decisions_are_numbered_and_have_three_parts() -> None:
    pages = [page for page in PAGES if page.startswith("docs/decisions/")]
    assert [int(Path(page).name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = text_of(page)
        assert text.startswith(f"# {int(Path(page).name[:4])}. "), page
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], page


# --- helpers ------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like a fresh clone, with `python` on the PATH."""
    for name in ("zoo", "recipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def run_in(clone: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    changes = {"PATH": f"{clone / 'bin'}{os.pathsep}{os.environ['PATH']}", "KERAS_BACKEND": "torch"}
    return subprocess.run(
        command, cwd=clone, env=os.environ | changes, capture_output=True, text=True, check=False, timeout=600
    )


def fences(page: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text_of(page))


def commands(fence: str) -> Iterator[str]:
    """The commands of a fence, a line each, without their comments."""
    for line in fence.splitlines():
        command = re.sub(r"\s+#.*", "", line).strip()
        if command:
            yield command


def inline_commands(page: str) -> Iterator[str]:
    """The commands that stand within sentences."""
    prose = re.sub(r"(?ms)^```.*?^```$", "", text_of(page))
    for code in re.findall(r"`([^`\n]+)`", prose):
        if re.match(r"(\w+=\S+ )*(python (-m |\w+/)|zoo [a-z]|make |pip )", code):
            yield code


def examples(text: str) -> list[str]:
    """The commands in a help text: what comes after `Example:`, or `as` at the end of a sentence."""
    return [found.strip().rstrip(".") for found in re.findall(r"(?:Example:|, as) ((?:\w+=|python|zoo ).*)", text)]


def keys_of(run: dict[str, Any]) -> list[str]:
    """The keys of a run.json as the page names them; `owner`, `versions` and `expected` are groups of no fixed keys."""
    keys = []
    for key, value in run.items():
        inner = isinstance(value, dict) and key not in ("owner", "versions", "expected")
        keys += [f"{key}.{part}" for part in value] if inner else [key]
    return keys


def dead_links(page: str, text: str) -> list[str]:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            dead.append(f"{page}: {target}")
    return dead


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
