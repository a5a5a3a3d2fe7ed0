"""A search whose trials are real runs: the test split is looked at by none, and the best one can be had again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo import cli
from zoo.recipe import dump_recipe, load_recipe
from zoo.run import train
from zoo.runs.run_folder import RunFolder
from zoo.runs.screen import Screen
from zoo.sweep.outcome import rows_of, trial_folder
from zoo.sweep.reading import read_plan
from zoo.sweep.study import begin, line_up, open_study, worker_lock
from zoo.sweep.working import work
from zoo.training.session import Session

SEARCH = """
name: real
recipe: quickstart
profile: smoke
overrides:
  training.epochs: 2
  model.backbone.num_layers: 1
  model.backbone.hidden_dim: 32
  model.backbone.intermediate_dim: 64
search: {training.optimizer.learning_rate: [1.0e-3, 3.0e-3]}
sampler: grid
"""


def test_no_trial_looks_at_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real.yaml").write_text(SEARCH, encoding="utf-8")
    plan, out = read_plan(tmp_path / "real.yaml", cli.find_recipe), tmp_path / "out"
    out.mkdir()
    looked: list[str] = []
    logits = Session.logits

    def watched(session: Session, split: str, *rest: Any, **named: Any) -> Any:
        looked.append(split)
        return logits(session, split, *rest, **named)

    monkeypatch.setattr(Session, "logits", watched)
    begin(plan, out, None, falling=False, resume=False)
    study, lock = open_study(plan, out, None), worker_lock(out, "here-1")
    line_up(study, plan)
    given: dict[str, Any] = {"log": (), "screen": Screen(quiet=True), "database": False, "over": bool}
    assert lock.take()
    work(plan, study, out, worker="here-1", label="1", train=train, **given)
    lock.release()
    rows = rows_of(study, plan, out)
    assert [row.status for row in rows] == ["complete", "complete"]
    assert set(looked) == {"validation"}
    for row in rows:
        folder = RunFolder(trial_folder(out, row.number))
        assert {*folder.run["metrics"]} == {"train", "validation"}
        assert folder.predictions == []
        assert row.value == folder.run["metrics"]["validation"]["accuracy"]
    (tmp_path / "best.yaml").write_text(dump_recipe(plan.recipe_with(rows[1].values)), encoding="utf-8")
    again = train(load_recipe(tmp_path / "best.yaml"), tmp_path / "again", progress=False)
    assert "test" in looked
    assert again.metrics["validation"]["accuracy"] == rows[1].value
