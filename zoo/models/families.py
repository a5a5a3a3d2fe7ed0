"""The families of encoders that there are, by name."""

from __future__ import annotations

from zoo.models.bert import BERT
from zoo.models.distilbert import DISTILBERT
from zoo.models.family import Family
from zoo.models.roberta import ROBERTA

FAMILIES: dict[str, Family] = {family.name: family for family in (BERT, DISTILBERT, ROBERTA)}
