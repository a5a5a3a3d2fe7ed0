"""What the recipe's types are made of: the base of a group, and the kinds of its values.

A `Config` is frozen and keyword-only, takes no unknown keys and coerces nothing. What one key alone can
get wrong is said by its kind; what several keys contradict each other in, by `Config.clashes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field

from zoo.recipe.hiding import looks_secret

Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$",
        max_length=64,
        json_schema_extra={"x-expected": "a name of at most 64 letters, digits, `_` and `-`"},
    ),
]
FigureName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)?$",
        max_length=128,
        json_schema_extra={"x-expected": "the name of a figure, or of a task and its figure as imdb.accuracy"},
    ),
]


def _no_secret(text: str) -> str:
    if looks_secret(text):
        raise ValueError("a secret")
    return text


Text = Annotated[
    str,
    Field(
        min_length=1,
        pattern=r"^[^\x00]+$",
        json_schema_extra={"x-expected": "text (not empty, no NUL, no secret)"},
    ),
    AfterValidator(_no_secret),
]
Names = Annotated[tuple[Text, ...], Field(strict=False)]
Columns = Annotated[tuple[Text, ...], Field(strict=False, min_length=2)]
Pair = Annotated[tuple[Text, Text], Field(strict=False)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
Score = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=10**9)]
"""A bound where nothing else bounds it: what is larger fits into no array of 32-bit positions."""
Width = Annotated[int, Field(gt=0, le=2**16)]
"""A dimension of a backbone, or rows of a batch."""


class Clash(NamedTuple):
    """A contradiction between keys of one group, written from that group on."""

    keys: tuple[str, ...]
    """The keys that contradict each other; the message is placed at the first."""
    message: str
    """`got X, expected Y`."""


class Config(BaseModel):
    """A frozen group of recipe keys; its fields carry their documentation."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    def clashes(self) -> Iterator[Clash]:
        """Contradictions between the keys of this group; `Recipe` collects those of all groups."""
        return iter(())


def kind_or(default: str) -> Any:
    """The `type` of a group, `default` where the group leaves it out."""

    def kind(group: Any) -> Any:
        return group.get("type", default) if isinstance(group, Mapping) else getattr(group, "type", None)

    return Discriminator(kind)


def all_clashes(group: Config, prefix: str) -> Iterator[Clash]:
    """The contradictions of a group and of the groups in it, with keys written from the recipe on."""
    for clash in group.clashes():
        yield Clash(tuple(f"{prefix}{key}" for key in clash.keys), clash.message)
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, Config):
            yield from all_clashes(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            for key, each in value.items():
                if isinstance(each, Config):
                    yield from all_clashes(each, f"{prefix}{name}.{key}.")
