"""Files to columns: every format, and every way in which a file can be broken, with its place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from zoo.data.tables import Columns, column_names, column_types, place, read_table
from zoo.errors import DataError


def read_columns(path: Path, columns: list[str], encoding: str = "utf-8") -> Columns:
    return read_table(path, columns, encoding)[0]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path: Path, columns: list[str] | None = None, encoding: str = "utf-8") -> str:
    """The message with which the file is refused."""
    with pytest.raises(DataError) as caught:
        read_columns(path, columns or ["text", "label"], encoding)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value) or "encoding" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "label,text\n1,good\n0,bad\n"),
        ("a.CSV", "label,text\n1,good\n0,bad"),
        ("bom.csv", b"\xef\xbb\xbflabel,text\n1,good\n0,bad\n"),
        ("crlf.csv", "label,text\r\n1,good\r\n\r\n0,bad\r\n"),
        ("quoted.csv", '"label","text"\n"1","good"\n"0","bad"\n'),
        ("a.tsv", "label\ttext\n1\tgood\n0\tbad\n"),
        ("a.jsonl", '{"text": "good", "label": "1"}\n\n{"label": "0", "text": "bad", "more": 1}\n'),
        ("bom.jsonl", b'\xef\xbb\xbf{"text": "good", "label": "1"}\r\n{"text": "bad", "label": "0"}\r\n'),
    ],
)
def test_text_formats(tmp_path: Path, name: str, content: str | bytes) -> None:
    table = read_columns(write(tmp_path, name, content), ["text", "label"])
    assert table == {"text": ["good", "bad"], "label": ["1", "0"]}


def test_where_rows_begin(tmp_path: Path) -> None:
    """Lines as an editor counts them, blank ones and those within a quoted field too; of parquet rows from 0."""
    path = write(tmp_path, "a.csv", 'label,text\n1,"a\nb"\n\n0,c\n1,d\n')
    assert list(read_table(path, ["text"])[1]) == [2, 5, 6]
    assert place(path, 2, 5) == "lines 2, 5"
    path = write(tmp_path, "a.jsonl", '{"text": "a"}\n\n{"text": "b", "more": 1}\n')
    assert list(read_table(path, ["text"])[1]) == [1, 3]
    assert column_names(path) == ["text", "more"]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    assert list(read_table(tmp_path / "a.parquet", ["text"])[1]) == [0, 1]
    assert place(tmp_path / "a.parquet", 1) == "row 1, counted from 0"


def test_parquet_keeps_types_and_nulls(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"text": ["good", None], "label": [1, 0], "other": [0.5, 0.5]})
    pyarrow.parquet.write_table(table, path)
    assert read_columns(path, ["text", "label"]) == {"text": ["good", None], "label": [1, 0]}


def test_txt_has_a_text_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", 'one, "two"\nthree\n')
    assert read_columns(path, ["anything"]) == {"anything": ['one, "two"', "three"]}
    assert "one text a line" in refused(path)


CONLL = """-DOCSTART- -X- O

# sent_id = 1
EU NNP B-ORG
# # O

\u200bPeter NNP B-PER

"""


def test_conll_has_a_word_a_line_and_a_sentence_a_row(tmp_path: Path) -> None:
    """Columns by number, the first also as word and the last as tag; comments are told by their number of columns."""
    path = write(tmp_path, "a.conll", CONLL)
    table, lines = read_table(path, ["word", "tag", "1"])
    assert table == {
        "word": [["EU", "#"], ["\u200bPeter"]],
        "tag": [["B-ORG", "O"], ["B-PER"]],
        "1": [["NNP", "#"], ["NNP"]],
    }
    assert list(lines) == [4, 7]
    assert column_names(path) == ["word", "1", "tag"]
    assert read_columns(write(tmp_path, "b.conll", "New York\tB\r\nis\tO"), ["0", "tag"]) == {
        "0": [["New York", "is"]],
        "tag": [["B", "O"]],
    }
    universal = "# text = don't\n1-2\tdon't\t_\t_\n1\tdo\tdo\tAUX\n2\tn't\tnot\tPART\n2.1\tx\tx\tX\n"
    path = write(tmp_path, "a.conllu", universal)
    assert read_columns(path, ["word", "upos"]) == {"word": [["do", "n't"]], "upos": [["AUX", "PART"]]}
    assert column_names(path) == ["id", "form", "lemma", "upos"]


def test_a_conll_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.conll", CONLL + "A B C D\nis VBZ O\n\nno\n")
    assert f"{path}:9: 4 columns, the lines above have 3" in refused(path, ["word"])
    assert f"{path}:12: 1 columns" in refused(path, ["word"])
    assert "no column '3', expected one of 'word', '1', 'tag'" in refused(write(tmp_path, "b.conll", CONLL), ["3"])
    assert "no rows" in refused(write(tmp_path, "c.conll", "# nothing\n\n"), ["word"])


def test_fields_may_hold_delimiters_quotes_lines_and_long_texts(tmp_path: Path) -> None:
    long = "word " * 60_000
    path = write(tmp_path, "a.csv", f'text,label\n"a, ""b""\nc",1\n{long},0\nhe said "no" to it,1\n')
    assert read_columns(path, ["text"])["text"] == ['a, "b"\nc', long, 'he said "no" to it']


def test_none_and_na_stay_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label\nNone,NA\nnull,nan\n")
    assert read_columns(path, ["text", "label"]) == {"text": ["None", "null"], "label": ["NA", "nan"]}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "a.csv", "text,label\ncafé,1\n".encode(encoding))
    assert read_columns(path, ["text"], encoding) == {"text": ["café"]}


def test_a_missing_file_gets_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", "text\na\n")
    assert "did you mean train.csv?" in refused(tmp_path / "trian.csv")
    assert "check the path" in refused(tmp_path / "no" / "train.csv")


def test_what_is_no_file_of_rows(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.csv")
    assert "is empty" in refused(write(tmp_path, "empty.csv", ""))
    assert "no rows beneath its header" in refused(write(tmp_path, "header.csv", "text,label\n"))
    assert "no rows beneath its header" in refused(write(tmp_path, "blank.jsonl", "\n\n"))
    assert "expected one of .csv, .tsv" in refused(write(tmp_path, "a.xlsx", "x"))
    assert "got no ending" in refused(write(tmp_path, "rows", "x"))
    for name in ("a.npz", "a.pkl", "a.pt"):
        assert "can run code" in refused(write(tmp_path, name, "x"))


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.csv", "text,label\na,1\n")

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_all_absent_columns_are_told_with_those_that_are_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"Text": ["a"], "stars": [1]}), path)
    else:
        path.write_text("Text,stars\na,1\n" if ending == "csv" else '{"Text": "a", "stars": 1}\n')
    with pytest.raises(DataError) as caught:
        read_columns(path, ["text", "label"])
    first, second = caught.value.faults
    assert "(did you mean 'Text'?): name yours by --text-column" in first
    assert "'stars'" in first
    assert "no column 'label'" in second


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label,text\na,1,b\n")
    assert "column 'text' stands 2 times" in refused(path)
    assert read_columns(path, ["label"]) == {"label": ["1"]}, "a twin that is not asked for does no harm"


def test_ragged_rows_are_listed_with_their_lines(tmp_path: Path) -> None:
    rows = "".join("a,b,1\n" if number % 2 else '"two\nlines",1\n' for number in range(16))
    path = write(tmp_path, "a.csv", "text,label\n" + rows)
    with pytest.raises(DataError) as caught:
        read_columns(path, ["text"])
    assert len(caught.value.faults) == 5
    assert caught.value.faults[0].startswith(f"{path}:4: 3 fields, the header has 2")
    assert "3 more such rows" in caught.value.faults[-1]


@pytest.mark.parametrize("row", ['"never closed,1\nb,0\n', '"closed" too early,1\nb,0\n'])
def test_a_quote_that_is_not_closed(tmp_path: Path, row: str) -> None:
    path = write(tmp_path, "a.csv", f"text,label\na,1\n{row}")
    message = refused(path)
    assert f"{path}:3:" in message
    assert "save the rows as jsonl" in message


@pytest.mark.parametrize(("order", "likely"), [("le", "utf-16-le or"), ("be", "utf-16-be or")])
def test_utf16_without_its_mark_is_told_how_to_be_named(tmp_path: Path, order: str, likely: str) -> None:
    path = write(tmp_path, "a.csv", "text,label\na,1\n".encode(f"utf-16-{order}"))
    for encoding in ("utf-8", "utf-16"):
        assert f"e.g. {likely}" in refused(path, encoding=encoding)
    assert read_columns(path, ["text"], f"utf-16-{order}") == {"text": ["a"]}


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zero.jsonl"):
        assert "is a pipe or a device" in refused(tmp_path / name)
    assert "name too long" in refused(tmp_path / f"{'a' * 300}.csv")
    assert "name too long" in refused(tmp_path.joinpath(*["a" * 200] * 25, "a.csv"))


def test_json_beyond_what_python_reads(tmp_path: Path) -> None:
    deep = write(tmp_path, "deep.jsonl", '{"text": ' + "[" * 100_000 + "]" * 100_000 + ', "label": 1}\n')
    assert "nested too deep" in refused(deep)
    assert "4300 digits" in refused(write(tmp_path, "long.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}\n"))


def test_wrong_encoding_is_told_with_the_byte(tmp_path: Path) -> None:
    filler = "x" * 70_000
    path = write(tmp_path, "a.csv", f"text,label\né{filler},1\n".encode() + b"caf\xe9,1\n")
    place = path.read_bytes().index(b"\xe9,1")
    message = refused(path)
    assert f"byte {place} is not utf-8" in message
    assert "latin-1" in message
    for name in ("utf-99", "rot13", "zip", "base64", "undefined", "\udcff"):
        assert "is no text encoding" in refused(path, encoding=name)


def test_nul_characters(tmp_path: Path) -> None:
    assert ":2: holds a NUL" in refused(write(tmp_path, "a.csv", "text,label\na\0b,1\n"))
    assert "Give its `encoding:`" in refused(write(tmp_path, "b.csv", "text,label\na,1\n".encode("utf-16-le")))


def test_broken_json_lines_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n[1]\n{"text": "b", "label": NaN}\n{"text": "c", "la')
    with pytest.raises(DataError) as caught:
        read_columns(path, ["text", "label"])
    second, third, fourth = caught.value.faults
    assert second.startswith(f"{path}:2: got list")
    assert "NaN" in third
    assert fourth.startswith(f"{path}:4: not JSON")
    assert "cut short" in fourth
    assert len(_faults(write(tmp_path, "b.jsonl", "{\n" * 50))) == 5


def _faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read_columns(path, ["text"])
    return caught.value.faults


def test_a_key_that_a_json_row_lacks_is_missing_there(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n')
    assert read_columns(path, ["label"]) == {"label": [1, None]}


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["good"] * 1000, "label": [1] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut short" in refused(path)
    path.write_bytes(b"text,label\n")
    assert "not a whole parquet file" in refused(path)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_that_is_refused_is_closed(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text("text,label\na,1\n" if ending == "csv" else '{"text": "a"}\n' + "[\n" * 9)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(DataError) as caught:  # which holds the frames, and in them what was not closed
        read_columns(path, ["absent"])
    assert set(os.listdir("/proc/self/fd")) == before, caught


SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Mill",
            "paragraphs": [
                {
                    "context": "Ada built the mill in 1902.",
                    "qas": [
                        {"id": "a", "question": "Who built it?", "answers": [{"text": "Ada", "answer_start": 0}]},
                        {"id": "b", "question": "Who burnt it?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        },
        {"title": "Empty", "paragraphs": []},
        {"paragraphs": [{"context": "x", "qas": [{"question": "y"}]}]},
    ],
}


def test_squad_has_a_row_a_question(tmp_path: Path) -> None:
    path = write(tmp_path, "dev.json", "\ufeff" + json.dumps(SQUAD, indent=1))
    table, numbers = read_table(path, ["id", "title", "question", "context", "answers", "is_impossible"])
    mill = "Ada built the mill in 1902."
    assert [*zip(*table.values(), strict=True)] == [
        ("a", "Mill", "Who built it?", mill, [{"text": "Ada", "answer_start": 0}], False),
        ("b", "Mill", "Who burnt it?", mill, [], True),
        (None, None, "y", "x", None, None),
    ]
    assert list(numbers) == [0, 1, 2]
    assert place(path, 1, 2) == "questions 1, 2, counted from 0"
    assert column_names(path)[2:4] == ["question", "context"]
    assert set(map(str, column_types(path, ["id", "answers", "is_impossible"]).values())) == {"string", "bool"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"data": [\n{"paragraphs"', "dev.json:2: not JSON"),
        ('{"data": NaN}', "NaN is not a JSON value"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "no list data, expected SQuAD's layout"),
        ('{"data": [1]}', "data[0] is 1, expected an object"),
        ('{"data": [{"paragraphs": {}}]}', "no list data[0].paragraphs"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "data[0].paragraphs[0].context is None, expected a string"),
        (
            json.dumps(SQUAD)
            .replace('"is_impossible": true', '"is_impossible": false')
            .replace('"Who burnt it?"', "3"),
            "data[0].paragraphs[0].qas[1].question is 3",
        ),
        (
            json.dumps(SQUAD).replace('"answers": []', '"answers": [{}]'),
            "data[0].paragraphs[0].qas[1] has answers and is_impossible: true",
        ),
        ('{"data": []}', "no rows beneath its header"),
    ],
)
def test_what_is_no_squad(tmp_path: Path, content: str, told: str) -> None:
    assert told in refused(write(tmp_path, "dev.json", content), ["question"])
    assert "no column 'label'" in refused(write(tmp_path, "dev.json", content), ["label"])
