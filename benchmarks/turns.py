"""In which order measured processes do what: in turns while all are there, or one process at a time.

In come a recipe's contenders; out come their answers, by round. A contender that fails is left out from then on, and it
is told why. On a CPU all processes are there and take turns, block by block (`in_turns`). An accelerator is not shared:
what a process holds of its memory the others lack, and a TPU admits one; there each does several blocks and ends before
the next begins (`one_at_a_time`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks import protocol
from benchmarks.processes import Answer, Contender, Failed, Live, command, environment

ROUNDS_SECONDS = 270.0
"""In turns: no round begins later than this after the first did, but for the second one."""
STARTS = 2
"""One at a time: how often each contender is started."""
START_SECONDS = 240.0
"""One at a time: a process is ended where it takes longer, so that one that hangs does not take the others' time."""
FLOAT32 = "training.precision=float32"

Start = Callable[[Contender, float | None], Live]
"""Starts a contender, to be ended after so many seconds (None: never), and returns when it is warm; raises Failed."""
Say = Callable[[str], None]


@dataclass
class Found:
    """What a recipe's contenders answered.

    ready: of each that warmed up, the contender and what it said then.
    failed: the contender and why.
    rounds: answers by contender and by what was asked.
    memory: of each that did all it was asked.
    """

    ready: dict[str, tuple[Contender, Answer]] = field(default_factory=dict)
    failed: dict[str, tuple[Contender, str]] = field(default_factory=dict)
    rounds: list[dict[str, dict[str, Answer]]] = field(default_factory=list)
    memory: dict[str, Answer] = field(default_factory=dict)

    def started(self, contender: Contender, process: Live) -> None:
        self.ready.setdefault(contender.name, (contender, process.ready))

    def failing(self, contender: Contender, failure: Failed) -> None:
        """Nothing of a contender that failed is kept."""
        self.failed[contender.name] = (contender, str(failure))
        for answers in self.rounds:
            answers.pop(contender.name, None)
        self.memory.pop(contender.name, None)


def starting(recipe: str, profile: str | None, changes: tuple[str, ...]) -> Start:
    """How a contender is started on a recipe, given as on the command line."""

    def start(contender: Contender, seconds: float | None) -> Live:
        return Live(command(contender, recipe, profile, changes), environment(contender), seconds)

    return start


def at_float32(contender: Contender) -> Contender:
    """The same contender, to be compared with a peer that computes in float32."""
    return Contender(
        name=f"{contender.name}_float32",
        kind=contender.kind,
        backend=contender.backend,
        options=(*contender.options, "--set", FLOAT32),
    )


def _also(contender: Contender, found: Found) -> list[Contender]:
    """A contender of the zoo in float32 too, where it computes in something else and a peer in float32."""
    _, ready = found.ready[contender.name]
    if contender.is_peer or ready["precision"] == "float32":
        return []
    float32_peer = any(who.is_peer and answer["precision"] == "float32" for who, answer in found.ready.values())
    return [at_float32(contender)] if float32_peer else []


def in_turns(contenders: Sequence[Contender], start: Start, *, rounds: int, say: Say) -> Found:
    """All are started and warm, then each does a block in turn.

    Args:
        contenders: peers first.
        start: see `starting`.
        rounds: blocks of each; fewer where they take too long.
        say: told what goes on.
    """
    found = Found()
    live: dict[str, Live] = {}
    waiting = list(contenders)
    try:
        while waiting:
            contender = waiting.pop(0)
            say(f"{contender.name} starts and warms up")
            try:
                live[contender.name] = process = start(contender, None)
            except Failed as failure:
                found.failing(contender, failure)
                continue
            found.started(contender, process)
            waiting[:0] = _also(contender, found)
        _rounds(live, found, rounds, say)
        for name, process in live.items():
            if name in found.failed:
                continue
            try:
                found.memory[name] = process.ask("memory")
            except Failed as failure:
                found.failing(found.ready[name][0], failure)
    finally:
        for process in live.values():
            process.stop()
    return found


def _rounds(live: Mapping[str, Live], found: Found, rounds: int, say: Say) -> None:
    begun = time.perf_counter()
    for number in range(rounds):
        if number > 1 and time.perf_counter() - begun > ROUNDS_SECONDS:
            say(f"{number} rounds took long enough: the other {rounds - number} are left out")
            break
        say(f"round {number + 1} of {rounds}")
        answers: dict[str, dict[str, Answer]] = {}
        found.rounds.append(answers)
        for question in protocol.BLOCKS:
            for name, process in live.items():
                if name in found.failed or question not in found.ready[name][1]["answers"]:
                    continue
                try:
                    answers.setdefault(name, {})[question] = process.ask(question)
                except Failed as failure:
                    found.failing(found.ready[name][0], failure)


def one_at_a_time(
    contenders: Sequence[Contender],
    start: Start,
    *,
    rounds: int,
    seconds: float,
    say: Say,
    now: Callable[[], float] = time.perf_counter,
) -> Found:
    """Each is started, does its blocks, and ends before the next is started; then all again, in another order.

    The k-th block of one contender and the k-th of another make a round. The ceiling is measured once a start, after
    memory was told, which it would else be part of.

    Args:
        contenders: peers first.
        start: see `starting`.
        rounds: blocks of each in all its starts.
        seconds: all are over by then. A second start of all is left out where it would not be, by what the first took.
        say: told what goes on.
        now: the clock.
    """
    found = Found()
    order = list(contenders)
    begun, longest = now(), 0.0
    for number in range(STARTS):
        blocks = rounds // STARTS + (number < rounds % STARTS)
        if number and now() - begun + longest > seconds:
            say(f"{number} of {STARTS} starts took long enough: what is left of {rounds} blocks is left out")
            break
        first, started = len(found.rounds), now()
        found.rounds += [{} for _ in range(blocks)]
        turn = number * len(order) // STARTS
        waiting, order = [*order[turn:], *order[:turn]], []
        while waiting and blocks:
            contender = waiting.pop(0)
            order.append(contender)
            if contender.name in found.failed:
                continue
            say(f"{contender.name} starts and warms up, {number + 1} of {STARTS}")
            left = seconds - (now() - begun)
            try:
                if left <= 0.0:
                    raise Failed(f"left out: the {seconds:.0f} s for this recipe were over")
                _alone(contender, start, min(START_SECONDS, left), found, found.rounds[first:])
            except Failed as failure:
                found.failing(contender, failure)
                continue
            if not number:
                waiting[:0] = _also(contender, found)
        longest = max(longest, now() - started)
    return found


def _alone(
    contender: Contender, start: Start, seconds: float, found: Found, rounds: Sequence[dict[str, dict[str, Answer]]]
) -> None:
    """One start of one contender, and its blocks, a round each."""
    process = start(contender, seconds)
    try:
        found.started(contender, process)
        name, answered = contender.name, process.ready["answers"]
        for answers in rounds:
            answers[name] = {}
        for question in ("train", "predict"):
            if question in answered:
                for answers in rounds:
                    answers[name][question] = process.ask(question)
        memory = process.ask("memory")
        if name not in found.memory or memory["peak_bytes"] > found.memory[name]["peak_bytes"]:
            found.memory[name] = memory
        if "ceiling" in answered:
            ceiling = process.ask("ceiling")
            for answers in rounds:
                answers[name]["ceiling"] = ceiling
        process.quit()
    finally:
        process.stop()
