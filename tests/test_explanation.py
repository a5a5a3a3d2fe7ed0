"""Explanations of plain values: pictures, page, terminal, JSON; and what the verb refuses before it computes."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from pages_read import Page, size
from rich.console import Console

from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import Dataset, load_dataset
from zoo.data.tokens import load_tokenizer
from zoo.data.words import words
from zoo.errors import OutputError, RecipeError
from zoo.explain import explained
from zoo.explain import page as explanation_page
from zoo.explain import plots as explanation_plots
from zoo.explain import screen as explanation_screen
from zoo.explain.__main__ import main as explain
from zoo.explain.attribution import Attribution, Completeness, Word
from zoo.explain.colouring import pieces
from zoo.explain.deletion import Curve, Deletion
from zoo.explain.explanation import Explanation
from zoo.finished import Run
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.models.blueprint import Blueprint, ModelCard, dump_card
from zoo.recipe import load_recipe
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.showing import shown
from zoo.recipe.types import Tokens
from zoo.report.drawing import Chart
from zoo.runs.run_folder import RunFolder, create_run
from zoo.tasks.classification import Classification

HOSTILE = "Good [red]film[/red] <script>alert('x')</script> for $5 & $\\frac{ \x1b[31m日本 end."


def explanation(text: str = HOSTILE, *, layers: int = 2, heads: int = 3, gap: float = 0.01) -> Explanation:
    random = np.random.default_rng(0)
    spans = words(text)
    names = tuple(text[start:end] for start, end in spans)
    tokens = ("[CLS]", *names, "[SEP]")
    drawn = random.random((layers, heads, len(tokens), len(tokens)))
    scores = np.linspace(1.0, -0.5, len(spans))
    by_word = tuple(
        Word(start=start, end=end, score=float(score)) for (start, end), score in zip(spans, scores, strict=True)
    )
    shares = np.linspace(0.0, 1.0, 5)
    falling, slower = np.linspace(0.9, 0.1, 5) ** 2, np.linspace(0.9, 0.1, 5)
    return Explanation(
        text=text,
        pair=None,
        tokens=tokens,
        label="$\\frac{ <b>",
        predicted="other",
        probabilities={"$\\frac{ <b>": 0.25, "other": 0.75},
        quantity="probability",
        attention=(drawn / drawn.sum(axis=-1, keepdims=True)).astype(np.float32),
        gradients=Attribution(
            method="integrated_gradients",
            words=by_word,
            tokens=np.concatenate([[0.0], scores, [0.0]]),
            completeness=Completeness(total=1.0 + gap, difference=1.0, steps=32),
        ),
        occlusion=Attribution(method="occlusion", words=by_word),
        deletion=Deletion(
            curves={
                "integrated_gradients": Curve(shares=shares, probabilities=falling),
                "occlusion": Curve(shares=shares, probabilities=falling),
            },
            random=(Curve(shares=shares, probabilities=slower),),
        ),
        names=names,
        unseen=0,
    )


PICTURES = ("attention", "heads", "overview", "rollout", "importance", "deletion")


BLANK = Chart(title="", size=(1.0, 1.0), paint=lambda _: None)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that take no time."""
    for name in PICTURES:
        monkeypatch.setattr(explanation_plots, name, lambda *_: BLANK)


# --- pieces, terminal ---------------------------------------------------------------------------


def test_pieces_put_together_are_the_text() -> None:
    found = explanation()
    parts = pieces(found.text, found.gradients.words)
    assert "".join(part for part, _, _ in parts) == found.text
    shares = [share for _, share, _ in parts if share is not None]
    assert (max(shares), min(shares)) == (1.0, -0.5)


def test_pieces_of_a_pair_share_one_scale() -> None:
    both = [Word(start=0, end=1, score=-4.0), Word(start=2, end=3, score=1.0, of="pair")]
    assert pieces("a b", both) == [("a", -1.0, -4.0), (" b", None, None)]
    assert pieces("a b", both, "pair") == [("a ", None, None), ("b", 0.25, 1.0)]


@pytest.mark.usefixtures("undrawn")
def test_words_that_are_cut_off_are_told_and_pale(tmp_path: Path) -> None:
    found = dataclasses.replace(explanation("one two three four"), names=("one", "two"), unseen=2)
    for method in (found.gradients, found.occlusion):
        object.__setattr__(method, "words", method.words[:2])
    (warning,) = explanation_page.write(tmp_path, found, run="r")
    assert "2 of the 4 words" in warning
    assert '<span class="unseen"' in (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert [part for part in explanation_screen.coloured(found).spans if part.style == explanation_screen.UNSEEN]


def test_no_word_counts() -> None:
    assert pieces("a", [Word(start=0, end=1, score=0.0)]) == [("a", 0.0, 0.0)]


def test_the_terminal_shows_markup_and_steering_as_text() -> None:
    stream = io.StringIO()
    explanation_screen.show(
        Console(file=stream, force_terminal=True, width=300, color_system="truecolor"), explanation()
    )
    printed = stream.getvalue()
    assert "\x1b[31m日" not in printed  # the text's own; ours have other numbers
    assert "\x1b[1;" in printed or "\x1b[1m" in printed
    plain = io.StringIO()
    explanation_screen.show(Console(file=plain, width=300), explanation())
    assert shown(HOSTILE, lines=True) in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "blue" not in plain.getvalue()
    assert "+1.0000" in plain.getvalue()
    assert "1.0% apart, 32 steps" in plain.getvalue()


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "layers", "heads"), [(2, 1, 1), (150, 6, 12)])
def test_every_picture_is_drawn(count: int, layers: int, heads: int) -> None:
    found = explanation("$x^{ " * (count - 2) + HOSTILE, layers=layers, heads=heads)
    for paint in PICTURES:
        width, height = size(getattr(explanation_plots, paint)(found).png())
        assert 200 < width < 2000, paint
        assert 100 < height < 2000, paint


def test_a_head_that_is_not_there() -> None:
    found = explanation(layers=2, heads=3)
    assert found.head(None, None)[1] == "layer 1, mean of its 3 heads"
    assert found.head(0, 2)[1] == "layer 0, head 2"
    np.testing.assert_array_equal(found.head(0, 2)[0], found.attention[0, 2])
    for layer, head, fault in ((2, None, "layer: got 2, expected 0 to 1"), (0, -1, "head: got -1, expected 0 to 2")):
        with pytest.raises(RecipeError, match=fault):
            found.head(layer, head)


def test_its_charts_are_figures_and_a_notebook_shows_the_text() -> None:
    base = explanation()
    found = explained.Explanation(**{field.name: getattr(base, field.name) for field in dataclasses.fields(base)})
    for name in ("words", "deletion", "attention", "heads", "overview", "rollout"):
        assert isinstance(getattr(found.plot, name)(), Figure), name
    assert found.plot.attention(1, 2).get_suptitle() == "Attention, layer 1, head 2"
    with pytest.raises(RecipeError, match="layer: got 2"):
        found.plot.attention(2)
    assert len(repr(found)) < 300
    page = Page(found._repr_html_())
    assert page.shown.startswith(shown(HOSTILE))
    assert page.scripts == 0
    assert len(page.loaded) == 1


# --- the folder ---------------------------------------------------------------------------------


def test_the_page_is_self_contained_and_shows_the_text(tmp_path: Path) -> None:
    assert explanation_page.write(tmp_path / "why", explanation(), run="runs/<i>") == ()
    files = {path.name for path in (tmp_path / "why").iterdir()}
    assert files == {*(f"{name}.png" for name in PICTURES), "explain.html", "explanation.json"}
    text = (tmp_path / "why" / "explain.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "<script" not in text
    assert {"script", "b", "i", "link"} & set(page.tags) == set()
    assert shown(HOSTILE, lines=True) in page.shown
    assert "runs/<i>" in page.shown
    inside = [address for address in page.loaded if address.startswith("data:image/png;base64,")]
    assert len(inside) == 2 * 6  # light and dark
    assert all(address.startswith("#") for address in {*page.loaded} - {*inside})
    # The text stands first, before any figure.
    assert page.shown.index(shown(HOSTILE, lines=True)) < page.shown.index("Classes")
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.usefixtures("undrawn")
def test_the_json_has_every_word(tmp_path: Path) -> None:
    found = explanation()
    explanation_page.write(tmp_path, found, run="r")
    read = json.loads((tmp_path / "explanation.json").read_text(encoding="utf-8"))
    assert read == found.as_json()
    assert [HOSTILE[word["start"] : word["end"]] for word in read["words"]] == list(found.names)
    assert read["completeness"]["holds"]


@pytest.mark.usefixtures("undrawn")
def test_what_does_not_add_up_is_told(tmp_path: Path) -> None:
    (warning,) = explanation_page.write(tmp_path, explanation(gap=0.06), run="r")
    assert "6.0% apart, 32 steps" in warning
    assert "more than 5% apart" in warning
    assert warning in Page((tmp_path / "explain.html").read_text(encoding="utf-8")).shown


@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_fails_costs_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> Chart:
        raise RuntimeError("no font <b>")

    monkeypatch.setattr(explanation_page.plots, "heads", burst)
    assert explanation_page.write(tmp_path, explanation(), run="r") == (
        "heads.png could not be drawn: RuntimeError: no font <b>",
    )
    assert (tmp_path / "explanation.json").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "why").write_text("mine")
    with pytest.raises(OutputError, match="expected folders only"):
        explanation_page.write(tmp_path / "why", explanation(), run="r")


def test_folders_are_numbered(tmp_path: Path) -> None:
    assert explanation_page.free_folder(tmp_path) == tmp_path / "explain" / "1"
    for name in ("2", "10", "mine"):
        (tmp_path / "explain" / name).mkdir(parents=True)
    assert explanation_page.free_folder(tmp_path) == tmp_path / "explain" / "11"


# --- the verb -----------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run whose weights are missing: whatever is refused is refused before they are read."""
    with create_run(tmp_path / "run", "name: mine\n") as folder:
        folder.write_predictions(Classification(names=("bad", "good")).rows(["test/0", "test/1"], [0, 1], np.eye(2)))
    _write_card(tmp_path / "run")
    return tmp_path / "run"


def _write_card(run: Path) -> None:
    tokenizer = load_tokenizer(vocabulary_folder("nano_uncased"))
    size = {"num_layers": 2, "num_heads": 3, "hidden_dim": 6, "intermediate_dim": 8, "max_positions": 32}
    config = BackboneConfig(family="bert", vocabulary_size=tokenizer.vocabulary_size, **size, **DEFAULTS["bert"])
    card = ModelCard(
        blueprint=Blueprint(backbone=config, head=ClassifierHead(dropout=0.1), units=2),
        tokens=Tokens(max_length=32),
        task=Classification(names=("bad", "good")),
    )
    (run / "model").mkdir(parents=True)
    (run / "model" / "model.json").write_bytes(dump_card(card))
    (run / "model" / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")


@pytest.fixture
def tested(tmp_path: Path) -> tuple[Path, Dataset]:
    """A finished run on rows that are still there, and these."""
    rows = [f"a text number {number},{'good' if number % 2 else 'bad'}" for number in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    recipe = "name: mine\ndata: {files: {train: reviews.csv}}\nmodel: {backbone: {family: bert, preset: minilm}}\n"
    (tmp_path / "mine.yaml").write_text(recipe, encoding="utf-8")
    dataset = load_dataset(load_recipe(tmp_path / "mine.yaml"))
    folder = tmp_path / "run"
    _write_card(folder)
    (folder / "recipe.yaml").write_text(recipe.replace("reviews", str(tmp_path / "reviews")), encoding="utf-8")
    opened = RunFolder(folder)
    labels = dataset.test.labels
    opened.write_predictions(dataset.task.rows(dataset.test.ids, labels, np.eye(2)[labels]))
    opened.update_run({"status": "done", "dataset": {"sha256": dataset.sha256}})
    return folder, dataset


@pytest.mark.usefixtures("undrawn")
def test_rows_are_explained_by_id(
    tested: tuple[Path, Dataset], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, dataset = tested
    monkeypatch.setattr(Run, "explain", lambda self, text, pair, *, label: explanation(text))
    ids = dataset.test.ids
    assert explain([str(folder), "--row", ids[1], "--row", ids[0], "--row", ids[1], "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["text"], row["folder"]) for row in shown] == [
        (dataset.test.texts[1], str(folder / "explain" / "1")),
        (dataset.test.texts[0], str(folder / "explain" / "2")),
    ]
    out = folder.parent / "out"
    assert explain([str(folder), "--row", ids[1], "--row", ids[0], "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(key.replace("/", "-") for key in ids[:2])
    told = capsys.readouterr()
    assert told.out.startswith(f"{ids[1]}\n")
    assert str(out / ids[0].replace("/", "-") / "explain.html") in told.out


def test_rows_of_changed_data_are_refused(tested: tuple[Path, Dataset], capsys: pytest.CaptureFixture[str]) -> None:
    folder, dataset = tested
    table = folder.parent / "reviews.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("a text", "another text"), encoding="utf-8")
    assert explain([str(folder), "--row", dataset.test.ids[0]]) == 3
    assert "bring its rows back, or give the text itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        ([], 2, "--text and --row: got neither, expected one of them"),
        (["--text", "a", "--row", "test/0"], 2, "--text and --row: got both, expected one of them"),
        (["--row", "test/0", "--pair", "b"], 2, "--pair: got a text, expected none with --row"),
        (["--row", "tset/1"], 2, "predictions.jsonl, as test/0 (did you mean test/1?)"),
        (["--text", "a", "--label", "goood"], 2, "expected one of bad, good (did you mean good?)"),
        (["--text", "a", "--layer", "2"], 2, "layer: got 2, expected 0 to 1: the model has 2 layers"),
        (["--text", "a", "--layer", "0", "--head", "-1"], 2, "head: got -1, expected 0 to 2: the model has 3 heads"),
        (["--text", ""], 3, "the text is empty, expected some words"),
        (["--text", "a", "--pair", " \n"], 3, "the text is empty, expected some words"),
        (["--text", "\u200b\u200b"], 3, "has no token in this vocabulary"),
    ],
)
def test_what_the_verb_refuses(
    finished: Path, arguments: list[str], code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain([str(finished), *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert fault in err
    assert not (finished / "explain").exists()


def test_a_run_that_is_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_run(tmp_path / "run", "name: mine\n").release()
    assert explain([str(tmp_path / "run"), "--text", "a"]) == 6
    assert "no finished model there" in capsys.readouterr().err
