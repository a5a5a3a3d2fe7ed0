"""The speed of several processes, side by side: all started and warm, then block by block in turn.

In come a recipe and its contenders; out come their figures and the ratios between the zoo and its peers, each the
median over rounds. A contender that fails is left out from then on, and its row says why.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import protocol
from benchmarks.processes import Answer, Contender, Failed, Live, command, environment

ROUNDS = 5
ROUNDS_SECONDS = 270.0
"""No round begins later than this after the first did, but for the second one."""
FLOAT32 = "training.precision=float32"

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
) -> dict[str, Any]:
    """One recipe's speed.

    Args:
        recipe, profile, changes: what to do, as on the command line.
        contenders: who does it.
        rounds: blocks of each; fewer where they take too long.
        say: told what goes on.

    Returns:
        recipe, profile, rows (a contender each, with `failed` where it did), ratios and equal_labels.
    """
    live: dict[str, Live] = {}
    ready: dict[str, tuple[Contender, Answer]] = {}
    failed: dict[str, tuple[Contender, str]] = {}
    waiting = sorted(contenders, key=lambda contender: not contender.is_peer)
    try:
        while waiting:
            contender = waiting.pop(0)
            say(f"{recipe}: {contender.name} starts and warms up")
            words = command(contender, recipe, profile, changes)
            try:
                live[contender.name] = process = Live(words, environment(contender))
            except Failed as failure:
                failed[contender.name] = (contender, str(failure))
                continue
            ready[contender.name] = (contender, process.ready)
            if not contender.is_peer and process.ready["precision"] != "float32" and _float32_peer(ready):
                waiting.insert(0, at_float32(contender))
        done = _rounds(live, ready, failed, rounds, lambda text: say(f"{recipe}: {text}"))
        memory = _memory(live, ready, failed)
    finally:
        for process in live.values():
            process.stop()
    rows = [
        {
            "contender": name,
            "peer": contender.is_peer,
            **{key: value for key, value in answer.items() if key not in ("answers", "labels")},
            **protocol.figures([answers[name] for answers in done if name in answers]),
            "memory": memory[name],
        }
        for name, (contender, answer) in sorted(ready.items(), key=lambda pair: pair[1][0].is_peer)
        if name not in failed
    ]
    rows += [{"contender": name, "peer": who.is_peer, "failed": why} for name, (who, why) in failed.items()]
    whole = {name: pair for name, pair in ready.items() if name not in failed}
    return {
        "recipe": recipe,
        "profile": profile,
        "rows": rows,
        "ratios": ratios(done, [who for who, _ in whole.values()]),
        "equal_labels": equal_labels({name: answer.get("labels") for name, (_, answer) in whole.items()}),
    }


def at_float32(contender: Contender) -> Contender:
    """The same contender, to be compared with a peer that computes in float32."""
    return Contender(
        name=f"{contender.name}_float32",
        kind=contender.kind,
        backend=contender.backend,
        options=(*contender.options, "--set", FLOAT32),
    )


def _float32_peer(ready: Mapping[str, tuple[Contender, Answer]]) -> bool:
    return any(who.is_peer and answer["precision"] == "float32" for who, answer in ready.values())


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


def _rounds(
    live: Mapping[str, Live],
    ready: Mapping[str, tuple[Contender, Answer]],
    failed: dict[str, tuple[Contender, str]],
    rounds: int,
    say: Callable[[str], None],
) -> list[dict[str, dict[str, Answer]]]:
    """The answers of each round; a contender that fails is put among the failed."""
    done: list[dict[str, dict[str, Answer]]] = []
    begun = time.perf_counter()
    for number in range(rounds):
        if number > 1 and time.perf_counter() - begun > ROUNDS_SECONDS:
            say(f"{number} rounds took long enough: the other {rounds - number} are left out")
            break
        say(f"round {number + 1} of {rounds}")
        answers: dict[str, dict[str, Answer]] = {}
        for question in protocol.BLOCKS:
            for name, process in live.items():
                if name in failed or question not in ready[name][1]["answers"]:
                    continue
                try:
                    answers.setdefault(name, {})[question] = process.ask(question)
                except Failed as failure:
                    failed[name] = (ready[name][0], str(failure))
                    answers.pop(name, None)
        done.append(answers)
    return done


def _memory(
    live: Mapping[str, Live],
    ready: Mapping[str, tuple[Contender, Answer]],
    failed: dict[str, tuple[Contender, str]],
) -> dict[str, Answer]:
    found = {}
    for name, process in live.items():
        if name in failed:
            continue
        try:
            found[name] = process.ask("memory")
        except Failed as failure:
            failed[name] = (ready[name][0], str(failure))
    return found
