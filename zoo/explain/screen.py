"""An explanation in the terminal.

In comes an `Explanation`; out come the words coloured by score (blue for the class, orange against it), a table of
those that count most, and the figures. Markup and control characters in a text are shown, never followed.
"""

from __future__ import annotations

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from zoo.explain.colouring import pieces
from zoo.explain.explanation import Explanation
from zoo.recipe.showing import shown

__all__ = ["show"]

FOR, AGAINST = (0, 114, 178), (213, 94, 0)
FAINT = 0.08
"""Share of the largest score below which a word is left as it is."""
STRONGEST = 0.75
"""Share of the colour behind the word of the largest score."""
UNSEEN = Style(dim=True)
ROWS = 10
CLASSES = 10


def show(console: Console, explanation: Explanation) -> None:
    """Print it; where the console has no colours, the table says the same in numbers. Elsewhere than on a terminal no
    sentence is broken."""
    whole = not console.is_terminal
    key = "blue speaks for it, orange against it" if console.color_system else "+ speaks for it, - against it"
    likeliest = explanation.likeliest(CLASSES)
    shares = "  ".join(f"{shown(name)} {explanation.told(share)}" for name, share in likeliest)
    left_out = len(explanation.probabilities) - len(likeliest)
    shares += f"  and {left_out:,} others" if left_out else ""
    console.print(Text(shares), soft_wrap=whole)
    console.print(Text.assemble(("for ", "bold"), shown(explanation.label), f": {key}"), soft_wrap=whole)
    console.print(coloured(explanation), soft_wrap=whole)
    console.print(table(explanation))
    console.print(Text(explanation.completeness.told()), soft_wrap=whole)
    found = explanation.deletion
    areas = ", ".join(f"{name.replace('_', ' ')} {curve.area:.3f}" for name, curve in found.curves.items())
    told = f"area under the deletion curve: {areas}, random order {found.random_area:.3f} (less is better)"
    console.print(Text(told), soft_wrap=whole)


def coloured(explanation: Explanation) -> Text:
    """The text, and on another line the second one, with each word's score by integrated gradients behind it; words
    that the model does not see are pale."""
    found = Text()
    for of, text in explanation.texts:
        found.append("\n" if found else "")
        for part, share, _ in pieces(text, explanation.gradients.words, of):
            found.append(shown(part, lines=True), _style(share) if share is not None or not part.strip() else UNSEEN)
    return found


def table(explanation: Explanation) -> Table:
    """The words that count most by integrated gradients, with their scores by both methods."""
    result = Table("word", box=None, pad_edge=False)
    result.add_column("integrated gradients", justify="right")
    result.add_column("occlusion", justify="right")
    words = list(zip(explanation.names, explanation.gradients.words, explanation.occlusion.words, strict=True))
    for name, by_gradient, by_occlusion in sorted(words, key=lambda row: -abs(row[1].score))[:ROWS]:
        scores = f"{by_gradient.score:+z.4f}", f"{by_occlusion.score:+z.4f}"
        result.add_row(Text(shown(name), _style(1.0 if by_gradient.score > 0 else -1.0, behind=False)), *scores)
    return result


def _style(share: float | None, *, behind: bool = True) -> Style:
    """The colour of a share from -1 to 1: behind black letters, or of the letters."""
    if share is None or abs(share) < FAINT:
        return Style()
    red, green, blue = FOR if share > 0 else AGAINST
    if not behind:
        return Style(color=f"rgb({red},{green},{blue})")
    # From white towards the colour, so far that black can be read on it, whatever the terminal's own colours.
    mixed = [round(255 + (part - 255) * abs(share) * STRONGEST) for part in (red, green, blue)]
    return Style(bgcolor="rgb({},{},{})".format(*mixed), color="rgb(0,0,0)")
