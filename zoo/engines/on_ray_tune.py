"""The trials of a search on a Ray cluster, by Ray Tune: `python -m zoo.sweep SWEEP.yaml --engine ray`.

In come the folder of a sweep, which every node sees, and the ledger of its trials. Tune places each trial on a node and
sees whether its process lives; the ledger says which values it tries and after which epoch it is stopped. Ray has to be
installed: `zoo.sweep.study.refuse_missing` says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayTaskError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from zoo.sweep.ledger import End, Ledger, end_of, is_pruned
from zoo.sweep.outcome import trial_folder
from zoo.sweep.reading import read_kept
from zoo.sweep.trying import Train, tried
from zoo.sweep.workers import call

__all__ = ["Cluster", "cluster"]

FOLDER = "ray"
"""What Tune writes itself, in the sweep's folder."""


class Trial(tune.Trainable):  # type: ignore[misc]  # ray need not be installed
    """A trial as Tune sees it: a step is an epoch. It is trained in a thread, which waits after each epoch but the last
    for whether it is to go on."""

    def setup(self, config: Mapping[str, Any], out: Path, train: Train, log: Sequence[str]) -> None:
        """config: what `Trials.suggest` gives."""
        self._told, self._verdicts, self._asks = SimpleQueue[Mapping[str, Any]](), SimpleQueue[bool](), False
        self._plan, self._out, self._number = read_kept(out), out, config["trial"]
        folder = trial_folder(out, self._number)

        def stops(epoch: int, value: float, last: bool) -> bool:
            self._told.put({"epoch": epoch, "value": value, "last": last})
            return not last and self._verdicts.get()

        def run() -> None:
            end = end_of(lambda: tried(self._plan, config["values"], folder, train=train, log=log, stops=stops))
            self._told.put({"end": dataclasses.asdict(end), "done": True})

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def step(self) -> Mapping[str, Any]:
        if self._asks:
            self._verdicts.put(False)
        found = self._told.get()
        self._asks = not found.get("last", True)
        return found

    def cleanup(self) -> None:
        """A trial that was pruned says so in its run folder before its process goes. Ray ends it in the same way where
        the search is broken off: then it is gone on with."""
        if self._asks and is_pruned(self._plan, self._out, self._number):
            self._verdicts.put(True)
            self._thread.join()


class OfLedger:
    """What Tune asks, which the ledger knows. Of it Tune writes down nothing: the study is on the disk already, and it
    is what is gone on with."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def __getstate__(self) -> Mapping[str, Any]:
        return {}


class Trials(OfLedger, Searcher):  # type: ignore[misc]
    """Gives Tune the trials of a ledger, and tells it what became of them."""

    def suggest(self, trial_id: str) -> Any:
        if self._ledger.closed:
            return Searcher.FINISHED
        found = self._ledger.take(trial_id)
        return found and {"trial": found[0], "values": found[1]}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """A training ends in an `End`, whatever came of it: an error is its process's."""
        if error or result is None:
            self._ledger.died(trial_id)
        else:
            end = {key.removeprefix("end/"): value for key, value in result.items() if key.startswith("end/")}
            self._ledger.ended(trial_id, End(**end) if end else End(status="pruned"))

    def save(self, checkpoint_path: str) -> None:
        """See `OfLedger`."""


class Stopping(OfLedger, FIFOScheduler):  # type: ignore[misc]
    """Has Tune stop the trials that the pruner of the study gives up."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        stopped = self._ledger.stops(trial.trial_id, result["epoch"], result["value"], result["last"])
        return FIFOScheduler.STOP if stopped else FIFOScheduler.CONTINUE  # type: ignore[no-any-return]


class Cluster:
    """A cluster that this process is connected with.

    Args:
        cpus, gpus: what a training has of it.
    """

    def __init__(self, cpus: float, gpus: float) -> None:
        self._cpus, self._gpus = cpus, gpus

    @property
    def room(self) -> bool:
        """Whether there is a node now that a training fits on; a cluster may grow by one."""
        wanted = {"CPU": self._cpus, "GPU": self._gpus}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return any(all(node.get(name, 0) >= count for name, count in wanted.items()) for node in nodes)

    def __str__(self) -> str:
        cpus, gpus = (ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU"))
        return f"a trial has {self._cpus:g} of {cpus:g} CPUs and {self._gpus:g} of {gpus:g} GPUs"

    def search(self, ledger: Ledger, out: Path, *, at_once: int | None, train: Train, log: Sequence[str]) -> None:
        """Have the trials of the sweep in a folder trained, until the ledger is closed.

        at_once: how many; None is as many as there is room for.
        """
        trainable = tune.with_parameters(Trial, out=out.resolve(), train=train, log=tuple(log))
        with ledger.open():
            tune.Tuner(
                tune.with_resources(trainable, {"cpu": self._cpus, "gpu": self._gpus}),
                tune_config=tune.TuneConfig(
                    search_alg=Trials(ledger),
                    scheduler=Stopping(ledger),
                    num_samples=-1,
                    max_concurrent_trials=at_once,
                    trial_dirname_creator=lambda trial: f"{trial.config['trial']:04d}-{trial.trial_id}",
                ),
                run_config=tune.RunConfig(
                    name=time.strftime("%Y%m%d-%H%M%S"),
                    storage_path=str(out.resolve() / FOLDER),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a run has its own
                    verbose=0,
                ),
            ).fit()

    def call(self, words: Sequence[str]) -> None:
        """Run Python with some words on a node, as a training; ZooError of the kind that it ended in."""

        def there() -> None:
            call(words, environment=os.environ)

        try:
            ray.get(ray.remote(num_cpus=self._cpus, num_gpus=self._gpus)(there).remote())
        except RayTaskError as error:
            raise error.cause from None


@contextlib.contextmanager
def cluster(environment: Mapping[str, str], *, cpus: float, gpus: float | None) -> Iterator[Cluster]:
    """Connect with the cluster of RAY_ADDRESS, with the one that `ray start` began on this machine, or with one that
    ends with the block.

    Args:
        environment: what processes there have beside their own.
        cpus, gpus: what a training has; None is a GPU where the cluster has any.
    """
    # What there is to say the ledger says, and Ctrl-C is the command's.
    os.environ.update({"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1"})
    for name in ("ray.tune.tune", "ray.tune.execution.tune_controller"):  # a page of traceback a trial that died
        logging.getLogger(name).setLevel(logging.CRITICAL)
    heeded = signal.getsignal(signal.SIGTERM)
    around = {"env_vars": {**environment, "RAY_CHDIR_TO_TRIAL_DIR": "0"}}  # paths are from where the command is
    ray.init(runtime_env=around, logging_level=logging.ERROR, log_to_driver=False)
    signal.signal(signal.SIGTERM, heeded)
    try:
        yield Cluster(cpus, float("GPU" in ray.cluster_resources()) if gpus is None else gpus)
    finally:
        ray.shutdown()
