"""A finished run and what one does with it: what `zoo.Run` and `zoo.load_run` are.

In comes a run folder; out come its figures, predictions, explanations and exports. Refused: a folder without a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo.backend import activate
from zoo.data.backbones import find_vocabulary, locate_backbone
from zoo.data.given import refuse_other
from zoo.errors import EnvironmentFault, RecipeError
from zoo.models.filling import Filler
from zoo.recipe.backbone_group import Backbone
from zoo.recipe.estimate import Precision
from zoo.runs import run
from zoo.runs.opening import open_run
from zoo.runs.recorded import RUN
from zoo.training.memory import within_memory

if TYPE_CHECKING:
    from zoo.explain.bias import Bias
    from zoo.explain.explained import Explanation
    from zoo.export import Exported
    from zoo.report.run_plots import RunPlots


class Run(run.Run):
    """A run folder with what one does with it; the model is loaded at the first prediction."""

    @property
    def plot(self) -> RunPlots:
        """Charts of the run, each a matplotlib figure, as `run.plot.curves()`; see `zoo.report.run_plots`."""
        from zoo.report.run_plots import RunPlots  # matplotlib takes a while

        return RunPlots(self.folder)

    def _repr_html_(self) -> str:
        from zoo.report.run_plots import in_notebook

        return in_notebook(self.folder)

    def explain(self, text: str, pair: str | None = None, *, label: str | None = None) -> Explanation:
        """Why the model gives a text its class; see `zoo.explain.explained.explain`."""
        from zoo.explain.explained import explain

        self.task.refuse("explain")
        refuse_other(pair is not None, self.takes_pairs)
        with within_memory(activate(), "what explains this text", "give a shorter text"):
            return explain(self, text, pair, label=label)

    def bias(self, templates: str | Path | None = None) -> Bias:
        """Which pronouns this masked language model finds likely beside which occupation, see `zoo.explain.bias`.

        Args:
            templates: a YAML file of groups, subjects and templates; None takes the zoo's own.
        """
        from zoo.explain.bias import OWN, measure, read_templates

        return measure(self.filler, read_templates(OWN if templates is None else templates), model=str(self.path))

    def export(self, to: str, out: str | Path | None = None) -> Exported:
        """Write the model in another program's format and check it there; see `zoo.export.export`."""
        from zoo.export import export  # most who have a run never do

        return export(self, to, out)


def open_filler(name: str) -> Filler:
    """What fills masks in texts, of a run of task: masked or of a preset with a masked-language head. No network.

    Args:
        name: the folder of a run, a backbone of the catalog, an address, or the folder of a preset.

    Raises:
        RecipeError: a name that is none, a run of another task, a preset without the head.
        EnvironmentFault: a preset that is not in the cache.
    """
    if (Path(name) / RUN).is_file():
        return load_run(name).finished().filler
    family = find_vocabulary(name).family
    if family is None:
        raise RecipeError(f"{name}: got a vocabulary, expected a run of task: masked, or a preset with weights")
    preset = locate_backbone(Backbone(family=family, preset=name))
    if preset is None:
        raise EnvironmentFault(f"{name} is not in the cache with its weights: bring it by `python -m zoo.fetch`")
    activate()
    return Filler.of_preset(preset)


def load_run(path: str | Path, *, precision: Precision | Literal["auto"] = "float32", task: str | None = None) -> Run:
    """The run in a folder.

    Args:
        path: the folder.
        precision: of matrix products in prediction. float32 is IEEE's on every device. bfloat16 is up to three times
            as quick where a device has instructions for it, and moves probabilities in their third digit: a text on the
            edge may change its label. tf32, of newer NVIDIA GPUs, lies between them. "auto" is the quickest one by a
            trial of a prediction on this device, kept in the cache: see `Run.trial`.
        task: of a run of several tasks the one that it is taken for, see `Run.of_task`; None takes it as it is.

    Raises:
        OutputError: there is no run.
        RecipeError: it has no such task.
    """
    run = Run(open_run(path), precision)
    return run if task is None else run.of_task(task)
