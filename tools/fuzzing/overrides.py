"""`--set KEY=VALUE`: keys of recipes and near them, and any value, through zoo.check."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

import recipes
from tools.fuzzing.case import REFUSED, Case, Kind, ends
from tools.fuzzing.mutating import VALUES
from zoo.recipe.flattening import flat

NAMES = ("quickstart", "multitask", "ner_bert", "squad_bert", "imdb_few_shot", "imdb_contrastive", "goemotions_bert")
KEYS = sorted({key for name in NAMES for key in flat(recipes.load(name, profile="smoke").model_dump())})
KEYS += [
    "",
    "x",
    "profiles.smoke",
    "version",
    "stages",
    "tasks.x.data",
    "data",
    "model.backbone",
    "training",
    "data.files",
]
# An argument holds any byte but NUL; one that is not UTF-8 reaches Python as a lone surrogate.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=12)
VALUE = st.sampled_from(VALUES).map(lambda value: json.dumps(value, ensure_ascii=len(str(value)) % 2 == 0)) | TEXT


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    changes = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(KEYS))
        key = draw(st.sampled_from((*(key,) * 8, key[:-1], key + ".x", key.upper(), "")))
        changes.append(draw(st.sampled_from(("{}={}",) * 9 + ("{}{}",))).format(key, draw(VALUE).replace("\0", "")))
    return Case({"recipe": draw(st.sampled_from(NAMES)), "changes": changes}, {})


def _judge(case: Case, folder: Path) -> None:
    changes = [word for change in case.about["changes"] for word in ("--set", change)]
    ends(["check", case.about["recipe"], "--profile", "smoke", *changes], 0, *REFUSED)


OVERRIDES = Kind(_cases(), _judge)
