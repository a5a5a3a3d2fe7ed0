"""Bad rows: each ends in 3, or is taken and told of."""

from __future__ import annotations

import io
from functools import partial

import pyarrow
import pyarrow.parquet
from bad_inputs import DATA, LINES, ROWS, Bad, both, checked, good_but

Case = partial(Bad, code=DATA)
Taken = partial(Bad, code=0, calls=checked())
PLACE = r"{}/rows\.csv:"


def in_file(name: str, content: bytes | str, row: str, told: str) -> Bad:
    """A case of rows in another format."""
    return Case(row=row, recipe=good_but("rows.csv", name), rows=None, files={name: content}, told=(told,))


def parquet() -> bytes:
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"review": ["a film"] * 30, "stars": ["a", "b", "c"] * 10}), made)
    return made.getvalue()


NUMBERED = ROWS.replace(",good\n", ",1\n").replace(",bad\n", ",0\n")
NAMED = good_but("label: stars", "label: stars, label_names: [bad, good]")
TESTED = good_but("train: rows.csv", "train: rows.csv, test: test.csv")
OTHERS = "review,stars\nan odd film,good\n"
UNKNOWN = "review,stars\n" + "".join(f"\u2603 {chr(0x13000 + n)},{'ab'[n % 2]}\n" for n in range(40))

ROWS_READ = [
    Case(row="missing file", rows=None, told=(r"{}/rows\.csv: no such file",)),
    Case(
        row="unreadable file",
        rows=None,
        prepare=lambda folder, patch: (folder / "rows.csv").mkdir(),
        told=(r"{}/rows\.csv: is a folder, expected a file",),
    ),
    Case(row="empty file", rows="", told=(r"{}/rows\.csv: is empty",)),
    Case(row="header only", rows="review,stars\n", told=(r"{}/rows\.csv: has no rows beneath its header",)),
    Case(
        row="text column absent",
        recipe=good_but("text: review", "text: body"),
        told=(PLACE + " no column 'body', expected one of 'review', 'stars'",),
    ),
    Case(
        row="label column absent",
        recipe=good_but("label: stars", "label: star"),
        told=(PLACE + r" no column 'star', expected one of 'review', 'stars' \(did you mean 'stars'\?\)",),
    ),
    Case(row="duplicate columns", rows="review,stars,stars\n" + "a,b,c\n" * 9, told=("column 'stars' stands 2 times",)),
    Case(row="ragged row", rows=ROWS + "a,good,more\n", told=(PLACE + "42: 3 fields, the header has 2",)),
    Case(
        row="not UTF-8",
        rows=ROWS.encode() + b"caf\xe9,good\n",
        told=(PLACE + f" byte {len(ROWS) + 3} is not utf-8", "give the file's own `encoding:`, e.g. latin-1"),
    ),
    Taken(row="BOM and CRLF", rows=("\ufeff" + ROWS.replace("\n", "\r\n")), told=("32 train, 4 validation, 4 test",)),
    Case(row="NUL", rows=ROWS + "a\0b,good\n", told=(PLACE + "42: holds a NUL character",)),
    Case(row="unclosed quote", rows=ROWS + '"a film,good\n', told=(PLACE + "42: in the row that begins here a quote",)),
    *(
        Case(
            row="null or empty text",
            rows=ROWS + f"{text},good\n,bad\n",
            told=(PLACE + r" train: 2 rows without text \(lines 42, 43\)", r"data\.on_missing=drop"),
        )
        for text in ("", "  ", "\u200b\ufeff\x07")
    ),
    Taken(
        row="null or empty text",
        rows=ROWS + ",good\n",
        calls=checked("--set", "data.on_missing=drop"),
        told=("warning +train: 1 rows without text or label were left out",),
    ),
    in_file(
        "rows.jsonl",
        LINES + '{"review": null, "stars": "bad"}\n',
        "null or empty text",
        r"1 row without text \(line 41\)",
    ),
    Taken(
        row="None and NA stay text",
        rows=ROWS.replace("good\n", "None\n").replace("bad\n", "NA\n") + "None,NA\nNA,None\n",
        told=(r"classes: NA 50\.0%, None 50\.0%",),
    ),
    Taken(
        row="all [UNK]",
        rows=UNKNOWN,
        told=(r"warning +\d+% of the train tokens are unknown to the vocabulary: is it the right one\?",),
    ),
    Case(row="one class only", rows=ROWS.replace(",bad", ",good"), told=("label: train has the one class 'good'",)),
    Case(
        row="a class absent from train",
        recipe=good_but("label: stars", "label: stars, label_names: [bad, good, ugly]"),
        told=("label: no row of train has ugly",),
    ),
    Case(
        row="a label seen only in eval",
        recipe=TESTED,
        files={"test.csv": OTHERS + "a film,ugly\n"},
        told=(r"{}/test\.csv: test: line 3: got the label ugly, expected a label that stands in train",),
    ),
    *(
        Case(
            row="labels out of range",
            recipe=NAMED,
            rows=NUMBERED + f"a film,{label}\n",
            told=(PLACE + f" train: line 42: got the label {label}, expected 0 to 1",),
        )
        for label in ("7", "-1", "-100")
    ),
    Case(row="labels that are floats", rows=NUMBERED + "a,1.5\n", told=("line 42: got the label 1.5, expected whole",)),
    Case(
        row="labels of mixed types",
        rows=NUMBERED + "a,good\n",
        told=("line 42: got the label good, expected a number",),
    ),
    in_file(
        "rows.jsonl",
        LINES + '{"review": "a", "stars": 3}\n',
        "labels of mixed types",
        "line 41: got the label 3, expected a name",
    ),
    Case(
        row="too few rows a class to stratify",
        rows=ROWS + "a film,ugly\n",
        told=(r"label: too few rows .*: ugly \(1\), expected at least 3 of each", r"data\.test\.stratify=false"),
    ),
    Taken(
        row="train and test overlap",
        recipe=TESTED,
        files={"test.csv": OTHERS + "a good film number 3,good\na bad film number 3,bad\n"},
        told=("warning +test: 2 of 3 rows also stand in train or validation",),
    ),
    Case(
        row="train and test overlap, strict",
        recipe=TESTED,
        files={"test.csv": OTHERS + "a good film number 3,good\na bad film number 3,bad\n"},
        calls=both("--set", "data.strict=true"),
        told=("test: 2 of 3 rows also stand in train or validation",),
    ),
    Taken(
        row="conflicting duplicates",
        rows=ROWS + "a good film number 3,bad\n",
        told=("warning +train: 1 texts stand there with two different labels",),
    ),
    Case(
        row="conflicting duplicates, strict",
        rows=ROWS + "a good film number 3,bad\n",
        calls=both("--set", "data.strict=true"),
        told=("train: 1 texts stand there with two different labels",),
    ),
    Case(
        row="fewer rows than a batch",
        recipe=good_but("size: 4", "size: 400"),
        told=(r"train has 32 rows, fewer than the batch of 400; .* training\.batch_size=32",),
    ),
    Taken(
        row="heavy truncation",
        calls=checked("--set", "tokens.max_length=4"),
        told=(r"warning +32 of 32 train \(100\.0%\) texts are cut at tokens\.max_length: 4",),
    ),
    in_file("rows.npz", b"PK\3\4", "pickled npz", r"{}/rows\.npz: pickled files can run code"),
    in_file("rows.jsonl", LINES[:-9], "truncated jsonl", r"{}/rows\.jsonl:40: not JSON .*is the line cut short\?"),
    in_file(
        "rows.parquet", parquet()[:-20], "truncated parquet", r"{}/rows\.parquet: not a whole parquet file .*cut short"
    ),
]
