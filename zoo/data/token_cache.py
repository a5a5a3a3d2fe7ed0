"""Tables of tokens, kept on disk under what they are made of.

In come a tokenizer, its settings and texts; out comes a `TokenTable`, made or found in the cache. A file that is
damaged is made anew. Refused: what `Tokenizer.encode` refuses, and a cache that cannot be written.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tokenizers

from zoo.data.dataset import SPLITS, Dataset
from zoo.data.sources import ANOTHER_CACHE, cache_folder
from zoo.data.tokens import Place, Tokenizer, TokenTable
from zoo.data.writing import storage_errors, write_atomically
from zoo.recipe.types import Tokens

FORMAT = "3"
"""Of the cached tables; another one is another file."""


def encode_cached(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    config: Tokens,
    *,
    progress: Callable[[int], None] | None = None,
    place: Place = "texts[{}]".format,
    spans: bool = False,
    tell: Callable[[str], None] | None = None,
) -> TokenTable:
    """`Tokenizer.encode`, kept on disk under a hash of the tokenizer, the settings and the texts.

    Args:
        tell: called with a sentence where the file is damaged; it is then made anew.

    Raises:
        OutputError: the cache cannot be written.
    """
    path = cache_folder() / "tokens" / f"{_content_key(tokenizer, texts, pairs, config, spans)}.npz"
    if path.is_file():
        table, wrong = _stored(path, len(texts), tokenizer.specials.pad, spans)
        if table is not None:
            if progress is not None:
                progress(len(texts))
            return table
        if tell is not None:
            tell(f"{path}, the cache of tokens, is damaged ({wrong}): it is made anew")
    table = tokenizer.encode(texts, pairs, config, progress=progress, place=place, spans=spans)
    with storage_errors(path.parent, ANOTHER_CACHE), write_atomically(path) as stream:
        np.savez(stream, **{name: getattr(table, name) for name in _arrays(spans)})
    return table


def _arrays(spans: bool) -> dict[str, tuple[type, int]]:
    """What a stored table holds, see TokenTable: of each array its type and its dimensions."""
    of_rows = dict.fromkeys(("ids", "second", "full", "owners"), (np.int32, 1))
    return {**of_rows, "offsets": (np.int64, 1), **({"spans": (np.int32, 2)} if spans else {})}


def _stored(path: Path, texts: int, pad: int, spans: bool) -> tuple[TokenTable | None, str]:
    """The table of a file; or None, and what is wrong with the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # against its checksums, before NumPy believes any header
        if broken is not None:
            return None, f"{broken} is not as it was written"
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _arrays(spans)}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        return None, str(error) or type(error).__name__
    offsets, owners = arrays["offsets"], arrays["owners"]
    rows = len(owners)
    lengths = {"offsets": rows + 1, "second": rows, "full": texts, **({"spans": len(arrays["ids"])} if spans else {})}
    typed = all((arrays[name].dtype, arrays[name].ndim) == kind for name, kind in _arrays(spans).items())
    if not typed or any(len(arrays[name]) != length for name, length in lengths.items()):
        return None, "its arrays have other types or lengths"
    if offsets[0] != 0 or offsets[-1] != len(arrays["ids"]) or (np.diff(offsets) < 0).any():
        return None, "its rows overlap"
    if not np.array_equal(np.unique(owners), np.arange(texts)) or (np.diff(owners) < 0).any():
        return None, "its rows belong to other texts"
    return TokenTable(**arrays, pad=pad), ""


def encode_splits(
    tokenizer: Tokenizer,
    dataset: Dataset,
    config: Tokens,
    *,
    progress: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, TokenTable]:
    """The tables of train, validation and test, by name.

    Args:
        progress: called with the number of rows done.
        tell: called with what there is to say of the cache.
    """
    splits = {name: getattr(dataset, name) for name in SPLITS}
    return {
        name: encode_cached(
            tokenizer,
            split.texts,
            split.pairs,
            config,
            progress=progress,
            place=split.place,
            spans=dataset.task.spanned,
            tell=tell,
        )
        for name, split in splits.items()
    }


def _content_key(
    tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None, config: Tokens, spans: bool
) -> str:
    digest = hashlib.sha256()
    settings = config.model_dump_json(exclude={"pool"})
    for part in (FORMAT, tokenizers.__version__, tokenizer.to_json(), settings, str(spans)):
        digest.update(part.encode())
    for column in (texts, pairs):
        digest.update(b"\x01" if column is not None else b"\x00")
        for text in column or ():
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()
