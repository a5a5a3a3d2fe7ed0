"""The families of encoders that there are, by name."""

from __future__ import annotations

from zoo.model.bert import BERT
from zoo.model.distilbert import DISTILBERT
from zoo.model.family import Family
from zoo.model.roberta import ROBERTA

FAMILIES: dict[str, Family] = {family.name: family for family in (BERT, DISTILBERT, ROBERTA)}
