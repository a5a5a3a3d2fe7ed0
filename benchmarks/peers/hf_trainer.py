"""The Hugging Face Trainer on a recipe: what a user would pick instead.

    python benchmarks/peers/hf_trainer.py quickstart --profile cpu --setting tuned               # a whole run
    python benchmarks/peers/hf_trainer.py quickstart --profile cpu --setting tuned --speed-only  # blocks of steps

Weights, rows, splits, label numbers, batch size, schedule, groups of weight decay, clipping, epochs and seed are the
recipe's. `--setting notebook` is what the tutorials do: rows padded to 128 tokens, float32, eager attention. `tuned` is
the fastest that we could make it: dynamic padding, batches of like length, fused attention and optimizer, TF32 or
bfloat16 where a trial shows it faster. `pipeline` predicts only. Out comes a line of JSON, as from
benchmarks/measure.py.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# All that is needed lies in the zoo's cache: no file is asked for anywhere else.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tokenizing is over before a data loader could fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from benchmarks import protocol
from benchmarks.peers.hf_model import (
    SETTINGS,
    Material,
    Setting,
    build,
    load_material,
    optimizer_of,
    padded,
)
from benchmarks.protocol import Answer
from zoo.backend import keep_freed_memory
from zoo.errors import RecipeError
from zoo.recipe import Recipe
from zoo.recipe.length import run_length
from zoo.runs.account import Stopwatch


def whole_run(recipe: Recipe, setting: Setting, watch: Stopwatch) -> Answer:
    """Train and evaluate by transformers.Trainer; figures under the keys that measure.py has."""
    with watch.measure("import"):
        import transformers

        from benchmarks.peers import hf_speed
    material = load_material(recipe, watch)
    with watch.measure("build"):
        model = build(material, setting)
        optimizers = optimizer_of(material, model)
    with watch.measure("choose_precision"):
        precision = hf_speed.choose_precision(model.train(), material, setting)
    transformers.set_seed(recipe.seed)
    keeper = _keep_best(material)
    rows: Any = {name: split.features() for name, split in material.rows.items()}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = transformers.Trainer(
            model=model,
            args=training_arguments(material, setting, precision, Path(scratch)),
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            data_collator=lambda rows: _collate(rows, setting, material.tokenizer.pad_token_id),
            optimizers=optimizers,
            compute_metrics=lambda found: _figures(material, found.predictions, found.label_ids),
            callbacks=[keeper],
        )
        with hf_speed.multiplying(precision):
            trainer.train()
            keeper.restore(model)
            with watch.measure("evaluate"):
                found = trainer.predict(rows["test"])
    # As the zoo's own clock: the steps, and not the validation between the epochs.
    watch.seconds["train"] = sum(epoch["seconds"] for epoch in keeper.epochs)
    config, lengths = recipe.training, material.rows["train"].lengths
    length = run_length(config, rows=len(lengths))
    task = material.dataset.task
    labels: Any = found.label_ids
    test = _figures(material, found.predictions, labels)
    tested = list(task.rows(material.dataset.test.ids, labels, task.values(found.predictions)))
    examples = min(length.steps * config.batch_size, length.epochs * len(lengths))
    return {
        "precision": precision,
        "seed": recipe.seed,
        "loop": "transformers.Trainer",
        **hf_speed.told_of(material),
        **hf_speed.environment(),
        "test": test,
        "tally": protocol.tallied(test, tested, task.names),
        "timing": {
            "total_seconds": watch.total(),
            **{f"{name}_seconds": value for name, value in watch.seconds.items()},
            "examples_per_second": examples / watch.seconds["train"],
            "tokens_per_second": examples * float(lengths.mean()) / watch.seconds["train"],
        },
        "memory": hf_speed.memory(),
        "time_to_target_seconds": protocol.seconds_to_target(recipe, keeper.epochs),
    }


def training_arguments(material: Material, setting: Setting, precision: str, folder: Path) -> Any:
    """transformers.TrainingArguments of a recipe: nothing is logged or saved on the way."""
    import transformers

    from benchmarks.peers.hf_model import device

    config = material.recipe.training
    length = run_length(config, rows=len(material.rows["train"].ids))
    return transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=length.epochs,
        max_steps=length.steps if config.steps is not None else -1,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.eval_batch_size or 2 * config.batch_size,
        max_grad_norm=config.optimizer.clip_norm or 0.0,
        train_sampling_strategy="group_by_length" if setting.grouped else "random",
        bf16=precision == "bfloat16",
        use_cpu=device().type == "cpu",
        seed=material.recipe.seed,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        # Rows are token ids in memory already; collating a batch takes less than handing it over from a worker.
        dataloader_num_workers=0,
        dataloader_pin_memory=device().type == "cuda",
        remove_unused_columns=False,
    )


def _collate(features: Sequence[dict[str, Any]], setting: Setting, pad: int) -> dict[str, Any]:
    """A batch for Trainer, padded as the blocks of hf_speed.py are."""
    import numpy as np
    import torch

    from benchmarks.peers.hf_model import Rows

    rows = Rows(
        ids=[row["input_ids"] for row in features],
        segments=[row["token_type_ids"] for row in features] if "token_type_ids" in features[0] else None,
        labels=np.array([row["labels"] for row in features], np.int64),
    )
    batch = padded(rows, list(range(len(features))), setting, pad)
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def _figures(material: Material, logits: Any, labels: Any) -> dict[str, float]:
    """The zoo's own figures of the peer's logits [rows, classes] and the labels [rows]."""
    task = material.dataset.task
    return task.figures(task.values(logits), labels)


def _keep_best(material: Material) -> Any:
    """A callback that does what the recipe's `keep: best` says, in memory, and times the epochs."""
    import transformers

    config, monitor = material.recipe.training, material.recipe.monitor

    class KeepBest(transformers.TrainerCallback):  # type: ignore[misc]
        """The weights of the best epoch, and a row an epoch as the zoo's history has it."""

        def __init__(self) -> None:
            self.epochs: list[dict[str, Any]] = []
            self._best: float | None = None
            self._weights: Any = None
            self._begun = 0.0

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self._begun = time.perf_counter()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.epochs.append({"seconds": time.perf_counter() - self._begun, "validation": {}})

        def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            figures = {name.removeprefix("eval_"): value for name, value in rest["metrics"].items()}
            self.epochs[-1]["validation"] = figures
            score = figures[monitor] * (-1.0 if monitor in material.dataset.task.falling else 1.0)
            if config.keep == "best" and (self._best is None or score > self._best):
                self._best, self._weights = score, copy.deepcopy(rest["model"].state_dict())

        def restore(self, model: Any) -> None:
            if self._weights is not None:
                model.load_state_dict(self._weights)

    return KeepBest()


def main(argv: Sequence[str] | None = None) -> int:
    parser = protocol.arguments("Measure transformers on a recipe.")
    parser.add_argument("--setting", choices=sorted(SETTINGS), default="tuned", help="how transformers is used")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "tf32", "bfloat16"),
        help="of matrix products; default: the setting's",
    )
    options = parser.parse_args(argv)
    setting = SETTINGS[options.setting]
    if options.precision is not None:
        setting = replace(setting, precision=options.precision)
    watch = Stopwatch()
    if options.setting != "notebook":
        keep_freed_memory()  # as the zoo does: its fastest has what ours has

    def whole(recipe: Recipe) -> Answer:
        if options.setting == "pipeline":
            raise RecipeError("--setting: got pipeline, expected notebook or tuned: a pipeline does not train")
        return whole_run(recipe, setting, watch)

    def subject(recipe: Recipe) -> protocol.Subject:
        with watch.measure("import"):
            from benchmarks.peers import hf_speed
        kind = hf_speed.Pipeline if options.setting == "pipeline" else hf_speed.Training
        return kind(load_material(recipe, watch), setting, watch)

    return protocol.run(options, whole=whole, subject=subject)


if __name__ == "__main__":
    raise SystemExit(main())
