"""Figures as PNG bytes, drawn without a display and without global state; equal input gives equal bytes.

matplotlib reads a `matplotlibrc` from the working directory, and one can have it call LaTeX. So its own style
is set for each.
"""

import io
from collections.abc import Mapping, Sequence

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tumorboard.evaluation.metrics import confusion_matrix
from tumorboard.predictions import Predictions, aligned

# Two of Okabe and Ito's colours, told apart with any colour vision; the lines differ in style as well.
_TRAIN, _VALID = "#0072B2", "#D55E00"
_DPI = 120

History = Sequence[Mapping[str, float]]


@style.context("default")
def learning_curves(
    histories: Mapping[str, History], best_epochs: Mapping[str, int], losses: Mapping[str, str] = {}
) -> bytes:
    """Loss and accuracy on train and validation over the epochs, a column for each model.

    Args:
        histories: By model, rows with epoch, loss, accuracy, val_loss, val_accuracy; no rows for a model
            that was not fitted.
        best_epochs: By model, the epoch whose weights were kept, counted as in the rows; may lack models.
        losses: By model, what to call its loss.

    Returns:
        A PNG image.
    """
    figure = Figure(figsize=(max(1, len(histories)) * 3.4, 5.6), layout="constrained")
    panels = figure.subplots(2, max(1, len(histories)), squeeze=False)
    for column, (name, rows) in enumerate(histories.items()):
        panels[0, column].set_title(name, parse_math=False)
        for panel, metric in zip(panels[:, column], ("loss", "accuracy"), strict=True):
            _draw_curve(panel, rows, metric, best_epochs.get(name))
        panels[0, column].set_ylabel(losses.get(name, "loss"))
    return _png(figure)


def _draw_curve(panel: Axes, rows: History, metric: str, best: int | None) -> None:
    panel.set_ylabel(metric)
    if not rows:
        panel.text(0.5, 0.5, "not fitted", ha="center", va="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[])
        return
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) == 1 else ""  # one point makes no line
    train, valid = ([row[key] for row in rows] for key in (metric, f"val_{metric}"))
    panel.plot(epochs, train, marker=marker, linestyle="-", color=_TRAIN, label="train")
    panel.plot(epochs, valid, marker=marker, linestyle="--", color=_VALID, label="validation")
    panel.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    if best is not None:
        panel.axvline(best, color="0.5", linestyle=":", label=f"kept: epoch {best}")
    if metric == "accuracy":
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    panel.legend(fontsize="small")


@style.context("default")
def confusion_matrices(models: Mapping[str, Predictions], title: str) -> bytes:
    """A confusion matrix for each model: counts, shaded by the share of the true class.

    Args:
        models: By model name, its predictions on one split, the same samples for all.
        title: Which split it is.

    Returns:
        A PNG image.

    Raises:
        DataError: The models were given other samples or classes.
    """
    same = aligned(*models.values(), names=list(models))
    size = 1.6 + 0.5 * max((len(one.class_names) for one in same), default=1)
    figure = Figure(figsize=(1.5 + max(1, len(same)) * size, size + 1.8), layout="compressed")
    panels = figure.subplots(1, max(1, len(same)), squeeze=False, sharey=True)[0]
    panels[0].set_ylabel("true")
    for panel, name, one in zip(panels, models, same, strict=False):
        panel.set_title(name, parse_math=False)
        _draw_matrix(panel, one)
    figure.suptitle(title, parse_math=False)
    return _png(figure)


def _draw_matrix(panel: Axes, one: Predictions) -> None:
    C = len(one.class_names)
    counts = confusion_matrix(one.labels, one.predicted, C)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(C):
        for column in range(C):
            ink = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink)
    panel.set_xticks(range(C), one.class_names, rotation=45, ha="right", fontsize="small", parse_math=False)
    panel.set_yticks(range(C), one.class_names, fontsize="small", parse_math=False)
    panel.set_xlabel("predicted")


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    target = io.BytesIO()
    # Without the software's version, so that the bytes depend on the picture alone.
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return target.getvalue()
