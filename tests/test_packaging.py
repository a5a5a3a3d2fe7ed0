"""The wheel holds what the code reads at run time, and the metadata say what is true."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What a build needs; building a copy leaves no build/ in the clone.
INPUTS = ("pyproject.toml", "README.md", "LICENSE", "zoo", "recipes")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names inside the wheel."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(target), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True, capture_output=True, text=True)
    (built,) = target.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def tracked() -> list[str]:
    """The files a build reads, without what Python leaves behind."""
    files = [
        file for name in INPUTS for file in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    return [file.relative_to(ROOT).as_posix() for file in files if file.is_file() and "__pycache__" not in file.parts]


def test_every_file_of_the_packages_is_in_the_wheel(wheel: set[str]) -> None:
    missing = [name for name in tracked() if name.startswith(("zoo/", "recipes/")) and name not in wheel]
    assert missing == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"zoo/py\.typed",
        r"zoo/recipe/schema\.json",
        r"zoo/report/templates/report\.html\.j2",
        r"zoo/report/templates/explain\.html\.j2",
        r"zoo/data/catalog/datasets/.*\.yaml",
        r"zoo/data/catalog/backbones/.*\.yaml",
        r"zoo/data/catalog/samples/.*\.csv",
        r"zoo/data/catalog/vocabularies/.*/vocab\..*",
        r"recipes/quickstart\.yaml",
        r"recipes/sweeps/quickstart\.yaml",
        r"text_zoo-.*/licenses/LICENSE",
    ],
)
def test_the_wheel_holds(wheel: set[str], pattern: str) -> None:
    assert [name for name in wheel if re.fullmatch(pattern, name)] != []


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    assert [name for name in wheel if not name.startswith(("zoo/", "recipes/", "text_zoo-"))] == []


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9_.\-]+==[0-9][0-9a-z.]*", pin)] == []
    pinned = {plain(pin) for pin in pins}
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *(name for extra in extras.values() for name in extra)]
    assert {plain(name) for name in needed} - pinned == {"text-zoo"}  # an extra may ask for others


def test_every_extra_is_there() -> None:
    extras = {
        "jax",
        "jax-cuda",
        "tensorflow",
        "tensorflow-cuda",
        "torch",
        "tpu",
        "onnx",
        "serve",
        "tensorboard",
        "mlflow",
        "postgresql",
        "ray",
        "spark",
        "sweep",
    }
    assert extras | {"all", "dev"} == set(PROJECT["optional-dependencies"])


def plain(requirement: str) -> str:
    """The normalised name of a requirement."""
    name = re.match(r"[A-Za-z0-9_.\-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_what_one_cites_is_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for key in ("version", "license", "keywords"):
        assert cited[key] == PROJECT[key]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (author,) = cited["authors"]
    assert f"author  = {{{{{author['name']}}}}}" in readme
    assert f"version = {{{cited['version']}}}" in readme
    assert cited["title"] in re.search(r"title   = (.*),", readme)[1].translate({ord(brace): None for brace in "{}"})
