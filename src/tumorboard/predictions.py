"""A model's predictions of a set of samples, and their CSV file; the only input of evaluation.

Rows belong to sample ids. Several records are joined by `aligned` alone, on ids: joining on row order is how
the original study scored its ensemble at chance level.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard import text_files
from tumorboard.errors import DataError, display

ClassIndices = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-3
"""Softmax outputs stay well inside it, in half precision too; logits and rounded percentages do not."""

_PROBABILITY = "probability:"
TABLE_START = f'"id","label","predicted","{_PROBABILITY}'
"""Begins every table that `Predictions.to_csv` writes."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that starts with one of these as a formula."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of N samples, checked on construction; the arrays are read-only copies.

    Attributes:
        ids: N unique, non-empty sample ids.
        labels: (N,) int64, the true class of each sample, 0 to C-1.
        class_names: C unique, non-empty names, in the order of the probabilities' columns; C >= 2.
        probabilities: (N, C) float64, not negative, each row summing to 1 within `SUM_TOLERANCE`.

    Raises:
        DataError: Anything above does not hold.
    """

    ids: tuple[str, ...]
    labels: ClassIndices
    class_names: tuple[str, ...]
    probabilities: Probabilities

    def __post_init__(self) -> None:
        _check_unique(self.ids, "sample ids")
        _check_unique(self.class_names, "class names")
        N, C = len(self.ids), len(self.class_names)
        labels = np.array(self.labels)
        outside = sorted(set(labels.ravel().tolist()) - set(range(C)))
        if labels.shape != (N,) or outside:
            actual = f"{len(labels)} of shape {labels.shape}, outside it {_few(map(str, outside))}"
            raise DataError(f"expected {N} labels from 0 to {C - 1}, found {actual}")
        probabilities = np.array(self.probabilities, dtype=np.float64)
        if probabilities.shape != (N, C) or C < 2:
            expected = f"({N} samples, {C} classes), with 2 classes or more"
            raise DataError(f"expected probabilities of shape {expected}, found {probabilities.shape}")
        # A comparison with NaN is false, so this also refuses what is not finite.
        with np.errstate(all="ignore"):
            sums = np.abs(probabilities.sum(axis=1) - 1)
            valid = (probabilities >= 0).all(axis=1) & (sums <= SUM_TOLERANCE)
        bad = [sample for sample, fine in zip(self.ids, valid, strict=True) if not fine]
        if bad:
            what = "finite probabilities that sum to 1 (not logits or percentages)"
            raise DataError(f"expected {what}, found others for {_few(bad)}", bad)
        for name, array in (("labels", labels.astype(np.int64)), ("probabilities", probabilities)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> ClassIndices:
        """(N,) class of highest probability; the first of equal ones."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def take(self, rows: npt.NDArray[np.int64]) -> "Predictions":
        """Return the samples at these row indices, in that order."""
        ids = tuple(self.ids[row] for row in rows)
        return Predictions(ids, self.labels[rows], self.class_names, self.probabilities[rows])

    def to_csv(self) -> str:
        """Return CSV text: id, label, predicted (as class names), and `probability:<class>` for each class.

        `from_csv` reads the same probabilities, bit for bit. A text cell that a spreadsheet would run as a
        formula (it starts with = + - @, tab or carriage return) gets an apostrophe in front, and so does a
        cell that starts with an apostrophe, so that `from_csv` can tell them apart.
        """
        text = io.StringIO(newline="")
        # Text is quoted, so that a line break in an id stays in its cell; floats are written by repr.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(_header(self.class_names))
        names = [neutralised(name) for name in self.class_names]
        columns = zip(self.ids, self.labels, self.predicted, self.probabilities.tolist(), strict=True)
        for sample, label, predicted, row in columns:
            writer.writerow([neutralised(sample), names[label], names[predicted], *row])
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str, source: str) -> "Predictions":
        """Read what `to_csv` wrote, or a table of the same columns made elsewhere.

        Args:
            text: The CSV text, decoded without translation of line ends.
            source: The file's name, for errors.

        Raises:
            DataError: Not such a table, or its content does not hold together.
        """
        try:
            header, *body = [*text_files.rows(text, source)] or [text_files.Row(1, [])]
            columns = [*(text_files.clean(name).casefold() for name in header.cells[:3]), *header.cells[3:]]
            names = tuple(column.removeprefix(_PROBABILITY) for column in columns[3:])
            if columns != _header(names):
                remedy = "; it has no labels: evaluate a run with --data" if "prediction" in columns else ""
                raise DataError(
                    f"expected the columns id, label, predicted, {_PROBABILITY}<class>…, "
                    f"found {', '.join(columns)[:90]!r}{remedy}"
                )
            ids, labels, predicted = ([_restored(row.cells[column]) for row in body] for column in range(3))
            values = [_numbers(row) for row in body]
            unknown = sorted({*labels, *predicted} - set(names))
            if unknown:
                raise DataError(f"expected classes {_few(names)}, found {_few(unknown)}")
            triples = zip(ids, values, predicted, strict=True)
            wrong = [sample for sample, p, name in triples if p[names.index(name)] < max(p)]
            if wrong:
                raise DataError(
                    f"expected the most probable class as predicted, not so for {_few(wrong)}", wrong
                )
            indices = np.array([names.index(name) for name in labels], dtype=np.int64)
            probabilities = np.array(values, dtype=np.float64).reshape(len(body), len(names))
            return cls(tuple(ids), indices, names, probabilities)
        except DataError as error:
            message = f"{display(source)} is not a table of predictions: {error}"
            raise DataError(message, error.details) from error


def _numbers(row: text_files.Row) -> list[float]:
    try:
        return [text_files.number(cell) for cell in row.cells[3:]]
    except ValueError as error:
        raise DataError(f"expected probabilities in line {row.line}, found another value: {error}") from error


def aligned(*predictions: Predictions, names: Sequence[str] = ()) -> tuple[Predictions, ...]:
    """Return all records with their rows in the order of the first record's ids.

    Args:
        *predictions: Records of the same samples, each in any order.
        names: Their names in errors (models or files); by default their numbers.

    Raises:
        DataError: Ids, labels, class names or their order differ.
    """
    names = names or [f"predictions {number + 1}" for number in range(len(predictions))]
    for other, name in zip(predictions[1:], names[1:], strict=True):
        first, pair = predictions[0], f"{names[0]} and {name}"
        if first.class_names != other.class_names:
            both = f"{_few(first.class_names)} and {_few(other.class_names)}"
            raise DataError(f"expected the same classes in the same order in {pair}, found {both}"[:300])
        unmatched = sorted(set(first.ids) ^ set(other.ids))
        if unmatched:
            message = f"expected the same samples in {pair}, found only in one: {_few(unmatched)}"
            raise DataError(message[:300], unmatched)
        labels = dict(zip(other.ids, other.labels, strict=True))
        differing = [s for s, label in zip(first.ids, first.labels, strict=True) if labels[s] != label]
        if differing:
            message = f"expected the same labels in {pair}, found others for {_few(differing)}"
            raise DataError(message[:300], differing)
    in_order = []
    for other in predictions:
        position = {sample: row for row, sample in enumerate(other.ids)}
        in_order.append(other.take(np.array([position[sample] for sample in predictions[0].ids], np.int64)))
    return tuple(in_order)


def _check_unique(names: Sequence[str], what: str) -> None:
    if not all(isinstance(name, str) and name for name in names):
        raise DataError(f"expected {what} to be non-empty text, found {_few(n for n in names if not n)}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"expected {what} that occur once, found more than once: {_few(twice)}", twice)


def _few(names: Iterable[str]) -> str:
    shown = [repr(name)[:40] for name in names]  # each cut, so that a message stays one short line
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _header(class_names: Sequence[str]) -> list[str]:
    return ["id", "label", "predicted", *(_PROBABILITY + name for name in class_names)]


def classes_in(inside: npt.NDArray[np.bool_] | None, class_names: Sequence[str]) -> list[str] | None:
    """Name the classes of one set, a row of `conformal.prediction_set`; None for None."""
    return None if inside is None else [class_names[c] for c in np.flatnonzero(inside).tolist()]


def neutralised(cell: str) -> str:
    """Return the cell with an apostrophe in front where a spreadsheet would run it as a formula."""
    return f"'{cell}" if cell.startswith((*_FORMULA_STARTS, "'")) else cell


def _restored(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA_STARTS, "'")) else cell
