"""A vocabulary on disk to a tokenizer of the Rust `tokenizers` library.

In comes a file or a folder in Hugging Face's or Keras's layout; out comes the tokenizer that the vocabulary was made
for, with its normaliser and its special tokens. Refused: a folder without a vocabulary, files that are damaged, a
vocabulary without the special tokens of its kind.

The normaliser is that of the original BERT (accents stripped where the vocabulary is uncased), which
keras-hub's own WordPiece leaves out; see docs/decisions/0002.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from zoo.errors import EnvironmentFault


def read_vocabulary(path: Path, *, uncased: bool | None = None) -> RustTokenizer:
    """Build the tokenizer of a vocabulary.

    Args:
        path: a tokenizer.json, a vocab.txt, or a folder in Hugging Face's or Keras's layout.
        uncased: whether the vocabulary is lower-case; None reads it from the folder's own settings,
            and failing these from the vocabulary itself.

    Raises:
        EnvironmentFault: nothing there that is a vocabulary, or one without its special tokens.
    """
    folder = path if path.is_dir() else path.parent
    assets = folder / "assets" / "tokenizer"
    candidates = [path] if path.is_file() else []
    candidates += [f for d in (folder, assets) for f in (d / "vocab.txt", d / "vocabulary.txt") if path.is_dir()]
    candidates += [f for d in (folder, assets) for f in (d / "vocab.json", d / "vocabulary.json") if path.is_dir()]
    hub = folder / "tokenizer.json"
    if path.is_dir() and hub.is_file() and "model" in _read_json(hub):  # Keras's tokenizer.json holds settings alone
        candidates.insert(0, hub)
    found = next((f for f in candidates if f.is_file()), None)
    if found is None:
        raise EnvironmentFault(
            f"{path}: no vocabulary there, expected tokenizer.json, vocab.txt, or vocab.json with merges.txt"
        )
    if found.name.endswith(".txt"):
        return _word_piece(found, _settings(folder), uncased)
    if "model" in _read_json(found):
        return RustTokenizer.from_file(str(found))
    return _byte_level_bpe(found, found.with_name("merges.txt"), _settings(folder))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EnvironmentFault(f"{path}: not valid JSON ({error}): fetch it again") from error
    return value if isinstance(value, dict) else {}


def _settings(folder: Path) -> dict[str, Any]:
    """What the folder says of its tokenizer, by the names that Hugging Face gives it."""
    hub, specials, keras = (
        folder / name for name in ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")
    )
    if hub.is_file() or specials.is_file():
        # The map came first and is what older checkpoints have; transformers, too, lets it say more than the settings.
        return (_read_json(hub) if hub.is_file() else {}) | (_read_json(specials) if specials.is_file() else {})
    if keras.is_file():
        config = _read_json(keras).get("config", {})
        names = {"lowercase": "do_lower_case", "add_prefix_space": "add_prefix_space"}
        return {names[key]: value for key, value in config.items() if key in names}
    return {}


def _word_piece(vocabulary: Path, settings: dict[str, Any], uncased: bool | None) -> RustTokenizer:
    # The library's own reader: Python would end lines at U+2028 and others that are entries of some vocabularies, and
    # number all that follow wrong.
    entries = models.WordPiece.read_file(str(vocabulary))
    missing = [token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if token not in entries]
    if missing:
        raise EnvironmentFault(
            f"{vocabulary}: {', '.join(missing)} missing, expected BERT's vocabulary, a token a line"
        )
    lowercase = settings.get("do_lower_case", uncased)
    if lowercase is None:
        lowercase = not any(entry[:1].isupper() for entry in entries)
    rust = RustTokenizer(models.WordPiece(entries, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),  # None: as `lowercase`, like the original
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
    return rust


def _byte_level_bpe(vocabulary: Path, merges: Path, settings: dict[str, Any]) -> RustTokenizer:
    if not merges.is_file():
        raise EnvironmentFault(f"{merges}: missing, expected beside {vocabulary.name}")
    entries = _read_json(vocabulary)
    missing = [token for token in ("<s>", "</s>", "<pad>", "<unk>") if token not in entries]
    if missing:
        raise EnvironmentFault(f"{vocabulary}: {', '.join(missing)} missing, expected a RoBERTa vocabulary")
    prefix = settings.get("add_prefix_space", False)
    rust = RustTokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    rust.decoder = decoders.ByteLevel()
    rust.post_processor = processors.RobertaProcessing(
        ("</s>", entries["</s>"]), ("<s>", entries["<s>"]), trim_offsets=True, add_prefix_space=prefix
    )
    rust.add_special_tokens(["<s>", "</s>", "<pad>", "<unk>"])
    # RoBERTa's own <mask> takes the space before it. Keras's presets do not say so; Hugging Face's folders do, and
    # where one does not, transformers 5 leaves the space.
    strips = _stated_of_mask(settings).get("lstrip", vocabulary.name == "vocabulary.json")
    rust.add_special_tokens([AddedToken("<mask>", lstrip=strips)])
    return rust


def _stated_of_mask(settings: dict[str, Any]) -> dict[str, Any]:
    """How a Hugging Face folder describes <mask>; nothing where it does not."""
    stated = [*settings.get("added_tokens_decoder", {}).values(), settings.get("mask_token")]
    return next((token for token in stated if isinstance(token, dict) and token.get("content") == "<mask>"), {})
