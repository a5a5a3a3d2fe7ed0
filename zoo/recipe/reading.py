"""A recipe file, with a profile and overrides on top, to a `Recipe`; and a `Recipe` back to text.

In comes the path of a YAML file (or plain data), the name of one of its profiles, and overrides
`dotted.key=value`; out goes a frozen `Recipe`, its relative file paths made absolute against the
file's folder. A profile or an override replaces, whole, what stands at its key. Refused, with every
fault at once: what is no text of at most MAX_BYTES, what yaml12.py and the types refuse, an unknown
profile, a key that does not exist; and so of each stage, as a whole recipe.
"""

from __future__ import annotations

import difflib
import os.path
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, Self

from pydantic import PrivateAttr

from zoo.errors import RecipeError
from zoo.recipe import notebook
from zoo.recipe.faults import find_faults, not_among
from zoo.recipe.hiding import hide_line
from zoo.recipe.overlays import lay, lay_group, plain
from zoo.recipe.showing import is_unicode
from zoo.recipe.staging import stage_documents
from zoo.recipe.types import Keys
from zoo.recipe.yaml12 import Document, Fault, Path, Place, read_yaml, write_yaml

MAX_BYTES = 256 * 1024
TEACHER: Path = ("training", "distil", "teacher")
WITHHELD = {"version": "it in the recipe file alone", "profiles": "it in the recipe file alone"}
"""What a profile or an override cannot say, and what is expected instead."""

Overrides = Mapping[str, Any] | Sequence[str]
"""`{"training.epochs": 1}`, or `["training.epochs=1"]` with the value in YAML."""


class Recipe(Keys):
    """All that decides a run."""

    _profile: str | None = PrivateAttr(default=None)

    @property
    def profile(self) -> str | None:
        """The profile that was laid over the file; None without one, and of a recipe that a run wrote down."""
        return self._profile

    def told_of(self, profile: str | None) -> Self:
        """This recipe, which from now on knows the profile that was laid over its file; that decides nothing."""
        self._profile = profile
        return self

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """A new recipe with the values of some dotted keys replaced, as `{"training.epochs": 1}`.

        Raises RecipeError on an unknown key or a value that does not fit.
        """
        return recipe_from(self.model_dump(exclude_unset=True), overrides=changes).told_of(self._profile)

    def staged(self, out: str | FilePath | None = None) -> tuple[Recipe, ...]:
        """The whole recipes of its stages, in order; itself alone where it has none.

        Args:
            out: the folder of the run, in which each stage finds the one before. None gives a stage in place of that
                the backbone that the stages before began with, of the same sizes.

        Raises RecipeError where a stage is no recipe, of a recipe that was not read.
        """
        if not self.stages:
            return (self,)
        document = Document(data=plain(self.model_dump(exclude_unset=True)), source="recipe")
        stages = stage_documents(document, None if out is None else FilePath(out))
        return tuple(validate(stage.document).told_of(self._profile) for stage in stages)

    @property
    def parts(self) -> dict[str, Recipe]:
        """Of several trainings with other rows each, as `data.few_shot` has them, the recipe of each alone, by name and
        in order; none of a recipe of one."""
        return {name: self.override({**keys, "expected": None}) for name, keys in self.data.parts.items()}

    def alone(self) -> Self:
        """This recipe; RecipeError where it has stages, each of which is one."""
        if self.stages:
            names = ", ".join(stage.name for stage in self.stages)
            raise RecipeError(
                f"stages: {self.name} has {names}, expected one recipe: take one of recipe.staged(), or zoo.train it"
            )
        return self

    def of_tasks(self) -> dict[str, Recipe]:
        """Of several tasks a whole recipe of each, as if it were learned alone, by name; none of a recipe of one."""
        shared = self.model_dump(exclude_unset=True, include={"version", "name", "backend", "tokens", "seed"})
        training = self.model_dump(exclude_unset=True, include={"training"}).get("training", {})
        shared["training"] = {key: value for key, value in training.items() if key != "monitor"}
        backbone = self.model.backbone.model_dump(exclude_unset=True)
        found = {}
        for name, each in self.tasks.items():
            own = each.model_dump(exclude_unset=True, exclude={"weight"})
            head = own.pop("head", {})
            recipe = Recipe.model_validate({**shared, **own, "model": {"backbone": backbone, "head": head}})
            found[name] = recipe.told_of(self._profile)
        return found

    @property
    def with_data(self) -> tuple[Recipe, ...]:
        """The recipes that have data: this one, or that of each of its tasks."""
        return tuple(self.of_tasks().values()) or (self,)

    @property
    def told_data(self) -> str:
        """What its data are called."""
        return ", ".join(each.data.dataset or "own files" for each in self.with_data)

    def _repr_html_(self) -> str:
        """In a notebook: what matters most, and all of it as YAML."""
        backbone, training = self.model.backbone, self.training
        rows = [
            ("task", ", ".join(f"{each.task}, a {each.model.head.type} head" for each in self.with_data)),
            ("data", self.told_data),
            ("backbone", backbone.preset or f"a fresh {backbone.family}"),
            ("tokens", f"at most {self.tokens.max_length}"),
            ("training", f"{training.epochs} epochs of batches of {training.batch_size}"),
            ("optimizer", f"{training.optimizer.type}, learning rate {training.optimizer.learning_rate:g}"),
            *[("stages", ", ".join(stage.name for stage in self.stages))] * bool(self.stages),
        ]
        told = notebook.table(rows) + notebook.folded("recipe.yaml", notebook.preformatted(dump_recipe(self)))
        return notebook.heading(self.name, "a recipe") + told


def load_recipe(path: str | FilePath, *, profile: str | None = None, overrides: Overrides = ()) -> Recipe:
    """The recipe of a file; raises RecipeError with every fault, each with its place."""
    document = resolved(read_document(path), folder=FilePath(path).parent, profile=profile, overrides=overrides)
    return validate(document).told_of(profile)


def validate(document: Document) -> Recipe:
    """The recipe that a document holds; raises RecipeError with every fault."""
    faults = find_faults(document)
    if faults:
        raise RecipeError(str(fault) for fault in faults)
    return Recipe.model_validate(document.data)


def recipe_from(data: Mapping[str, Any], *, overrides: Overrides = (), folder: FilePath | None = None) -> Recipe:
    """The recipe of plain data, as YAML would give it; relative paths stay as they are without a `folder`."""
    document = Document(data=plain(data), source="recipe")
    return validate(resolved(document, folder=folder, overrides=overrides))


def dump_recipe(recipe: Recipe, folder: FilePath | None = None) -> str:
    """YAML text of a recipe with every default written out and no profiles; reading it gives an equal recipe.

    Args:
        recipe: what is written.
        folder: of a run, where the text will stand: another run beside it is named from there, so that both can be
            moved together.
    """
    data = _told(recipe, recipe.model_dump(exclude={"profiles", "data"} if recipe.tasks else {"profiles"}))
    backbone = data["model"]["backbone"]
    if folder is not None and (preset := backbone.get("preset")) is not None:
        backbone["preset"] = _from(folder, preset)
    if folder is not None and (distil := data["training"].get("distil")) is not None:
        distil["teacher"] = _from(folder, distil["teacher"])
    return write_yaml(data)


def _from(folder: FilePath, path: str) -> str:
    """The path, from a folder on where both lie in one; else as it is."""
    whole = FilePath(os.path.abspath(folder))
    beside = os.path.isabs(path) and os.path.dirname(path) == str(whole.parent)
    return os.path.join(os.pardir, os.path.basename(path)) if beside else path


def read_document(path: str | FilePath) -> Document:
    """The text of a recipe file as plain data with places, its faults noted in it; profiles still in it.

    Raises RecipeError where there is no text to read, or its YAML is broken.
    """
    path = FilePath(path)
    text = _text(path)
    document = read_yaml(text, str(path))
    if document.data is None and not document.faults:
        raise RecipeError(f"{path}  got an empty file, expected a recipe with name, data and model")
    return document


def profile_names(document: Document) -> tuple[str, ...]:
    """The profiles that a recipe file offers."""
    profiles = document.data.get("profiles") if isinstance(document.data, dict) else None
    return tuple(profiles) if isinstance(profiles, dict) else ()


def resolved(
    document: Document, *, folder: FilePath | None = None, profile: str | None = None, overrides: Overrides = ()
) -> Document:
    """A new document: the profile laid over it, then the overrides, then its file paths made absolute."""
    document = Document(
        data=plain(document.data),
        source=document.source,
        keys=dict(document.keys),
        values=dict(document.values),
        faults=list(document.faults),
    )
    if profile is not None:
        _lay_profile(document, profile)
    for key, value in _changes(document, overrides):
        place = Place(source=f"{'override' if isinstance(overrides, Mapping) else '--set'} {key}")
        over = value if isinstance(value, Document) else Document(data=plain(value), source=place.source)
        over.values = dict.fromkeys(over.values, place) | {(): place}
        over.keys = dict.fromkeys(over.keys, place)
        lay(document, key, over, place, withheld=WITHHELD)
    if folder is not None:
        _anchor(document.data, folder)
    return document


def _text(path: FilePath) -> str:
    if os.path.isdir(path):  # Path.is_dir raises on names of more than 255 bytes
        found = ", ".join(sorted(child.name for child in path.glob("*.yaml"))[:10])
        raise RecipeError(f"{path}  got a folder, expected a recipe file{f', as one of {found}' if found else ''}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait until somebody writes into it
            raise RecipeError(f"{path}  got a pipe or a device, expected a recipe file: save the text to one")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"{path}  got no such file, expected a recipe{near_files(path)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RecipeError(f"{str(path)!r}  got a file that cannot be read ({reason}), expected a recipe") from error
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{path}  got more than {MAX_BYTES // 1024} KB, expected a recipe of a few KB")
    if b"\0" in raw:
        raise RecipeError(f"{path}  got a binary file, expected a recipe: text in YAML")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}  got the byte 0x{raw[error.start]:02x} at offset {error.start}, expected UTF-8: save it as UTF-8"
        ) from error


def near_files(path: FilePath) -> str:
    """A did-you-mean from the recipe files of the folder, or a word on the folder where that is missing too."""
    folder = path.parent
    if not os.path.isdir(folder):
        return f": the folder {folder} does not exist either"
    names = sorted(child.name for child in folder.iterdir() if child.suffix in (".yaml", ".yml"))
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    near += [name for name in names if FilePath(name).stem == path.stem and name not in near]
    return f" (did you mean {' or '.join(str(folder / name) for name in near)}?)" if near else ""


def _lay_profile(document: Document, profile: str) -> None:
    names = profile_names(document)
    if profile not in names:
        place = document.place(("profiles",), of_key=True)
        document.faults.append(Fault(place=place, path=("profile",), message=not_among(profile, names)))
        return
    overlay = document.data["profiles"][profile]
    if not isinstance(overlay, dict):
        return  # the types say that a profile is a group
    document.data.pop("expected", None)  # the figures are those of the recipe as it stands, not of this profile
    lay_group(document, document, ("profiles", profile), withheld=WITHHELD)


def _changes(document: Document, overrides: Overrides) -> list[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    if isinstance(overrides, str):
        overrides = [overrides]
    changes: list[tuple[str, Any]] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            message = f"got {hide_line(text)!r}, expected dotted.key=value"
            document.faults.append(Fault(place=Place(source="--set"), path=(), message=message))
            continue
        if not is_unicode(text):  # each stands for a byte that is not UTF-8
            message = f"got {hide_line(text)!a}, which is not UTF-8, expected dotted.key=value in UTF-8"
            document.faults.append(Fault(place=Place(source="--set"), path=(), message=message))
            continue
        label = f"--set {key}"
        try:
            over = read_yaml(value, label)
        except RecipeError as error:
            message = f"{str(error).partition('  ')[2]}\n    quote the value to give it as text"
            document.faults.append(Fault(place=Place(source=label), path=tuple(key.split(".")), message=message))
            continue
        path = tuple(key.split("."))
        document.faults += [replace(fault, place=Place(source=label), path=path + fault.path) for fault in over.faults]
        over.faults = []
        changes.append((key, over))
    return changes


def _anchor(group: Any, folder: FilePath, prefix: Path = ()) -> None:
    """Make the paths of files absolute, in place: those of the recipe, of its profiles and of its stages."""
    if not isinstance(group, dict):
        return
    for key, value in group.items():
        path = (*prefix, *key.split("."))
        if path == ("profiles",) and isinstance(value, dict):
            for overlay in value.values():
                _anchor(overlay, folder)
        elif path == ("stages",) and isinstance(value, list):
            for overlay in value:
                _anchor(overlay, folder)
        elif isinstance(value, dict):
            _anchor(value, folder, path)
        elif isinstance(value, str) and value and "\0" not in value and _means_a_path(path, value, folder):
            group[key] = os.path.abspath(folder / _home(value))


def _means_a_path(path: Path, value: str, folder: FilePath) -> bool:
    """Files always do; a preset or a vocabulary only where it looks like a path, or lies beside the recipe; a teacher
    where it looks like one."""
    if path[:1] == ("tasks",):
        path = path[2:]
    if path == TEACHER:
        return value.startswith((".", "~")) or "/" in value.replace("://", "")  # a word alone is the name of a stage
    if path[:2] == ("data", "files"):
        return path[2:] in (("train",), ("validation",), ("test",))
    if path not in (("model", "backbone", "preset"), ("model", "backbone", "vocabulary")) or "://" in value:
        return False
    return value.startswith((".", "/", "~")) or os.path.exists(folder / value)


def _home(path: str) -> str:
    try:
        return os.path.expanduser(path)
    except UnicodeEncodeError:  # a lone surrogate in `~user`, which the types refuse
        return path


def _told(group: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The dumped data without what is None or empty by default anyway."""
    told = {}
    for key, value in data.items():
        below = group[key] if isinstance(group, dict) else getattr(group, key)
        if not isinstance(group, dict) and (value is None or value in ({}, ())):
            field = type(group).model_fields[key]
            if field.get_default(call_default_factory=True) == value:
                continue
        told[key] = _told(below, value) if isinstance(value, dict) else value
    return told
