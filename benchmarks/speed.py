"""The speed of several processes, side by side, in an order of turns.py.

In come a recipe and its contenders; out come their figures and the ratios between the zoo and its peers, each the
median over rounds. A contender that fails is left out from then on, and its row says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import device, protocol, turns
from benchmarks.processes import Answer, Contender

ROUNDS = 5
SECONDS = 600.0
"""One process at a time: how long a recipe may take."""

TRAIN = "train_tokens_per_second"
PREDICT = "predict_examples_per_second"

Round = Mapping[str, Mapping[str, Answer]]
"""Answers of one round: by contender, by what was asked."""
Ratios = dict[str, dict[str, dict[str, dict[str, float]]]]
"""By figure, by peer, by the zoo's contender: median, quartiles and number of rounds of zoo / peer."""


def measure(
    recipe: str,
    profile: str | None,
    changes: tuple[str, ...],
    contenders: Sequence[Contender],
    *,
    rounds: int,
    say: Callable[[str], None],
    alone: bool = False,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """One recipe's speed.

    Args:
        recipe, profile, changes: what to do, as on the command line.
        contenders: who does it.
        rounds: blocks of each; fewer where they take too long.
        say: told what goes on.
        alone: one process at a time, as an accelerator wants it; else all take turns.
        seconds: alone, all are over by then.

    Returns:
        recipe, profile, alone, rows (a contender each, with `failed` where it did; `rounds` are
        the figures of each), ratios and equal_labels.
    """
    waiting = sorted(contenders, key=lambda contender: not contender.is_peer)

    def told(text: str) -> None:
        say(f"{recipe}: {text}")

    if alone:
        start = turns.starting(recipe, profile, changes)
        found = turns.one_at_a_time(waiting, start, rounds=rounds, seconds=seconds, say=told)
    else:
        found = turns.in_turns(waiting, turns.starting(recipe, profile, changes), rounds=rounds, say=told)
    rows = [
        {
            "contender": name,
            "peer": contender.is_peer,
            **{key: value for key, value in answer.items() if key not in ("answers", "labels")},
            **protocol.figures([answers[name] for answers in found.rounds if name in answers]),
            "rounds": [protocol.rates(answers[name]) for answers in found.rounds if name in answers],
            **_data_sheet(answer),
            "memory": found.memory[name],
        }
        for name, (contender, answer) in sorted(found.ready.items(), key=lambda pair: pair[1][0].is_peer)
        if name not in found.failed
    ]
    rows += [{"contender": name, "peer": who.is_peer, "failed": why} for name, (who, why) in found.failed.items()]
    whole = {name: pair for name, pair in found.ready.items() if name not in found.failed}
    return {
        "recipe": recipe,
        "profile": profile,
        "alone": alone,
        "rows": rows,
        "ratios": ratios(found.rounds, [who for who, _ in whole.values()]),
        "equal_labels": equal_labels({name: answer.get("labels") for name, (_, answer) in whole.items()}),
    }


def _data_sheet(answer: Answer) -> dict[str, float]:
    """The maker's peak of the device, where its name is known."""
    peak = device.data_sheet(str(answer.get("device", "cpu")), answer["precision"])
    return {} if peak is None else {"data_sheet_flops_per_second": peak}


def ratios(rounds: Sequence[Round], contenders: Sequence[Contender]) -> Ratios:
    """Zoo over peer, round by round, for the figures that both have."""
    found: Ratios = {}
    values = [{name: protocol.rates(answers) for name, answers in each.items()} for each in rounds]
    for figure in (TRAIN, PREDICT):
        for peer in (who.name for who in contenders if who.is_peer):
            for ours in (who.name for who in contenders if not who.is_peer):
                pairs = [
                    each[ours][figure] / each[peer][figure]
                    for each in values
                    if figure in each.get(ours, {}) and figure in each.get(peer, {})
                ]
                if pairs:
                    found.setdefault(figure, {}).setdefault(peer, {})[ours] = protocol.spread(pairs)
    return found


def equal_labels(labels: Mapping[str, list[int] | None]) -> dict[str, float]:
    """Share of texts to which each contender gives the pipeline's label, all under the same, untrained weights."""
    theirs = labels.get("hf_pipeline")
    if theirs is None:
        return {}
    return {
        name: statistics.fmean(a == b for a, b in zip(ours, theirs, strict=True))
        for name, ours in labels.items()
        if ours is not None and name != "hf_pipeline"
    }


def flat(measured: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Ratios under flat keys, each the lowest over the recipes: whatever is claimed holds for all of them.

    `ratio.FIGURE.PEER.CONTENDER` is one contender's, `ratio.FIGURE.PEER` the best contender's of each recipe; and
    `equal_labels` is the lowest share of any contender.
    """
    found: dict[str, float] = {}

    def keep_lowest(key: str, value: float) -> None:
        found[key] = min(value, found.get(key, value))

    for each in measured:
        for figure, peers in each["ratios"].items():
            for peer, ours in peers.items():
                keep_lowest(f"ratio.{figure}.{peer}", max(values["median"] for values in ours.values()))
                for name, values in ours.items():
                    keep_lowest(f"ratio.{figure}.{peer}.{name}", values["median"])
        for share in each["equal_labels"].values():
            keep_lowest("equal_labels", share)
    return found
