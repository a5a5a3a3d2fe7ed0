"""`python -m zoo.tokenize TEXT --backbone NAME`: how a backbone sees a text.

In come a text, or a pair, and whatever a recipe may name as backbone or vocabulary; out goes the row that its model
would be given: pieces, ids, padding mask, segments, and the characters that each piece stands for. Refused: an unknown
backbone, one that is not cached, a text that is empty. No backend is imported and no network is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo import cli
from zoo.errors import DataError, RecipeError
from zoo.recipe.showing import as_json, shown

if TYPE_CHECKING:
    from rich.table import Table

    from zoo.data.tokens import Piece

SHORTEST, LONGEST = 4, 8192
"""What a recipe's tokens.max_length may be."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, padded as a batch of it alone would be.

    pieces: the real tokens; names: the vocabulary's entry at every position; token_ids, padding_mask, segment_ids:
    [length] as the model takes them, segment_ids None where the family has none; cut: how many tokens of each text are
    left out; unknown: the pieces that are the vocabulary's [UNK]; note: what was decided about the vocabulary without
    being said anywhere.
    """

    pieces: list[Piece]
    names: list[str]
    token_ids: list[int]
    padding_mask: list[int]
    segment_ids: list[int] | None
    cut: dict[str, int]
    unknown: list[Piece]
    note: str | None


def show(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - reads it from stdin.")],
    backbone: Annotated[
        str, typer.Option("--backbone", metavar="NAME", help="A catalog name, an address, or a local folder.")
    ],
    pair: Annotated[str | None, typer.Option("--pair", metavar="TEXT", help="The second text of a pair.")] = None,
    max_length: Annotated[
        int, typer.Option("--max-length", metavar="N", min=SHORTEST, max=LONGEST, help="Tokens a row at most.")
    ] = 128,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Show a text as a backbone sees it: pieces, ids, masks, segments.

    Example: python -m zoo.tokenize "I like NLP" --backbone minilm_l6_en_uncased
    """
    texts = {"text": cli.read_stdin().rstrip("\r\n") if text == "-" else text}
    if pair is not None:
        texts["pair"] = pair
    for name, value in texts.items():
        if not value.strip():
            raise DataError(f"the {name} is empty, expected words: give some, or - to read the text from stdin")
    row = tokenize(texts["text"], texts.get("pair"), backbone, max_length)
    if output == "json":
        print(as_json(_as_json(backbone, max_length, row)))
        return 0

    console = cli.output()
    console.print(_table(row, texts))
    for note in notes(row, texts, backbone, max_length):
        console.print(shown(note), markup=False, soft_wrap=True)
    return 0


def tokenize(text: str, pair: str | None, backbone: str, max_length: int) -> Row:
    """The row of a text, or of a pair.

    Raises:
        RecipeError: no such backbone, or one with fewer positions than `max_length`.
        EnvironmentFault: its vocabulary is not on this machine.
        DataError: a text is not Unicode.
    """
    import numpy as np

    from zoo.data.backbones import find_vocabulary
    from zoo.data.batches import batches, choose_lengths
    from zoo.data.catalog import backbone_card, backbone_names
    from zoo.data.tokens import load_tokenizer
    from zoo.recipe.types import Tokens

    if backbone in backbone_names() and max_length > backbone_card(backbone).max_positions:
        most = backbone_card(backbone).max_positions
        raise RecipeError(f"--max-length: got {max_length}, expected at most {most}, the positions of {backbone}")
    vocabulary = find_vocabulary(backbone)
    tokenizer = load_tokenizer(vocabulary.path)
    config = Tokens(max_length=max_length)
    pieces = tokenizer.row(text, pair, config)
    table = tokenizer.encode([text], None if pair is None else [pair], config)
    inputs = ("token_ids", "padding_mask", "segment_ids")
    lengths = choose_lengths(table.lengths, shapes=1)
    (batch,) = batches(table, None, [np.array([0])], batch_size=1, lengths=lengths, names=inputs)
    values = {name: batch.inputs[name][0].tolist() for name in inputs}
    # Without a family, what frames the row tells: RoBERTa's frame comes without segments.
    segmented = vocabulary.family == "bert" or (vocabulary.family is None and len(tokenizer.specials.between) == 1)
    return Row(
        pieces=pieces,
        names=tokenizer.pieces(values["token_ids"]),
        token_ids=values["token_ids"],
        padding_mask=values["padding_mask"],
        segment_ids=values["segment_ids"] if segmented else None,
        cut={
            name: len(tokenizer.rust.encode(whole, add_special_tokens=False)) - sum(p.of == name for p in pieces)
            for name, whole in (("text", text), ("pair", pair))
            if whole is not None
        },
        unknown=[piece for piece in pieces if piece.of is not None and piece.id == tokenizer.unknown],
        note=tokenizer.note,
    )


def notes(row: Row, texts: dict[str, str], backbone: str, max_length: int) -> list[str]:
    """What there is to say about a row: its length, what is cut, what is unknown, segments that are not there."""
    real = len(row.pieces)
    framing = sum(piece.of is None for piece in row.pieces)
    padding = len(row.token_ids) - real
    lines = [f"{real} tokens, of which {framing} frame the row"]
    if padding:
        lines[0] += f"; {padding} of padding, which attention leaves out"
    for name, count in row.cut.items():
        if count:
            # Truncation keeps the start.
            last = max((piece.end or 0 for piece in row.pieces if piece.of == name), default=0)
            lines.append(
                f"cut at --max-length {max_length}: tokens of the {name} that are left out: {count}, "
                f"from character {last} of {len(texts[name])} on"
            )
    if row.unknown:
        unknown = ", ".join(repr(texts[p.of or "text"][p.start : p.end]) for p in row.unknown[:5])
        more = ", ..." if len(row.unknown) > 5 else ""
        lines.append(f"{len(row.unknown)} [UNK]: the vocabulary has nothing for {unknown}{more}")
    if row.segment_ids is None:
        lines.append(f"{backbone} takes no segment ids")
    if row.note:
        lines.append(row.note)
    return lines


def _table(row: Row, texts: dict[str, str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("position", "piece", "id", "padding_mask", *(["segment"] if row.segment_ids else []), "characters"):
        table.add_column(title, justify="left" if title == "piece" else "right")
    table.add_column("text")
    for position, (name, number, mask) in enumerate(zip(row.names, row.token_ids, row.padding_mask, strict=True)):
        piece = row.pieces[position] if position < len(row.pieces) else None
        style = "dim" if piece is None or piece.of is None else "bold red" if piece in row.unknown else ""
        cells = [str(position), shown(name), str(number), str(mask)]
        if row.segment_ids:
            cells.append(str(row.segment_ids[position]))
        if piece is None or piece.of is None:
            cells += ["", ""]
        else:
            cells += [f"{piece.start}-{piece.end}", shown(texts[piece.of][piece.start : piece.end])]
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _as_json(backbone: str, max_length: int, row: Row) -> dict[str, Any]:
    placed = [*row.pieces, *[None] * (len(row.token_ids) - len(row.pieces))]
    return {
        "backbone": backbone,
        "max_length": max_length,
        "tokens": row.names,
        "token_ids": row.token_ids,
        "padding_mask": row.padding_mask,
        "segment_ids": row.segment_ids,
        "of": [piece.of if piece else None for piece in placed],
        "characters": [[piece.start, piece.end] if piece and piece.of else None for piece in placed],
        "cut": row.cut,
        "unknown": len(row.unknown),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(show, argv, name="tokenize")


if __name__ == "__main__":
    raise SystemExit(main())
