"""The model card: README.md with the metadata that the Hugging Face Hub reads, from what stands in a run folder.

In comes the folder of a run that was tested; out comes Markdown with a YAML head. What is not known (a licence, an
identifier on the Hub) is left out of the head and said in the text. Nothing is asked of the network. Refused: a run
without figures of its test split (OutputError).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from zoo.data.catalog import (
    BackboneCard,
    Card,
    DatasetCard,
    backbone_card,
    backbone_names,
    dataset_card,
    dataset_names,
)
from zoo.errors import OutputError
from zoo.recipe import load_recipe
from zoo.recipe.several import data_of
from zoo.report import pages
from zoo.report.report import further_figures
from zoo.runs.opening import open_run
from zoo.runs.run_folder import RunFolder
from zoo.tasks import Task

__all__ = ["model_card", "write_card"]

LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit"}
"""How the catalog writes a licence -> how the Hub calls it."""
METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1": ("f1", "F1"),
    "precision": ("precision", "Precision"),
    "recall": ("recall", "Recall"),
    "exact_match": ("exact_match", "Exact match"),
    "matthews": ("matthews_correlation", "Matthews correlation"),
    "roc_auc": ("roc_auc", "Area under ROC"),
}
"""Our figures -> the Hub's name of a metric, and ours for people."""
AVERAGED = ("f1", "precision", "recall")
"""Figures that `Task.averaged` speaks of."""
USAGE = """\
This folder is a run of text-zoo; its model runs on any of Keras's backends:

```sh
python -m zoo.{command}
```

```python
import zoo

run = zoo.load_run("THIS_FOLDER")
print(run.{call})
```
"""
BEGUN = """\
This folder is a run of text-zoo; its backbone is what another run of it begins with:

```sh
python -m zoo.run RECIPE --set model.backbone.preset=THIS_FOLDER
```
"""
"""Of a task that has no answers."""
USES = {
    "predict": {"command": 'predict THIS_FOLDER --text "..."', "call": 'predict(["..."])[0]'},
    "fill": {"command": 'fill THIS_FOLDER "... [MASK] ..."', "call": 'fill("... [MASK] ...")'},
}
"""By the verb that answers."""


def model_card(folder: str | Path, *, library_name: str = "text-zoo", usage: str | None = None) -> str:
    """README.md of a run's model.

    Args:
        folder: the run.
        library_name: what loads the files that the card will stand beside, as the Hub calls it.
        usage: Markdown that says how they are used; None says it of the run folder.

    Raises:
        OutputError: there is no run, or it has no figures of its test split.
        RecipeError: its recipe.yaml is damaged.
    """
    found = open_run(folder)
    run = found.run
    if "test" not in run.get("metrics", {}):
        raise OutputError(f"{found.path} was not tested, expected a finished run: train it to its end first")
    test = run["metrics"]["test"]
    recipe = load_recipe(found.path / "recipe.yaml").model_dump(mode="json")
    predictions = found.predictions
    backbone, datasets = _backbone(recipe), _datasets(recipe)
    carved = bool(predictions) and "train/" in predictions[0]["id"]
    task = found.task
    return pages.markdown(
        "README.md.j2",
        head=_metadata(run, recipe, backbone, datasets, task, library_name=library_name, carved=carved).to_yaml(),
        run=run,
        recipe=recipe,
        backbone=backbone,
        datasets=[card for card in datasets.values() if card is not None],
        own=None in datasets.values(),
        task=task,
        figures=[
            (task.titles[name], _figure(task, name, test, value))
            for name, value in {**test, **further_figures(found, predictions)}.items()
            if name in task.titles and value is not None
        ],
        test=test,
        carved=carved,
        usage=usage or (USAGE.format(**USES[task.served_by.get("predict", "predict")]) if task.answers else BEGUN),
    )


def write_card(folder: RunFolder) -> Path:
    """Write the card into the run folder, as README.md; its path. Raises as `model_card`."""
    return folder.write_text("README.md", model_card(folder.path))


def _figure(task: Task, name: str, test: Mapping[str, Any], value: float) -> str:
    """A figure for people, with its interval where it has one."""
    rows = test.get(f"{name.partition('.')[0]}.rows", test.get("rows"))  # of several tasks those of its own
    told = pages.figure(task, name, value, rows)
    low, high = (test.get(f"{name}_{end}") for end in ("low", "high"))
    if low is None:
        return told
    return f"{told} (95% interval {pages.share(low, rows)} to {pages.share(high, rows)}, Wilson 1927)"


def _metadata(
    run: Mapping[str, Any],
    recipe: Mapping[str, Any],
    backbone: BackboneCard | None,
    datasets: Mapping[str, DatasetCard | None],
    task: Task,
    *,
    library_name: str,
    carved: bool,
) -> ModelCardData:
    """The head of the card; a key whose value is not known is None, and left out."""
    preset = recipe["model"]["backbone"].get("preset")
    test = run["metrics"]["test"]
    hubs = {name: _on_hub(card, "datasets/") for name, card in datasets.items()}
    data = data_of(recipe)
    average = {"average": "macro"} if task.averaged else None
    results = [
        EvalResult(
            task_type=task.pipeline,
            task_name=task.pipeline.replace("-", " ").title(),
            dataset_type=hubs[own][0] or data[own].get("dataset") or "files",
            dataset_name=card.title if card else f"files of {recipe['name']}",
            dataset_split="train" if carved else "test",
            dataset_revision=hubs[own][1],
            metric_type=kind,
            metric_name=title,
            metric_value=test[figure],
            metric_args=average if name in AVERAGED else None,
        )
        for own, card in datasets.items()
        for name, (kind, title) in METRICS.items()
        if test.get(figure := f"{own}.{name}" if own else name) is not None
    ]
    languages = {card.language for card in datasets.values() if card is not None}
    known = [name for name, _ in hubs.values() if name is not None]
    return ModelCardData(
        language=languages.pop() if len(languages) == 1 else None,
        license=_licence(preset, backbone, tuple(datasets.values())),
        library_name=library_name,
        pipeline_tag=task.pipeline,
        tags=[task.pipeline, recipe["model"]["backbone"]["family"], "text-zoo"],
        datasets=known or None,
        base_model=_on_hub(backbone, "")[0] or _hub_preset(preset),
        metrics=[METRICS[name][0] for name in task.headline if name in METRICS and test.get(name) is not None],
        model_name=recipe["name"],
        eval_results=results or None,
    )


def _licence(preset: str | None, backbone: BackboneCard | None, datasets: Sequence[DatasetCard | None]) -> str | None:
    """The backbone's licence, or the data's under a fresh backbone; None unless those of all are known and open.

    Whoever publishes a model decides on its licence; this one never claims more than what it was made from allows.
    """
    if None in datasets or (preset and backbone is None):
        return None
    terms = [LICENCES.get(card.license.partition(" (")[0]) for card in (backbone, *datasets) if card]
    return terms[0] if all(terms) else None


def _on_hub(card: Card | None, kind: str) -> tuple[str | None, str | None]:
    """Identifier and revision on the Hub, from a card's first origin there, else from its homepage."""
    origins = card.origins if isinstance(card, DatasetCard | BackboneCard) else ()
    for origin in origins:
        if found := re.fullmatch(rf"hf://{kind}([^/@]+/[^/@]+)(?:@(.+))?", origin.uri):
            return found[1], found[2]
    page = re.fullmatch(rf"https://huggingface\.co/{kind}([^/]+/[^/]+)/?", card.homepage) if card else None
    return (page[1], None) if page else (None, None)


def _hub_preset(preset: str | None) -> str | None:
    found = re.fullmatch(r"hf://([^/@]+/[^/@]+)(@.*)?", preset or "")
    return found[1] if found else None


def _backbone(recipe: Mapping[str, Any]) -> BackboneCard | None:
    preset = recipe["model"]["backbone"].get("preset")
    return backbone_card(preset) if preset in backbone_names() else None


def _datasets(recipe: Mapping[str, Any]) -> dict[str, DatasetCard | None]:
    """The card of each task's data, by the name of the task; None where they are files, or no longer known."""
    names = {own: data.get("dataset") for own, data in data_of(recipe).items()}
    return {own: dataset_card(name) if name in dataset_names() else None for own, name in names.items()}
