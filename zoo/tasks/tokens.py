"""A class a word: named entities, parts of speech.

In come a tag a word, the logits of tokens and the places of both; out come cross-entropy, probabilities of each word's
tags, entities, predictions and figures. A word is looked at once, in one window, and by its first piece or by all of
them; the loss is over these pieces alone. A word without a piece, as where a text is cut, counts as outside, and where
there is no such tag as any. Refused: tags that are not in train, and a single one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.recipe.heads import TokensHead
from zoo.recipe.showing import listed
from zoo.score import entities, metrics
from zoo.score.ragged import Ragged
from zoo.score.tagging import OUTSIDE, Scheme, Span, learned_scheme, parts, scheme_of, spans
from zoo.tasks.alignment import align
from zoo.tasks.by_class import class_occurrences, class_table, strata_of, with_shares
from zoo.tasks.losses import NOTHING, of_classes, owned
from zoo.tasks.material import Rows, Stated, Tagging, Tokenized
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import Mistakes, Picture, Table
from zoo.tasks.tagged import Tagged, WordsPrediction, entities_of
from zoo.tasks.tags import number_tags, numbered
from zoo.tasks.task import Rankings, Task
from zoo.tasks.words_shown import entity_details, entity_picture, entity_tables, wrong_texts

__all__ = ["Tokens", "token_cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class Tokens(Task):
    """Targets are class numbers of words, [words] int32 of each text.

    pieces: whether a word is its first piece or all. asked: the scheme of the tags in files, None is told by the tags.
    scheme: of the names; None before the rows are read. repair: whether what has no place in it is mended.
    """

    type: Literal["tokens"] = "tokens"
    names: tuple[str, ...] = ()
    pieces: Literal["first", "all"] = "first"
    asked: Scheme | None = None
    scheme: Scheme | None = None
    repair: bool = True

    titles: ClassVar[Mapping[str, str]] = {
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
        "macro_f1": "F1, macro",
        "accuracy": "accuracy, by word",
        "majority_share": "commonest tag alone",
        "loss": "loss, nats a word",
    }
    shares: ClassVar[frozenset[str]] = frozenset(titles) - {"loss"}
    headline: ClassVar[tuple[str, ...]] = ("f1", "accuracy")
    drawn: ClassVar[tuple[str, ...]] = ("f1", "accuracy")
    commonest: ClassVar[str] = "the commonest tag"
    pipeline: ClassVar[str] = "token-classification"
    each: ClassVar[Literal["text", "token"]] = "token"
    worded: ClassVar[bool] = True
    spanned: ClassVar[bool] = True

    # --- from rows to targets

    @classmethod
    def of(cls, head: TokensHead) -> Self:
        asked = None if head.scheme == "auto" else head.scheme
        return cls(pieces=head.pieces, asked=asked, repair=head.on_broken == "repair")

    @property
    def tagging(self) -> Tagging:
        return Tagging(asked=self.asked, learned=self.scheme, repair=self.repair)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Types of entities; none where tags are classes by themselves."""
        if self.scheme == "plain":
            return ()
        return tuple(sorted({found[1] for name in self.names if (found := parts(name)) is not None} - {""}))

    def stated(self, stated: Stated) -> Self | None:
        if stated.names is None:
            return None
        scheme = self.asked or scheme_of([stated.names])
        return replace(self, names=stated.names, scheme=learned_scheme(scheme))

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, Ragged]]:
        every = [tags for rows in labels.values() for tags in rows]
        scheme = learned_scheme(self.asked or scheme_of([*every, stated.names or ()]))
        names, numbers = number_tags(labels, stated.names, scheme, where)
        return replace(self, names=names, scheme=scheme), numbers

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> Ragged:
        return numbered({"rows": labels}, self.names, where)["rows"]

    def strata(self, targets: Ragged) -> NDArray[np.int64]:
        """The set of a text's types of entities, where it has enough rows; the others together."""
        kinds = self.kinds
        has = np.zeros((len(targets), len(kinds)), np.int32)
        for number, name in enumerate(self.names):
            if (found := parts(name)) is not None and found[1] in kinds:
                has[targets.owners[targets.flat == number], kinds.index(found[1])] = 1
        return strata_of(has)

    def refuse_few(self, targets: Ragged, parts: tuple[str, ...]) -> None:
        """Nothing: a tag may be as rare as it is."""

    def account(self, targets: Mapping[str, Ragged]) -> dict[str, Any]:
        counts = {split: np.bincount(rows.flat, minlength=len(self.names)).tolist() for split, rows in targets.items()}
        return {"label_names": list(self.names), "label_counts": counts}

    def majority(self, targets: Ragged) -> float:
        return metrics.majority_share(targets.flat)

    # --- from targets to a trained model

    @property
    def activation(self) -> Literal["softmax"]:
        return "softmax"

    @property
    def problem_type(self) -> None:
        return None

    @property
    def target(self) -> np.ndarray:
        return np.zeros((), np.int32)

    def placed(self, targets: Ragged, table: Tokenized, rows: Rows) -> np.ndarray:
        """Of pieces that two words share it is the first one's; with `all` every piece of a word has its tag."""
        assert rows.words is not None
        found = align(table, rows.words)
        placed = np.full(len(table.ids), -1, np.int32)
        words = np.flatnonzero(found.own)
        pieces, word = found.pieces(words, every=self.pieces == "all")
        placed[pieces] = targets.flat[words[word]]
        return placed

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return max(float(((targets >= 0) * weights[:, None]).sum()), NOTHING)

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Cross-entropy in nats over the tokens with a label; see `Task.loss`."""
        return token_cross_entropy(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        right = (outputs.argmax(axis=-1) == targets) & (targets >= 0)
        return {"accuracy": float((right * weights[:, None]).sum())}

    # --- from outputs to what is said of them

    def gathered(self, outputs: np.ndarray, table: Tokenized, rows: Rows) -> Tagged:
        """The probabilities of each word's tags; with `pieces: all` their mean over the pieces."""
        assert rows.words is not None
        found = align(table, rows.words)
        words = np.flatnonzero(found.seen)
        pieces, word = found.pieces(words, every=self.pieces == "all")
        shares = np.zeros((len(found.first), len(self.names)))
        if OUTSIDE in self.names:
            shares[:, self.names.index(OUTSIDE)] = 1.0
        else:
            shares[:] = 1.0 / len(self.names)
        if len(pieces):
            of_pieces = metrics.probabilities(outputs[pieces], "classifier")
            counts = np.bincount(word)
            sums = np.add.reduceat(of_pieces, np.cumsum(counts) - counts, axis=0)
            shares[words] = sums / counts[:, None]
        of = rows.words
        return Tagged(probabilities=of.filled(shares), seen=of.filled(found.seen), words=of, texts=rows.texts)

    def values(self, outputs: Any) -> Any:
        """What `gathered` has found."""
        return outputs

    @property
    def blank(self) -> Tagged:
        nothing = Ragged.of([[]], np.int64)
        return Tagged(
            probabilities=Ragged.of([[]], np.float64, item=(len(self.names),)),
            seen=nothing,
            words=Ragged.of([[]], np.int32, item=(2,)),
            texts=[""],
        )

    def decided(self, values: Tagged) -> Ragged:
        return values.probabilities.filled(values.probabilities.flat.argmax(axis=-1))

    def same(self, first: Tagged, second: Tagged) -> NDArray[np.bool_]:
        others, owners = self.decided(first).flat != self.decided(second).flat, first.probabilities.owners
        found: NDArray[np.bool_] = np.bincount(owners, others, minlength=len(first)) == 0
        return found

    def difference(self, first: Tagged, second: Tagged) -> float:
        return float(np.abs(first.probabilities.flat - second.probabilities.flat).max(initial=0.0))

    def figures(self, values: Tagged, targets: Ragged) -> dict[str, float]:
        truth, predicted = targets.flat, self.decided(values).flat
        if not len(truth):
            raise DataError("there is no word to evaluate: check that the split is not empty")
        right, seen = int((truth == predicted).sum()), values.seen.flat.astype(bool)
        low, high = metrics.wilson_interval(right, len(truth))
        own = values.probabilities.flat[np.arange(len(truth)), truth][seen]
        # A probability that has underflowed to 0 counts as the smallest normal number.
        loss = -np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean() if len(own) else 0.0
        if self.kinds:
            found = entities.micro(entities.by_type(*self._spans(targets, values)))
        else:
            rows = [row for row in self._by_tag(values, targets) if row["rows"] or row["predicted"]]
            found = {key: float(np.mean([row[key] for row in rows])) for key in ("precision", "recall", "f1")}
        return {
            "rows": len(targets),
            "words": len(truth),
            **found,
            "accuracy": right / len(truth),
            "accuracy_low": low,
            "accuracy_high": high,
            "majority_share": metrics.majority_share(truth),
            "loss": float(loss),
        }

    def predictions(self, values: Tagged) -> list[Prediction]:
        assert values.texts is not None
        found: list[Prediction] = []
        kinds = self.kinds
        parts = zip(values.texts, self.decided(values), values.probabilities, values.words, strict=True)
        for text, tags, shares, places in parts:
            names, scores = self.label(tags), shares.max(axis=1, initial=0.0)
            found.append(
                WordsPrediction(
                    text=text,
                    words=tuple(text[start:end] for start, end in places.tolist()),
                    tags=tuple(names),
                    scores=tuple(scores.tolist()),
                    entities=entities_of(names, scores, places, text) if kinds else (),
                    kinds=kinds,
                )
            )
        return found

    def rows(self, ids: Sequence[str], targets: Ragged, values: Tagged) -> Iterator[dict[str, Any]]:
        """id, label and prediction, a tag a word; words, their places in the text; and probabilities, a list a word,
        null of words that the model saw nothing of."""
        parts = zip(ids, targets, self.decided(values), values.probabilities, values.seen, values.words, strict=True)
        for key, own, chosen, shares, seen, places in parts:
            rounded = np.round(shares, 8).tolist()
            yield {
                "id": key,
                "label": self.label(own),
                "prediction": self.label(chosen),
                "words": places.tolist(),
                "probabilities": [row if there else None for row, there in zip(rounded, seen, strict=True)],
            }

    def label(self, target: Any) -> list[str]:
        return [self.names[number] for number in target]

    def confusion(self, targets: Ragged, values: Tagged) -> NDArray[np.int64]:
        return metrics.confusion(targets.flat, self.decided(values).flat, range(len(self.names)))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Ragged, Tagged]:
        numbers = {name: number for number, name in enumerate(self.names)}
        nothing = [0.0] * len(self.names)
        shares = [[each or nothing for each in row["probabilities"]] for row in rows]
        predicted = Ragged.of([[numbers[tag] for tag in row["prediction"]] for row in rows], np.int64)
        found = Tagged(
            probabilities=Ragged.of(shares, np.float64, item=(len(self.names),)),
            seen=Ragged.of([[each is not None for each in row["probabilities"]] for row in rows], bool),
            words=Ragged.of([row["words"] for row in rows], np.int32, item=(2,)),
        )
        unseen = ~found.seen.flat
        found.probabilities.flat[unseen, predicted.flat[unseen]] = 1.0
        return Ragged.of([[numbers[tag] for tag in row["label"]] for row in rows], np.int32), found

    # --- what is shown to people

    def _entities(self, tags: Ragged) -> list[list[Span]]:
        return [spans(self.label(row)) for row in tags]

    def _spans(self, targets: Ragged, values: Tagged) -> tuple[list[list[Span]], list[list[Span]]]:
        """The entities of each text, the true ones and those found."""
        return self._entities(targets), self._entities(self.decided(values))

    def _by_tag(self, values: Tagged, targets: Ragged) -> list[dict[str, Any]]:
        return metrics.classification_table(targets.flat, self.decided(values).flat, self.names)

    @property
    def aim(self) -> str:
        if not self.kinds:
            return f"give each word of a text one of {len(self.names)} classes: {listed(self.names, 20)}"
        return f"find the entities of a text: {listed(self.kinds, 20)}"

    @property
    def listed_names(self) -> str:
        if not self.kinds:
            return f"classes of words: {listed(self.names)}"
        return f"entities: {listed(self.kinds)} ({str(self.scheme).upper()})"

    def listed_shares(self, targets: Ragged) -> str:
        if not self.kinds:
            counts = np.bincount(targets.flat, minlength=len(self.names))
            return f"classes of words: {listed(with_shares(self.names, counts, len(targets.flat)))}"
        found = Counter(span.type for row in self._entities(targets) for span in row)
        told = listed([f"{kind} {found[kind]:,}" for kind in self.kinds])
        return f"entities in train: {told} ({str(self.scheme).upper()}), among {len(targets.flat):,} words"

    def never_predicted(self, targets: Ragged, values: Tagged) -> list[str]:
        if not self.kinds:
            return [self.names[number] for number in np.setdiff1d(targets.flat, self.decided(values).flat)]
        rows = entities.by_type(*self._spans(targets, values))
        return [row["label"] for row in rows if row["rows"] and not row["predicted"]]

    @property
    def averaged(self) -> bool:
        return not self.kinds

    def tables(self, targets: Ragged, values: Tagged, *, most: int, rankings: Rankings | None = None) -> list[Table]:
        if not self.kinds:
            return [class_table(self._by_tag(values, targets), None, most, "By class, of words")]
        return entity_tables(*self._spans(targets, values), most)

    def details(self, targets: Ragged, values: Tagged) -> dict[str, Any]:
        if not self.kinds:
            return {"classes": self._by_tag(values, targets), "confusion": self.confusion(targets, values).tolist()}
        return entity_details(*self._spans(targets, values))

    def pictures(self, targets: Ragged, values: Tagged, rankings: Rankings) -> dict[str, Picture]:
        if self.kinds:
            return entity_picture(*self._spans(targets, values), self.kinds)
        return {
            "confusion_matrix": Picture(
                kind="confusion_matrix",
                arguments=(targets.flat, self.decided(values).flat, self.names),
                caption="Test split: true class of each word by row, predicted class by column",
            )
        }

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        """Without the tag outside, which most words have."""
        counts = account.get("label_counts", {})
        kept = [place for place, name in enumerate(self.names) if name != OUTSIDE or not self.kinds]
        told = {"label_counts": {split: [row[place] for place in kept] for split, row in counts.items()}}
        return class_occurrences(told if counts else {}, [self.names[place] for place in kept])

    def mistakes(self, targets: Ragged, values: Tagged, *, most: int) -> Mistakes:
        return wrong_texts(targets, self.decided(values), values, self.label, self.kinds, most)

    def showcase(self, values: Tagged) -> list[int]:
        """Texts with the most types of entities, those first that the model is surest of."""
        kinds = [len({span.type for span in row}) for row in self._entities(self.decided(values))]
        sure = [float(shares.max(axis=1).mean()) if len(shares) else 0.0 for shares in values.probabilities]
        return sorted(range(len(values)), key=lambda row: (-kinds[row], -sure[row]))

    @property
    def explained(self) -> str:
        if not self.kinds:
            return (
                "Every word counts once. F1, precision and recall are macro averages over the classes that occur. The "
                "loss is over the words that the model saw a piece of."
            )
        return (
            "An entity is right where its words and its type are. F1, precision and recall are over all entities "
            "together (micro), as seqeval has them; F1, macro is the mean over the types. Accuracy is over words, most "
            "of which are outside of any entity. The loss is over the words that the model saw a piece of."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        return (
            "A word is what stands between white space and signs; a list of words is taken as it is.",
            "What is cut off a long text is outside of any entity: tokens.long: window reads all of it."
            if self.kinds
            else "What is cut off a long text has no class of its own: tokens.long: window reads all of it.",
        )


def token_cross_entropy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, length, classes] and labels [batch, length] int32, -1 where there is none; see `Task.loss`."""
    from keras import ops

    counts = ops.cast(labels >= 0, logits.dtype) * ops.expand_dims(weights, -1)
    losses = of_classes(logits, owned(labels, logits.shape[-1]))
    return ops.sum(losses * counts), ops.maximum(ops.sum(counts), NOTHING)
