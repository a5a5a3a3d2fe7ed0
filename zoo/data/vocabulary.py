"""A vocabulary on disk to a tokenizer of the Rust `tokenizers` library.

In comes a file or a folder in Hugging Face's or Keras's layout; out comes the tokenizer that the vocabulary was made
for, with its normaliser and its special tokens. Refused: a folder without a vocabulary, files that are damaged or lie
elsewhere, a vocabulary without the special tokens of its kind, and a tokenizer with parts that these families have not:
a regular expression of somebody else's may take hours, and a replacement fill the memory.

The normaliser is that of the original BERT (accents stripped where the vocabulary is uncased), which
keras-hub's own WordPiece leaves out; see docs/decisions/0002.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from zoo.data.model_files import VOCABULARY_FILES, refuse_links
from zoo.data.objects import MOST_BYTES, first_wrong, read_object
from zoo.errors import EnvironmentFault, ZooError

CASED_SHARE = 0.01
"""Share of whole words with a capital from which a vocabulary is cased. Of the words in BERT's cased one a third has
one, of those in its uncased one none."""
REPAIR = "fetch it again"


class Settings(BaseModel):
    """What a folder says of its tokenizer, by the names that Hugging Face gives it; what it leaves out is None."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    do_lower_case: bool | None = None
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool | None = None
    add_prefix_space: bool | None = None
    mask_token: dict[str, Any] | str | None = None
    added_tokens_decoder: dict[str, dict[str, Any]] = {}

    @property
    def mask_strips(self) -> bool | None:
        """Whether <mask> takes the space before it; None where that is not said."""
        stated = [*self.added_tokens_decoder.values(), self.mask_token]
        told = next((token for token in stated if isinstance(token, dict) and token.get("content") == "<mask>"), {})
        return bool(told["lstrip"]) if "lstrip" in told else None


def read_vocabulary(path: Path, *, uncased: bool | None = None) -> tuple[RustTokenizer, str | None]:
    """Build the tokenizer of a vocabulary.

    Args:
        path: a tokenizer.json, a vocab.txt, or a folder in Hugging Face's or Keras's layout.
        uncased: whether the vocabulary is lower-case; None reads it from the folder's own settings,
            and failing these from the vocabulary itself.

    Returns:
        The tokenizer, and what was decided without being said anywhere; None where nothing was.

    Raises:
        EnvironmentFault: nothing there that is a vocabulary, or one without its special tokens.
    """
    folder = path if path.is_dir() else path.parent
    assets = folder / "assets" / "tokenizer"
    if path.is_dir():
        refuse_links(folder, VOCABULARY_FILES)
    candidates = [path] if path.is_file() else []
    candidates += [f for d in (folder, assets) for f in (d / "vocab.txt", d / "vocabulary.txt") if path.is_dir()]
    candidates += [f for d in (folder, assets) for f in (d / "vocab.json", d / "vocabulary.json") if path.is_dir()]
    hub = folder / "tokenizer.json"
    if path.is_dir() and hub.is_file() and _is_tokenizer(read_object(hub, REPAIR)):
        candidates.insert(0, hub)
    found = next((f for f in candidates if f.is_file()), None)
    if found is None:
        raise EnvironmentFault(
            f"{path}: no vocabulary there, expected tokenizer.json, vocab.txt, or vocab.json with merges.txt"
        )
    with _readable(found):
        if found.stat().st_size > MOST_BYTES:
            raise EnvironmentFault(f"{found}: has {found.stat().st_size:,} bytes, expected at most {MOST_BYTES:,}")
        if found.suffix == ".txt":
            return _word_piece(found, _settings(folder), uncased)
        entries = read_object(found, REPAIR)
        if _is_tokenizer(entries):
            return tokenizer_of(entries), None
        return _byte_level_bpe(found, entries, _settings(folder)), None


PARTS = {
    "model": ("WordPiece", "BPE"),
    "normalizer": ("BertNormalizer", "Lowercase", "StripAccents", "Strip", "NFC", "NFD", "NFKC", "NFKD"),
    "pre_tokenizer": ("BertPreTokenizer", "ByteLevel", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"),
}
"""What a tokenizer.json may be made of, by where it stands there; a Sequence has several of them."""


def tokenizer_of(described: dict[str, Any]) -> RustTokenizer:
    """The tokenizer that an object describes, as tokenizer.json has it.

    Raises:
        ValueError: it has parts that are not in `PARTS`, or merges whose pieces are not in its vocabulary.
        Exception: the Rust library cannot read it, which raises nothing narrower.
    """
    for place, known in PARTS.items():
        waiting = [described.get(place)]
        while waiting:
            part = waiting.pop()
            kind = part.get("type") if isinstance(part, dict) else part
            if isinstance(part, dict) and kind == "Sequence":
                waiting += [each for inner in part.values() if isinstance(inner, list) for each in inner]
            elif kind not in (*known, *([None] * (place != "model"))):
                raise ValueError(f"its {place} is {kind!r:.60}, expected {', '.join(known)}")
    model = described["model"]
    if model.get("type") == "BPE":
        _refuse_foreign_merges(model)
    # Padding to a length of its own may fill the memory, and rows are cut and padded by us.
    found = RustTokenizer.from_str(json.dumps(described | {"padding": None, "truncation": None}))
    found.encode("\N{SNOWMAN}")  # without a token for what is unknown, this fails, and here it is told what is wrong
    return found


def _refuse_foreign_merges(model: dict[str, Any]) -> None:
    """ValueError where two pieces are merged to one that the vocabulary lacks, at which the Rust library panics."""
    entries, prefix = model.get("vocab"), model.get("continuing_subword_prefix") or ""
    for merge in model.get("merges") or ():
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(entries, dict) or not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"its merge {merge!r:.60} is no pair")
        first, second = map(str, pair)
        if not {first, second, first + second.removeprefix(prefix)} <= entries.keys():
            raise ValueError(f"its merge {merge!r:.60} is of pieces that are not in its vocabulary")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """The Rust library's refusals as faults of the file; it raises nothing narrower than Exception."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"{path}: not a vocabulary ({error}): {REPAIR}") from error


def _is_tokenizer(value: dict[str, Any]) -> bool:
    """Whether it is a tokenizer of Hugging Face's, rather than the entries of a vocabulary or Keras's settings.

    By what stands under `model`: "model" is also a word, and in GPT-2's and so in RoBERTa's vocabulary.
    """
    return isinstance(value.get("model"), dict)


def _settings(folder: Path) -> Settings:
    hub, specials, keras = (
        folder / name for name in ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")
    )
    said: dict[str, Any] = {}
    sources = [file for file in (hub, specials) if file.is_file()]
    for file in sources:
        # The map came first and is what older presets have; transformers, too, lets it say more than the settings.
        said |= read_object(file, REPAIR)
    if not sources and keras.is_file():
        sources, config = [keras], read_object(keras, REPAIR).get("config")
        names = {"lowercase": "do_lower_case", "add_prefix_space": "add_prefix_space"}
        said = {names[key]: value for key, value in config.items() if key in names} if isinstance(config, dict) else {}
    try:
        return Settings.model_validate(said)
    except ValidationError as error:
        raise EnvironmentFault(f"{' or '.join(map(str, sources))}: {first_wrong(error)}: {REPAIR}") from error


def _word_piece(vocabulary: Path, settings: Settings, uncased: bool | None) -> tuple[RustTokenizer, str | None]:
    # The library's own reader: Python would end lines at U+2028 and others that are entries of some vocabularies, and
    # number all that follow wrong.
    entries = models.WordPiece.read_file(str(vocabulary))
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in entries]
    if missing:
        raise EnvironmentFault(
            f"{vocabulary}: {', '.join(missing)} missing, expected BERT's vocabulary, a token a line"
        )
    lowercase, note = uncased if settings.do_lower_case is None else settings.do_lower_case, None
    if lowercase is None:
        lowercase, note = _guessed(vocabulary, entries)
    rust = RustTokenizer(models.WordPiece(entries, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.tokenize_chinese_chars is not False,
        strip_accents=settings.strip_accents,  # None: as `lowercase`, like the original
        lowercase=lowercase,
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = "[CLS]", "[SEP]"
    rust.add_special_tokens([t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in entries])
    rust.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, entries[cls]), (sep, entries[sep])],
    )
    rust.decoder = decoders.WordPiece()
    return rust, note


def _guessed(vocabulary: Path, entries: dict[str, int]) -> tuple[bool, str]:
    """Whether a vocabulary without settings is lower-case, and how that is told.

    As transformers has it, it is, unless whole words with a capital are in it in number. Single letters do not count:
    signs such as the letter of the reals are capitals, and stand in uncased vocabularies.
    """
    words = [entry for entry in entries if len(entry) > 1 and entry.isalpha()]
    cased = sum(word[0].isupper() and word[1:].islower() for word in words)
    lowercase = cased < max(1.0, CASED_SHARE * len(words))
    return lowercase, (
        f"{vocabulary}: nothing says whether it is lower-case, and it is read as "
        f"{'uncased' if lowercase else 'cased'}: {cased:,} of its {len(words):,} words have a capital; put "
        f'{{"do_lower_case": {str(not lowercase).lower()}}} into a tokenizer_config.json beside it if that is wrong'
    )


def _byte_level_bpe(vocabulary: Path, entries: dict[str, Any], settings: Settings) -> RustTokenizer:
    merges = vocabulary.with_name("merges.txt")
    if not merges.is_file():
        raise EnvironmentFault(f"{merges}: missing, expected beside {vocabulary.name}")
    missing = [token for token in ("<s>", "</s>", "<pad>", "<unk>") if token not in entries]
    if missing:
        raise EnvironmentFault(f"{vocabulary}: {', '.join(missing)} missing, expected a RoBERTa vocabulary")
    prefix = bool(settings.add_prefix_space)
    rust = RustTokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    rust.decoder = decoders.ByteLevel()
    rust.post_processor = processors.RobertaProcessing(
        ("</s>", entries["</s>"]), ("<s>", entries["<s>"]), trim_offsets=True, add_prefix_space=prefix
    )
    rust.add_special_tokens(["<s>", "</s>", "<pad>", "<unk>"])
    # RoBERTa's own <mask> takes the space before it. Keras's presets do not say so; Hugging Face's folders do, and
    # where one does not, transformers 5 leaves the space.
    strips = vocabulary.name == "vocabulary.json" if settings.mask_strips is None else settings.mask_strips
    rust.add_special_tokens([AddedToken("<mask>", lstrip=strips)])
    return rust
