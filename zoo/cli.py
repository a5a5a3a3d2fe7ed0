"""What all commands share: common options, errors to exit codes, signals, and the `zoo VERB` dispatcher.

A verb is a module `zoo/<verb>.py` with one typed function and a `main`:

    def show(recipe: cli.RecipeArgument, profile: cli.ProfileOption = None, debug: cli.DebugOption = False) -> int:
        \"\"\"What it does, and an example.\"\"\"

    def main(argv: Sequence[str] | None = None) -> int:
        return cli.run_command(show, argv, name="show")

Out goes the exit code of zoo/errors.py: a ZooError ends in its own, anything unforeseen in 70, with one
message on stderr and no traceback unless `--debug` is given. A closed stdout (`| head`) ends quietly in 0.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import select
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Annotated, Any, Literal, NoReturn

import typer

from zoo.errors import EXIT_BUG, EXIT_DONE, DataError, RecipeError, TrainingError, ZooError
from zoo.stopping import EXITS, WORDS, Stop, Terminated, leave, stoppable

VERBS = {
    "run": "train, evaluate and report a recipe",
    "sweep": "search over keys of a recipe: many trials, each a run, and the best recipe",
    "check": "every fault of a recipe, its data and its environment; memory and time estimate",
    "doctor": "backends, devices, versions, cache, disk and memory of this machine, as one report to paste",
    "list": "recipes, data sets and backbones, and what of them is cached; runs side by side",
    "fetch": "bring the data and weights of a recipe into the cache",
    "predict": "what a finished run says of texts",
    "fill": "the likeliest words where a text is left open, of a masked language model",
    "bias": "which pronouns a masked language model finds likely beside which occupation",
    "audit": "what there is to doubt in a run's data: label errors, near duplicates, leaks of the label",
    "evaluate": "metrics of a finished run on other data",
    "explain": "why a finished run gives a text its class: words, attention, pictures",
    "export": "a finished run for transformers, keras-hub, onnxruntime or TensorFlow, checked there",
    "report": "render the report of a run again, or compare several",
    "serve": "a page in the browser and a JSON endpoint for a finished run",
    "tokenize": "show a text as a backbone sees it: pieces, ids, masks, segments",
}
"""Name of a verb, which is its module, and what it does."""
MEANT = {
    "train": "run",
    "fit": "run",
    "finetune": "run",
    "test": "evaluate",
    "validate": "check",
    "classify": "predict",
    "infer": "predict",
    "tune": "sweep",
    "search": "sweep",
    "download": "fetch",
    "show": "list",
}
"""What verbs of other programs are called here."""

TOPIC = 9
"""Columns of a line's topic."""
EXIT_USAGE = RecipeError.exit_code

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe, as imdb_bert.")
]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="One of the recipe's profiles, as cpu or smoke.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace one value, as training.epochs=1; may be repeated."),
]
PrecisionOption = Annotated[
    Literal["auto", "float32", "tf32", "bfloat16"],
    typer.Option(
        "--precision",
        help="Of matrix products; tf32 and bfloat16 are quicker on some devices, and less exact; auto tries which.",
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Of a run of several tasks, this one alone.")
]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="For people or for programs.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def output(**options: Any) -> Any:
    """A rich Console on stdout, for tables; where its reader is gone `run_command` says what that means."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Output(highlight=False, **options)


def run_command(
    command: Callable[..., int | None], argv: Sequence[str] | None = None, *, name: str, program: str | None = None
) -> int:
    """Parse the arguments for a command function, call it, and give the exit code; raises nothing. A command that a
    signal has stopped ends the process.

    Args:
        command: a function with typer annotations; its docstring is the help, what it returns the exit code.
        argv: arguments without the program's name; None takes sys.argv.
        name: the verb, for the usage line.
        program: what stands there in place of `zoo` and the verb.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    from zoo.backend import own_process

    own_process(warn)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding lacks is shown so, as on stderr
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    begun = list[str]()
    app.command()(_guarded(command, debug, begun))
    try:
        app(arguments, prog_name=program or f"zoo {name}")
    except SystemExit as done:  # typer ends so, also on --help and on wrong usage
        if done.code == EXIT_USAGE and not begun and (told := _otherwise(name, arguments)):
            _say("", told)
        return done.code if isinstance(done.code, int) else EXIT_DONE
    return EXIT_DONE


def find_recipe(text: str) -> Path:
    """The file that a RECIPE argument means: a path, or the name of a shipped recipe."""
    import recipes
    from zoo.recipe.faults import not_among

    path = Path(text)
    if text in recipes.names() and not os.path.isfile(path):
        return recipes.path(text)
    if os.path.exists(path) or (os.path.isdir(path.parent) and path.suffix in (".yaml", ".yml")):
        return path  # a file that is not there gets its near names where it is read
    raise RecipeError(f"{text}  {not_among(path.stem, recipes.names())}, or the path of a recipe file")


def tell(text: object) -> None:
    """A line, or lines, for people on stdout: what could steer a terminal is escaped."""
    print(_shown(text))


def tell_of(topic: str, text: str) -> None:
    """A line on stdout of what it is about and what there is to know."""
    tell_wrapped(text, f"{topic:{TOPIC}} ")


def tell_wrapped(text: str, begun: str = "") -> None:
    """A line on stdout, on a terminal lines of its width, which stay behind what the first one begins with."""
    from zoo.recipe.showing import hanging

    line = _shown(text)
    if sys.stdout.isatty():
        line = hanging(line, shutil.get_terminal_size().columns, len(begun))
    print(begun + line)


def warn(text: object) -> None:
    """A warning on stderr, escaped likewise."""
    print(f"warning: {_shown(text)}", file=sys.stderr)


def read_stdin() -> str:
    """All of stdin; nothing where it is closed.

    Raises:
        DataError: it is not text in its encoding.
    """
    if sys.stdin is None:
        return ""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="strict")  # in the C locale Python would let any byte through
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise DataError(
            f"stdin is not {error.encoding} (byte {error.start}), expected text in it: convert it first, or name its "
            "encoding by PYTHONIOENCODING"
        ) from error


def show_error(error: ZooError) -> None:
    """The faults of an error on stderr, counted where there are several."""
    count = len(error.faults)
    _say("error: " if count == 1 else f"{count} errors:\n", str(error))


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: `zoo VERB ...` calls the verb's module, and imports no other."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        print(_overview())
        return EXIT_DONE
    if first == "--version":
        print(f"text-zoo {_version()}")
        return EXIT_DONE
    if first not in VERBS:
        from zoo.recipe.faults import not_among

        _say(
            "error: ",
            f"verb: {not_among(first, VERBS, MEANT.get(first))}" if first else "got no verb\n\n" + _overview(),
        )
        return EXIT_USAGE
    verb = importlib.import_module(f"zoo.{first}")
    if hasattr(verb, "__path__"):  # a room, which holds its verb
        verb = importlib.import_module(f"zoo.{first}.__main__")
    return int(verb.main(arguments[1:]))


def _otherwise(name: str, arguments: list[str]) -> str:
    """How a verb is told what was asked of it in another way; empty where that is not known."""
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option == "--backend":
            rest = arguments[place + 1 :]
            if not equals:
                value, rest = "".join(rest[:1]), rest[1:]
            call = shlex.join(["python", "-m", f"zoo.{name}", *arguments[:place], *rest])
            return f"the backend is chosen by the environment: KERAS_BACKEND={shlex.quote(value or 'torch')} {call}"
    words = [argument for argument in arguments[:2] if not argument.startswith("-")]
    if name in ("predict", "explain") and len(words) == 2:
        call = shlex.join(["python", "-m", f"zoo.{name}", words[0], "--text", *arguments[1:]])
        return f"a text is given by --text: {call}"
    return ""


def _guarded(command: Callable[..., int | None], debug: bool, begun: list[str]) -> Callable[..., NoReturn]:
    """The command with every error turned into a message, and its exit code raised as typer wants it; `begun` is added
    to where the arguments are in order."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> NoReturn:
        stop = Stop()
        begun.append(command.__name__)
        try:
            with stoppable(stop):
                code = command(*args, **kwargs) or EXIT_DONE
                sys.stdout.flush()
        except (typer.Exit, typer.BadParameter):
            raise
        except BaseException as error:  # this is where all errors end
            if isinstance(error, KeyboardInterrupt):
                stop.signal = SIGINT
            elif isinstance(error, Terminated) and stop.signal is None:  # another process of the run was
                stop.signal = SIGTERM
            # Whatever comes of a stop is the stop: what is interrupted within a library may raise what it likes.
            if stop.signal is not None:
                code = _stopped(stop.signal, error)
            elif isinstance(error, Exception):
                code = _explain(error)
            else:
                raise
            if debug and code != EXIT_DONE:
                print(_shown(traceback.format_exc()), file=sys.stderr)
            if stop.since:
                leave(code)
        raise typer.Exit(code)

    return guarded


def _stopped(signal: Signals, error: BaseException) -> int:
    """Say that a signal ended the command, and how it goes on where that is known; the exit code."""
    _say("", "\n".join([WORDS[signal], *getattr(error, "__notes__", ())]))
    return EXITS[signal]


def _explain(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, ZooError):
        show_error(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError) and _stdout_is_closed():
        return EXIT_DONE
    if isinstance(error, MemoryError):
        _say("error: ", "memory ran out: give less data at once, or take a machine with more")
        return TrainingError.exit_code
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    what = f"a bug of ours: {type(error).__name__}: {error} ({where})"
    _say("error: ", f"{what}. Run again with --debug and report the traceback")
    return EXIT_BUG


def _say(label: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble((label, "bold red"), _shown(message)))


def _shown(text: object) -> str:
    from zoo.recipe.showing import shown  # the overview of the verbs imports no room

    return shown(text, lines=True)


def _stdout_is_closed() -> bool:
    """Whether nobody reads stdout any more; it is then pointed at nothing, so that Python's own flush is quiet."""
    try:
        number = sys.stdout.fileno()
    except OSError:  # no real file, as under a test
        return False
    poll = select.poll()
    poll.register(number, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = "\n".join(f"  {verb:{width}}  {what}" for verb, what in VERBS.items())
    return (
        f"usage: zoo VERB ... (zoo VERB --help tells more)\n\n{lines}\n\nexample: zoo run quickstart --out runs/first"
    )


def _version() -> str:
    try:
        return version("text-zoo")
    except PackageNotFoundError:
        return "(not installed)"
