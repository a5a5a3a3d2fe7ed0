"""Tables of tokens, kept on disk under what they are made of, and mapped from there into memory.

In come a tokenizer, its settings and texts; out comes a `TokenTable`, made or found in the cache. It is written as it
is made: what was interrupted goes on where it stood, and a table that is larger than memory can be made and trained on.
One that is damaged is made anew. Refused: what `Tokenizer.encode` refuses, and a cache that cannot be written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import tokenizers

from zoo.data.appending import Appended, Held, held, wrong_with
from zoo.data.dataset import SPLITS, Dataset
from zoo.data.locking import Lock
from zoo.data.sources import ANOTHER_CACHE, cache_folder
from zoo.data.strings import Strings
from zoo.data.tokens import Place, Tokenizer, TokenTable
from zoo.data.writing import PARTIAL, make_folder, storage_errors, sync_folder
from zoo.errors import DataError
from zoo.recipe.types import Tokens

Entered = TypeVar("Entered")

FORMAT = "4"
"""Of the cached tables; another one is another folder."""
SAFE = 1 << 22
"""Tokens after which what is made is made safe: so many are lost at most where it is interrupted."""


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
        tell: called with a sentence where the table is damaged, and is made anew; where it goes on with what was
            interrupted; and where another process is making it, which is waited for.

    Raises:
        OutputError: the cache cannot be written.
    """
    first, second = Strings.of(texts), None if pairs is None else Strings.of(pairs)
    folder = cache_folder() / "tokens" / _content_key(tokenizer, first, second, config, spans)
    kept = _Kept(folder, texts=len(first), pad=tokenizer.specials.pad, spans=spans, tell=tell or (lambda text: None))
    parts = partial(tokenizer.parts, first, second, config, progress=progress, place=place, spans=spans)
    return kept.table(lambda begin: parts(begin=begin), progress or (lambda texts: None))


class _Kept:
    """A table in a folder of the cache: a file of numbers for each array, little-endian and without a header.

    Args:
        folder: where it is, or will be.
        texts: of how many texts it is.
        pad, spans: see `TokenTable`; spans: whether it has them.
        tell: called with what there is to say.
    """

    def __init__(self, folder: Path, *, texts: int, pad: int, spans: bool, tell: Callable[[str], None]) -> None:
        self._folder, self._texts, self._pad, self._spans, self._tell = folder, texts, pad, spans, tell
        self._partial = folder.with_name(folder.name + PARTIAL)

    def table(self, parts: Callable[[int], Iterator[TokenTable]], progress: Callable[[int], None]) -> TokenTable:
        """What is kept; made of parts where nothing is, or it is damaged.

        Args:
            parts: called with the number of the first text that is still to be cut.
            progress: called with the number of texts that are there already.
        """
        absent = not self._folder.exists()
        if not absent and (found := self._kept()) is not None:
            progress(self._texts)
            return found
        with self._storing():
            make_folder(self._folder.parent)
        lock = Lock.beside(self._folder)
        if lock.alive:
            self._tell(f"{lock.owner() or 'another process'} cuts the same texts into tokens, and is waited for")
        with self._within(lock.held()):
            if absent and self._folder.exists() and (found := self._kept()) is not None:
                progress(self._texts)
                return found
            try:
                self._make(parts, progress, lock)
            except DataError:  # which is so each time
                shutil.rmtree(self._partial, ignore_errors=True)
                raise
        return self._mapped()

    def _kept(self) -> TokenTable | None:
        """The table that is there, mapped into memory; None where it is damaged, which is told."""
        note = held(self._folder)
        if isinstance(note, str):
            wrong: str | None = note
        elif note.done != self._texts:
            wrong = f"it is of {note.done:,} texts, not of {self._texts:,}"
        else:
            wrong = self._misfit(note) or wrong_with(self._folder, note)
        if wrong is not None:
            self._tell(f"{self._folder}, the cache of tokens, is damaged ({wrong}): it is made anew")
            return None
        return self._mapped()

    def _make(self, parts: Callable[[int], Iterator[TokenTable]], progress: Callable[[int], None], lock: Lock) -> None:
        """Write what is not there yet, and put it in its place."""
        with self._storing():
            note = self._begun()
        begin = 0 if note is None else note.done
        if begin:
            self._tell(f"tokens: {begin:,} of {self._texts:,} texts were cut before, and are not cut again")
            progress(begin)
        self._append(note, parts(begin), lock)
        with self._storing():
            shutil.rmtree(self._folder, ignore_errors=True)
            os.replace(self._partial, self._folder)
            sync_folder(self._folder.parent)

    @contextmanager
    def _within(self, context: AbstractContextManager[Entered]) -> Iterator[Entered]:
        """The context, of which what storage refuses is told; behind another fault that one alone."""
        with self._storing():
            entered = context.__enter__()
        try:
            yield entered
        except BaseException:
            with suppress(OSError):
                context.__exit__(*sys.exc_info())
            raise
        with self._storing():
            context.__exit__(None, None, None)

    def _storing(self) -> AbstractContextManager[None]:
        return storage_errors(self._folder.parent, ANOTHER_CACHE)

    def _begun(self) -> Held | None:
        """What an interrupted process has left; None, and an empty folder, where there is nothing to go on with."""
        note = held(self._partial)
        if isinstance(note, Held) and not (self._misfit(note) or wrong_with(self._partial, note, whole=False)):
            return note
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir()
        return None

    def _append(self, note: Held | None, parts: Iterator[TokenTable], lock: Lock) -> None:
        """Write further texts behind those that are held, and have all safe on the disk."""
        with self._within(Appended(self._partial, map(_file, self._names), note)) as files:
            if note is None:
                files.append(_file("offsets"), _bytes(np.zeros(1, np.int64)))
            done, tokens = (0, 0) if note is None else (note.done, note.files[_file("ids")].size // 4)
            safe = tokens
            for part in parts:
                lock.refuse_lost()
                with self._storing():
                    files.append(_file("offsets"), _bytes(part.offsets[1:] + tokens))
                    for name in self._names - {"offsets"}:
                        files.append(_file(name), _bytes(getattr(part, name)))
                    done, tokens = done + len(part.full), tokens + len(part.ids)
                    if tokens - safe >= SAFE:
                        files.secure(done)
                        safe = tokens
            with self._storing():
                files.secure(done)

    @property
    def _names(self) -> set[str]:
        """The arrays of a table, see TokenTable."""
        return {"ids", "offsets", "second", "full", "owners"} | ({"spans"} if self._spans else set())

    def _misfit(self, note: Held) -> str | None:
        """Why what is held cannot be a table, or a part of one."""
        return None if note.files.keys() == {*map(_file, self._names)} else "it has other files"

    def _mapped(self) -> TokenTable:
        """The table, whose arrays are read where they are looked at."""
        return TokenTable(**{name: _mapped(name, self._folder / _file(name)) for name in self._names}, pad=self._pad)


def _mapped(name: str, path: Path) -> np.ndarray:
    kind = "<i8" if name == "offsets" else "<i4"
    flat = np.asarray(np.memmap(path, kind, "r")) if path.stat().st_size else np.zeros(0, kind)
    return flat.reshape(-1, 2) if name == "spans" else flat


def _file(name: str) -> str:
    """The file of an array."""
    return f"{name}.bin"


def _bytes(values: np.ndarray) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


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


def _content_key(tokenizer: Tokenizer, texts: Strings, pairs: Strings | None, config: Tokens, spans: bool) -> str:
    digest = hashlib.sha256()
    settings = config.model_dump_json(exclude={"pool"})
    for part in (FORMAT, tokenizers.__version__, tokenizer.to_json(), settings, str(spans)):
        digest.update(part.encode())
    for column in (texts, pairs):
        digest.update(b"\x01" if column is not None else b"\x00")
        if column is not None:
            column.hash_into(digest)
    return digest.hexdigest()
