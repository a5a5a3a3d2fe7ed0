"""`python -m zoo.fetch RECIPE`: bring the data and weights of a recipe into the cache, verified.

In comes a recipe with a profile and overrides, or `--all` for every shipped recipe; out go the folders. What is
there already is not fetched again, and what was cut is resumed. No backend is imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli
from zoo.errors import EnvironmentFault, RecipeError


def fetch(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="What every shipped recipe needs, under the profile.")
    ] = False,
    profile: cli.ProfileOption = None,
    changes: cli.SetOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Bring the data and weights of a recipe into the cache, verified by hash.

    Example: python -m zoo.fetch imdb_bert --profile cpu
    """
    import recipes
    from zoo.data.backbones import bring
    from zoo.recipe import load_recipe
    from zoo.runs.screen import Screen

    if (recipe is None) != everything:
        raise RecipeError("RECIPE: give one recipe, as `python -m zoo.fetch imdb_bert`, or --all")
    paths = [recipes.path(name) for name in recipes.names()] if everything else [cli.find_recipe(recipe or "")]
    loaded = [load_recipe(path, profile=profile, overrides=changes or ()) for path in paths]
    folders: dict[Path, None] = {}
    faults: dict[str, None] = {}
    screen = Screen()
    with screen.downloads() as bars:
        for each in loaded:
            try:
                folders |= dict.fromkeys(bring(each, progress=bars.update))
            except EnvironmentFault as error:
                faults |= dict.fromkeys(error.faults)
    if output == "json":
        print(json.dumps({"folders": [str(folder) for folder in folders], "faults": list(faults)}, indent=2))
    else:
        if not faults:
            screen.say("fetch", f"all that {'the recipes need' if everything else f'{recipe} needs'} is here, in")
        for folder in folders:
            cli.tell(folder)
    if faults:
        raise EnvironmentFault(faults)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(fetch, argv, name="fetch")


if __name__ == "__main__":
    sys.exit(main())
