"""The model card: README.md with the metadata that the Hugging Face Hub reads, from what stands in a run folder.

In comes the folder of a run that was tested; out comes Markdown with a YAML head. What is not known (a licence, an
identifier on the Hub) is left out of the head and said in the text. Nothing is asked of the network. Refused: a run
without figures of its test split (OutputError).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from zoo.report import pages
from zoo.report.report import further_figures
from zoo.runs.run_folder import RunFolder, open_run
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
    backbone, dataset = _backbone(recipe), _dataset(recipe)
    carved = bool(predictions) and predictions[0]["id"].startswith("train/")
    task = found.task
    return pages.markdown(
        "README.md.j2",
        head=_metadata(run, recipe, backbone, dataset, task, library_name=library_name, carved=carved).to_yaml(),
        run=run,
        recipe=recipe,
        backbone=backbone,
        dataset=dataset,
        task=task,
        figures=[
            (task.titles[name], _figure(task, name, test, value))
            for name, value in {**test, **further_figures(found, predictions)}.items()
            if name in task.titles and value is not None
        ],
        test=test,
        carved=carved,
        usage=usage or USAGE.format(**USES[task.served_by.get("predict", "predict")]),
    )


def write_card(folder: RunFolder) -> Path:
    """Write the card into the run folder, as README.md; its path. Raises as `model_card`."""
    return folder.write_text("README.md", model_card(folder.path))


def _figure(task: Task, name: str, test: Mapping[str, Any], value: float) -> str:
    """A figure for people, with its interval where it has one."""
    rows = test.get("rows")
    told = pages.figure(task, name, value, rows)
    low, high = (test.get(f"{name}_{end}") for end in ("low", "high"))
    if low is None:
        return told
    return f"{told} (95% interval {pages.share(low, rows)} to {pages.share(high, rows)}, Wilson 1927)"


def _metadata(
    run: Mapping[str, Any],
    recipe: Mapping[str, Any],
    backbone: BackboneCard | None,
    dataset: DatasetCard | None,
    task: Task,
    *,
    library_name: str,
    carved: bool,
) -> ModelCardData:
    """The head of the card; a key whose value is not known is None, and left out."""
    preset = recipe["model"]["backbone"].get("preset")
    test = run["metrics"]["test"]
    on_hub, revision = _on_hub(dataset, "datasets/")
    average = {"average": "macro"} if task.averaged else None
    results = [
        EvalResult(
            task_type=task.pipeline,
            task_name=task.pipeline.replace("-", " ").title(),
            dataset_type=on_hub or recipe["data"].get("dataset") or "files",
            dataset_name=dataset.title if dataset else f"files of {recipe['name']}",
            dataset_split="train" if carved else "test",
            dataset_revision=revision,
            metric_type=kind,
            metric_name=title,
            metric_value=test[name],
            metric_args=average if name in AVERAGED else None,
        )
        for name, (kind, title) in METRICS.items()
        if test.get(name) is not None
    ]
    return ModelCardData(
        language=dataset.language if dataset else None,
        license=_licence(preset, backbone, dataset),
        library_name=library_name,
        pipeline_tag=task.pipeline,
        tags=[task.pipeline, recipe["model"]["backbone"]["family"], "text-zoo"],
        datasets=[on_hub] if on_hub else None,
        base_model=_on_hub(backbone, "")[0] or _hub_preset(preset),
        metrics=[METRICS[name][0] for name in task.headline if name in METRICS and test.get(name) is not None],
        model_name=recipe["name"],
        eval_results=results or None,
    )


def _licence(preset: str | None, backbone: BackboneCard | None, dataset: DatasetCard | None) -> str | None:
    """The backbone's licence, or the data's under a fresh backbone; None unless those of both are known and open.

    Whoever publishes a model decides on its licence; this one never claims more than what it was made from allows.
    """
    if dataset is None or (preset and backbone is None):
        return None
    terms = [LICENCES.get(card.license.partition(" (")[0]) for card in (backbone, dataset) if card]
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


def _dataset(recipe: Mapping[str, Any]) -> DatasetCard | None:
    name = recipe["data"].get("dataset")
    return dataset_card(name) if name in dataset_names() else None
