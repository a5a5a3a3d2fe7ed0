"""Keeps the catalog's cards up to date.

    python tools/refresh_catalog.py cards             # write the cards of keras-hub's presets anew
    python tools/refresh_catalog.py cards --check     # exit 1 where one differs
    python tools/refresh_catalog.py hashes imdb ...   # download, verify, fill open revisions and hashes in

In come the installed keras-hub's list of presets, or the hubs; out go the YAML files of zoo/data/catalog. The
dimensions of a preset are found from its parameter count, which only one known shape gives exactly; a preset of an
unknown shape is refused. Hashes and revisions that a card has are kept, and a download that contradicts them fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from zoo.data import catalog  # noqa: E402
from zoo.data.sources import address, fetch, recorded  # noqa: E402
from zoo.errors import ZooError  # noqa: E402

BACKBONES = catalog.FOLDER / "backbones"
FAMILIES = {"bert": "bert", "distil_bert": "distilbert", "roberta": "roberta"}
SHAPES = {
    # layers, heads, hidden, intermediate
    (2, 2, 128, 512),
    (4, 8, 512, 2048),
    (8, 8, 512, 2048),
    (3, 12, 384, 1536),
    (6, 12, 384, 1536),
    (12, 12, 384, 1536),
    (6, 12, 768, 3072),
    (12, 12, 768, 3072),
    (24, 16, 1024, 4096),
}
VOCABULARIES = {
    "bert": (30522, 28996, 21128, 119547, 250037),
    "distilbert": (30522, 28996, 119547),
    "roberta": (50265,),
}
POSITIONS = (512, 4096)
CORRECTIONS = {"paraphrase_minilm_l3_v2_en": 17389824}
"""Counts that keras-hub 0.32.0 lists wrongly: 17,066,496 is that of no shape with 3 layers, while the published
files of this model (66.35 MiB of float32) hold the number given here."""
HUGGING_FACE = {
    "bert_base_en_uncased": "hf://google-bert/bert-base-uncased",
    "bert_base_en": "hf://google-bert/bert-base-cased",
    "bert_large_en_uncased": "hf://google-bert/bert-large-uncased",
    "bert_large_en": "hf://google-bert/bert-large-cased",
    "bert_base_zh": "hf://google-bert/bert-base-chinese",
    "bert_base_multi": "hf://google-bert/bert-base-multilingual-cased",
    "distil_bert_base_en_uncased": "hf://distilbert/distilbert-base-uncased",
    "distil_bert_base_en": "hf://distilbert/distilbert-base-cased",
    "distil_bert_base_multi": "hf://distilbert/distilbert-base-multilingual-cased",
    "roberta_base_en": "hf://FacebookAI/roberta-base",
    "roberta_large_en": "hf://FacebookAI/roberta-large",
}
"""Repositories of the same weights for transformers, of which keras-hub's presets were made."""
SENTENCEPIECE = 250037
UNCASED = 30522

TERMS = [
    # pattern of the name, licence, citation
    (r"^bert_", "Apache-2.0", "Devlin et al. 2019, BERT; Turc et al. 2019, Well-Read Students Learn Better"),
    (r"^distil_bert_", "Apache-2.0", "Sanh et al. 2019, DistilBERT"),
    (r"^roberta_", "MIT", "Liu et al. 2019, RoBERTa"),
    (r"^bge_", "MIT", "Xiao et al. 2023, C-Pack"),
    (r"^multilingual_e5_", "MIT", "Wang et al. 2024, Multilingual E5 Text Embeddings"),
    (r"^mxbai_", "Apache-2.0", "Lee et al. 2024, mixedbread-ai embeddings"),
    (r"minilm", "Apache-2.0", "Wang et al. 2020, MiniLM; Reimers and Gurevych 2019, Sentence-BERT"),
]


class Dimensions(NamedTuple):
    """The dimensions of an encoder."""

    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    vocabulary_size: int
    max_positions: int


def parameters(family: str, shape: Dimensions) -> int:
    """Weights of a keras-hub backbone: embeddings and their norm, layers, and for bert segments and the pooler."""
    width, inner = shape.hidden_dim, shape.intermediate_dim
    attention = 4 * (width * width + width)
    forward = 2 * width * inner + inner + width
    total = (shape.vocabulary_size + shape.max_positions) * width + 2 * width
    total += shape.num_layers * (attention + forward + 4 * width)
    if family == "bert":
        total += 2 * width + width * width + width
    return total


def dimensions(family: str, count: int) -> Dimensions:
    """The one known shape with this many parameters; ValueError where none or several have."""
    fits = [
        shape
        for layers in sorted(SHAPES)
        for vocabulary in VOCABULARIES[family]
        for positions in POSITIONS
        if parameters(family, shape := Dimensions(*layers, vocabulary, positions)) == count
    ]
    if len(fits) != 1:
        raise ValueError(
            f"{count:,} parameters fit {len(fits)} known shapes of {family}, expected one: add it to SHAPES"
        )
    return fits[0]


def presets() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, family and registry entry of each preset of the installed keras-hub, without importing it."""
    spec = importlib.util.find_spec("keras_hub")
    if spec is None or spec.origin is None:
        raise SystemExit("keras-hub is not installed: pip install keras-hub")
    models = Path(spec.origin).parent / "src" / "models"
    for folder, family in FAMILIES.items():
        registry = runpy.run_path(str(models / folder / f"{folder}_presets.py"))["backbone_presets"]
        for name, entry in registry.items():
            yield name, family, entry


def card_of(name: str, family: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The card of a keras-hub preset, with the hashes that an existing card has."""
    count = CORRECTIONS.get(name, entry["metadata"]["params"])
    shape = dimensions(family, count)
    if family == "roberta":
        tokenizer, vocabulary = "bpe", ["vocabulary.json", "merges.txt"]
    elif shape.vocabulary_size == SENTENCEPIECE:
        tokenizer, vocabulary = "sentencepiece", ["vocabulary.spm"]
    else:
        tokenizer, vocabulary = "wordpiece", ["vocabulary.txt"]
    names = ["config.json", "metadata.json", "model.weights.h5", "tokenizer.json"]
    names += [f"assets/tokenizer/{file}" for file in vocabulary]
    known = _known_origins(name)
    origins = []
    for uri in (entry["kaggle_handle"], f"hf://keras/{name}"):
        revised, hashes = known.get(uri, (uri, {}))
        origins.append({"uri": revised, "files": {file: hashes.get(file) for file in names}})
    licence, citation = next((terms[1], terms[2]) for terms in TERMS if re.search(terms[0], name))
    # keras-hub joins lines, some without the space between two sentences, and tells some sizes of a sibling model.
    description = re.sub(r"\.(?=[A-Z])", ". ", entry["metadata"]["description"])
    description = re.sub(r"^\d+-layer", f"{shape.num_layers}-layer", description)
    description = re.sub(r"\d+-dimensional", f"{shape.hidden_dim}-dimensional", description)
    return {
        "title": name.replace("_", " "),
        "description": description,
        "license": licence,
        "citation": citation,
        "homepage": f"https://www.kaggle.com/models/{'/'.join(entry['kaggle_handle'].split('/')[2:4])}",
        "family": family,
        "layout": "keras",
        "origins": origins,
        **({"hugging_face": HUGGING_FACE[name]} if name in HUGGING_FACE else {}),
        "tokenizer": tokenizer,
        "uncased": shape.vocabulary_size == UNCASED,
        **_activation(family, entry["kaggle_handle"]),
        "parameters": count,
        **shape._asdict(),
        "num_segments": 2 if family == "bert" else 0,
    }


def _activation(family: str, handle: str) -> dict[str, str]:
    """keras-hub builds every BERT with tanh-GELU, which Google's own weights were trained with; the embedding
    models, which it converted from Hugging Face, were trained with erf-GELU and its format does not tell."""
    return {"activation": "gelu"} if family == "bert" and not handle.startswith("kaggle://keras/bert/") else {}


def _known_origins(name: str) -> dict[str, tuple[str, dict[str, str | None]]]:
    """Address without its revision -> address, hashes; of the card that is there."""
    path = BACKBONES / f"{name}.yaml"
    if not path.is_file():
        return {}
    origins = yaml.safe_load(path.read_text(encoding="utf-8"))["origins"]
    return {origin["uri"].partition("@")[0]: (origin["uri"], origin["files"]) for origin in origins}


def card_text(header: str, card: dict[str, Any]) -> str:
    """A card as YAML, below its comment."""
    return header + yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=116)


HEADER = """\
# Made by tools/refresh_catalog.py from keras-hub's list of presets. Hashes that are null are open: recorded at the
# first download and enforced from then on.
"""


def refresh_cards(*, check: bool) -> int:
    """Write the cards of all presets; with `check`, count those that differ."""
    stale = 0
    for name, family, entry in presets():
        path = BACKBONES / f"{name}.yaml"
        text = card_text(HEADER, card_of(name, family, entry))
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{path.name} is stale: run python tools/refresh_catalog.py cards", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {path.name}")
    return stale if check else 0


def refresh_hashes(names: list[str]) -> int:
    """Download what these cards name, and fill in what they leave open; the number of origins that failed."""
    failed = 0
    for name in names:
        is_data = name in catalog.dataset_names()
        path = catalog.FOLDER / ("datasets" if is_data else "backbones") / f"{name}.yaml"
        card = catalog.dataset_card(name) if is_data else catalog.backbone_card(name)
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        for origin, entry in zip(card.origins, data["origins"], strict=True):
            try:
                fetch(origin, progress=lambda file, done, total: print(f"  {file}", end="\r", file=sys.stderr))
            except ZooError as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed += 1
                continue
            revision, hashes = recorded(origin)
            if address(origin.uri).scheme == "hf" and address(origin.uri).revision is None:
                entry["uri"] = f"{origin.uri}@{revision}"
            entry["files"] = {file: hashes.get(file) for file in origin.files}
            print(f"{name}: {entry['uri']} is verified")
        header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        path.write_text(card_text(header, data), encoding="utf-8", newline="\n")
    return failed


def main() -> int:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description="Keep the catalog's cards up to date.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    cards = verbs.add_parser("cards", help="write the cards of keras-hub's presets anew")
    cards.add_argument("--check", action="store_true", help="write nothing; exit 1 where a card differs")
    hashes = verbs.add_parser("hashes", help="download, verify, and fill open revisions and hashes in")
    hashes.add_argument("names", nargs="+", metavar="NAME", help="data sets and backbones of the catalog")
    arguments = parser.parse_args()
    try:
        failed = refresh_cards(check=arguments.check) if arguments.verb == "cards" else refresh_hashes(arguments.names)
    except ZooError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
