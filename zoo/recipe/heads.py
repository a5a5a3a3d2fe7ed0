"""The recipe's `model.head`, a type for each kind: what stands on a backbone, and what goes with it.

In comes plain data, out goes one of these. Refused: what kinds.py refuses, and keys of `data.files` that the head has
no use for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from zoo.recipe.data_group import Files
from zoo.recipe.kinds import Clash, Config, Fraction, Names, kind_or

TaskName = Literal["classification", "multilabel", "regression", "tokens", "span", "masked", "contrastive"]
"""What can be learned by itself."""
Threshold = Annotated[float, Field(gt=0.0, lt=1.0)]


OF_CLASSES = (
    *("accuracy", "f1", "loss", "macro_f1", "precision", "recall", "roc_auc", "average_precision", "matthews"),
)
"""Figures of classification; those of a curve are of two classes alone."""
Level = Annotated[int, Field(ge=-(10**9), le=10**9)]


class TaskHead(Config):
    """What the heads of all tasks have."""

    task: ClassVar[str]
    """The task that it is for."""
    each: ClassVar[Literal["text", "token"]] = "text"
    """What has an output."""
    labelled: ClassVar[bool] = True
    """Whether texts have labels."""
    program: ClassVar[str] = "SequenceClassification"
    """transformers' name for models with such a head, as in BertForSequenceClassification."""
    taught: ClassVar[bool] = False
    """Whether it can learn what a teacher says of its texts: outputs that are scores of classes."""
    classed: ClassVar[bool] = False
    """Whether its outputs are scores of classes, of texts or of words."""
    paired: ClassVar[bool] = False
    """Whether its loss is one of pairs of a batch's rows."""
    monitors: ClassVar[tuple[str, ...]]
    """Figures that can pick the best epoch; the first does where the recipe says nothing."""

    @property
    def watchable(self) -> tuple[str, ...]:
        """Those that this head has, as its keys stand."""
        return self.monitors

    @property
    def measured(self) -> tuple[str, ...]:
        """Figures of `expected` that its task has."""
        return ("accuracy", "f1")

    dropout: Fraction | None = None
    """Rate of dropout before the last layer, 0 to 1; None takes that of the Hugging Face preset, 0.1 for others."""
    init: Literal["seed", "preset"] = "seed"
    """Where the head's weights come from: drawn from the recipe's seed, or those of the preset, a Hugging Face model
    or a finished run of this task."""
    preset_labels: Names | None = None
    """With `init: preset`: the preset's own names (its id2label) of the data's classes, in the data's order;
    None expects the names of the data, in any order."""

    def clashes(self) -> Iterator[Clash]:
        if self.preset_labels is not None and self.init != "preset":
            message = f"got {', '.join(self.preset_labels)}, expected null with init: {self.init}"
            yield Clash(("preset_labels", "init"), message)

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        """What the recipe's files say that does not go with this head; keys are those of `data.files`."""
        if files.label is not None and not isinstance(files.label, str):
            message = f"got {len(files.label)} columns, expected one: a text has one label"
            yield Clash(("label",), message)
        if files.label_delimiter is not None:
            yield Clash(("label_delimiter",), f"got {files.label_delimiter}, expected null: a text has one label")


class ClassifierHead(TaskHead):
    """One logit a class, softmax."""

    task: ClassVar[str] = "classification"
    taught: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    monitors: ClassVar[tuple[str, ...]] = OF_CLASSES

    type: Literal["classifier"] = "classifier"
    """Kind of head."""


class BinaryHead(TaskHead):
    """One logit for class 1, sigmoid; for two classes only."""

    task: ClassVar[str] = "classification"
    taught: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    monitors: ClassVar[tuple[str, ...]] = OF_CLASSES

    type: Literal["binary"] = "binary"
    """Kind of head."""
    threshold: Threshold | Literal["tune"] = 0.5
    """Probability from which a row counts as class 1; `tune` picks the one with the best F1 on validation,
    which has to have 20 rows of each class; else it is 0.5, which is said."""

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        yield from super().clashes_with(files)
        if files.label_names and len(files.label_names) > 2:
            message = f"got {len(files.label_names)} classes, expected 2 with model.head.type: binary, or classifier"
            yield Clash(("label_names",), message)


def _form(threshold: Any) -> str:
    return "tune" if isinstance(threshold, str) else "by class" if isinstance(threshold, Mapping) else "number"


Thresholds = Annotated[
    Annotated[Threshold, Tag("number")]
    | Annotated[dict[str, Threshold], Tag("by class")]
    | Annotated[Literal["tune"], Tag("tune")],
    Discriminator(_form),
]


class MultilabelHead(TaskHead):
    """One logit a class, each with a sigmoid: a text has any number of classes."""

    task: ClassVar[str] = "multilabel"
    taught: ClassVar[bool] = True
    classed: ClassVar[bool] = True
    monitors: ClassVar[tuple[str, ...]] = (
        *("f1", "micro_f1", "samples_f1", "accuracy", "label_ranking_average_precision", "loss"),
        *("precision", "recall", "roc_auc", "average_precision", "hamming_loss"),
    )

    type: Literal["multilabel"] = "multilabel"
    """Kind of head."""
    threshold: Thresholds = 0.5
    """Probability from which a text has a class: one for all, or by class, 0.5 for those that are not named; `tune`
    picks for each class the one with the best F1 on validation, where 20 rows there have it and 20 do not, and leaves
    the others at 0.5, which is said."""

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        if files.label is None or isinstance(files.label, str):
            return
        if files.label_delimiter is not None:
            message = f"got {files.label_delimiter}, expected null: data.files.label has a column a class"
            yield Clash(("label_delimiter", "label"), message)
        if files.label_names is not None and len(files.label_names) != len(files.label):
            message = f"got {len(files.label_names)} names, expected one for each of {len(files.label)} columns"
            yield Clash(("label_names", "label"), message)


class RegressionHead(TaskHead):
    """One output a number: what a text is worth, how many stars it gives."""

    task: ClassVar[str] = "regression"
    monitors: ClassVar[tuple[str, ...]] = ("loss", "mean_absolute_error", "mean_squared_error", "r2", "spearman")

    type: Literal["regression"] = "regression"
    """Kind of head."""
    ordinal: bool = False
    """Whether the number is a whole level on a scale, as stars are: adds accuracy, within-one accuracy and quadratic
    kappa of the nearest levels."""
    levels: Annotated[tuple[Level, Level], Field(strict=False)] | None = None
    """With `ordinal`: the lowest and the highest level; None takes those of train."""

    @property
    def measured(self) -> tuple[str, ...]:
        return ("accuracy",) if self.ordinal else ()

    @property
    def watchable(self) -> tuple[str, ...]:
        return (*self.monitors, *(("accuracy", "within_one", "quadratic_kappa") if self.ordinal else ()))

    def clashes(self) -> Iterator[Clash]:
        yield from super().clashes()
        if self.levels is None:
            return
        low, high = self.levels
        if not self.ordinal:
            yield Clash(("levels", "ordinal"), f"got {low} to {high}, expected null with ordinal: false")
        elif low >= high:
            yield Clash(("levels",), f"got {low} and {high}, expected the lowest level and a higher one")

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        if files.label_names is not None:
            yield Clash(("label_names",), f"got {', '.join(files.label_names)}, expected null: numbers are no classes")
        if files.label_delimiter is not None:
            yield Clash(("label_delimiter",), f"got {files.label_delimiter}, expected null: give a column a number")
        if self.ordinal and isinstance(files.label, tuple):
            yield Clash(("label",), f"got {len(files.label)} columns, expected one with model.head.ordinal")


class TokensHead(TaskHead):
    """One logit a class of words, for every token, softmax."""

    task: ClassVar[str] = "tokens"
    classed: ClassVar[bool] = True
    each: ClassVar[Literal["text", "token"]] = "token"
    program: ClassVar[str] = "TokenClassification"
    monitors: ClassVar[tuple[str, ...]] = ("f1", "accuracy", "precision", "recall", "macro_f1", "loss")

    type: Literal["tokens"] = "tokens"
    """Kind of head."""
    pieces: Literal["first", "all"] = "first"
    """What speaks for a word of several pieces: the first, as BERT has it, or all of them: each learns the word's tag,
    and their probabilities are averaged."""
    scheme: Literal["auto", "plain", "iob1", "iob2", "bioes"] = "auto"
    """How tags tell entities: `auto` looks at them, `plain` has classes and no entities, as parts of speech. BILOU is
    read as bioes."""
    on_broken: Literal["repair", "error"] = "repair"
    """What tags get that have no place in their scheme, and spans that end within a word: read as conlleval reads them
    and widened to whole words (the count is printed), or an error."""

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        if not isinstance(files.text, str):
            yield Clash(("text",), f"got {len(files.text)} columns, expected one: the words of one text have tags")
        if isinstance(files.label, tuple):
            yield Clash(("label",), f"got {len(files.label)} columns, expected one, with a tag a word or spans")
        if files.label_delimiter is not None:
            message = (
                f"got {files.label_delimiter}, expected null: a text has a list of tags, or white space between them"
            )
            yield Clash(("label_delimiter",), message)


class SpanHead(TaskHead):
    """Two logits a token: whether the answer to a question starts there, and whether it ends there."""

    task: ClassVar[str] = "span"
    each: ClassVar[Literal["text", "token"]] = "token"
    program: ClassVar[str] = "QuestionAnswering"
    monitors: ClassVar[tuple[str, ...]] = (
        *("f1", "exact_match", "loss", "has_answer_f1", "has_answer_exact_match", "no_answer_f1"),
    )

    @property
    def measured(self) -> tuple[str, ...]:
        return ("exact_match", "f1")

    type: Literal["span"] = "span"
    """Kind of head."""
    dropout: Fraction | None = 0.0
    """Rate of dropout before the last layer, 0 to 1; None takes that of the Hugging Face preset, 0.1 for others. BERT
    was fine-tuned with none there."""
    max_answer_length: Annotated[int, Field(gt=0, le=8192)] = 30
    """Tokens of an answer, at most."""
    n_best: Annotated[int, Field(gt=0, le=1000)] = 20
    """Answers that are told of a question, best first, at most."""
    threshold: Annotated[float, Field(allow_inf_nan=False)] | Literal["tune"] = "tune"
    """Where train has questions without an answer: by how much no answer has to score higher than the best one for none
    to be given, in logits; `tune` picks the one with the best F1 on validation, which has to have 20 questions of
    either kind; else it is 0, which is said. Elsewhere an answer is always given."""

    def clashes(self) -> Iterator[Clash]:
        yield from super().clashes()
        if self.preset_labels is not None:
            yield Clash(
                ("preset_labels",), f"got {', '.join(self.preset_labels)}, expected null: answers have no classes"
            )

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        yield from super().clashes_with(files)
        if isinstance(files.text, str):
            message = f"got {files.text}, expected two columns, of the question and of the context: [question, context]"
            yield Clash(("text",), message)
        if files.label_names is not None:
            yield Clash(("label_names",), f"got {', '.join(files.label_names)}, expected null: answers have no classes")


class MaskedHead(TaskHead):
    """The tokens that were hidden, by scores of the whole vocabulary: a masked language model, its last layer tied to
    the token embeddings."""

    task: ClassVar[str] = "masked"
    each: ClassVar[Literal["text", "token"]] = "token"
    program: ClassVar[str] = "MaskedLM"
    labelled: ClassVar[bool] = False
    monitors: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "accuracy")

    type: Literal["masked"] = "masked"
    """Kind of head."""
    init: Literal["auto", "seed", "preset"] = "auto"  # type: ignore[assignment]  # a preset often has this head
    """Where the head's weights come from: the preset, which has to have a masked-language head; drawn from the recipe's
    seed; or with `auto` the preset's where it has one, else the seed."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.15
    """Share of a text's tokens that are predicted (Devlin et al. 2019, section 3.1)."""
    masked: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    """Share of these that the model sees as the mask token."""
    random: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """Share of these that it sees as any other token; those that are left it sees as they are."""
    whole_word: bool = False
    """Whether all pieces of a word are hidden together."""

    def places(self, length: int) -> int:
        """How many tokens of so many are hidden at most."""
        return max(1, round(self.share * length))

    @property
    def measured(self) -> tuple[str, ...]:
        return ("accuracy",)

    def clashes(self) -> Iterator[Clash]:
        if self.preset_labels is not None:
            yield Clash(("preset_labels",), f"got {', '.join(self.preset_labels)}, expected null: there are no classes")
        if self.dropout is not None:
            yield Clash(("dropout",), f"got {self.dropout:g}, expected null: this head drops nothing")
        if self.masked + self.random > 1.0:
            message = f"got {self.masked:g} beside random: {self.random:g}, expected at most 1 together"
            yield Clash(("masked", "random"), message)

    def clashes_with(self, files: Files) -> Iterator[Clash]:
        if files.label_names is not None:
            yield Clash(("label_names",), f"got {', '.join(files.label_names)}, expected null: no labels are read")
        if files.label_delimiter is not None:
            yield Clash(("label_delimiter",), f"got {files.label_delimiter}, expected null: no labels are read")


class ContrastiveHead(TaskHead):
    """No layer of its own: means of a text's hidden states, of length 1, near each other where texts have one class
    (Tunstall et al. 2022, SetFit)."""

    task: ClassVar[str] = "contrastive"
    paired: ClassVar[bool] = True
    program: ClassVar[str] = "Contrastive"
    monitors: ClassVar[tuple[str, ...]] = ("accuracy", "loss")

    type: Literal["contrastive"] = "contrastive"
    """Kind of head."""
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """How often each row of train comes in an epoch, in other company each time."""

    @property
    def measured(self) -> tuple[str, ...]:
        return ("accuracy",)

    def clashes(self) -> Iterator[Clash]:
        for key in ("dropout", "preset_labels"):
            if getattr(self, key) is not None:
                yield Clash((key,), f"got {getattr(self, key)}, expected null: this head has no layer of its own")
        if self.init != "seed":
            yield Clash(("init",), f"got {self.init}, expected seed: this head has no weights")


class JointHead(TaskHead):
    """The heads of several tasks beside each other; it follows from `tasks`, where each has its own."""

    task: ClassVar[str] = "joint"
    monitors: ClassVar[tuple[str, ...]] = ("mean", "loss")

    @property
    def measured(self) -> tuple[str, ...]:
        return ()

    type: Literal["joint"] = "joint"
    """Kind of head."""

    def clashes(self) -> Iterator[Clash]:
        for key in ("dropout", "preset_labels"):
            if getattr(self, key) is not None:
                yield Clash((key,), f"got {getattr(self, key)}, expected null: each of `tasks` has a head of its own")
        if self.init != "seed":
            yield Clash(("init",), f"got {self.init}, expected seed: each of `tasks` has a head of its own")


Head = Annotated[
    Annotated[ClassifierHead, Tag("classifier")]
    | Annotated[BinaryHead, Tag("binary")]
    | Annotated[MultilabelHead, Tag("multilabel")]
    | Annotated[RegressionHead, Tag("regression")]
    | Annotated[TokensHead, Tag("tokens")]
    | Annotated[SpanHead, Tag("span")]
    | Annotated[MaskedHead, Tag("masked")]
    | Annotated[ContrastiveHead, Tag("contrastive")]
    | Annotated[JointHead, Tag("joint")],
    kind_or("classifier"),
]
HEADS: Mapping[str, str] = {
    "classification": "classifier",
    "multilabel": "multilabel",
    "regression": "regression",
    "tokens": "tokens",
    "span": "span",
    "masked": "masked",
    "contrastive": "contrastive",
    "joint": "joint",
}
"""The type of head that a task has where the recipe names none."""
