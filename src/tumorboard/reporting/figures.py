"""Figures as PNG bytes, drawn without a display and without global state; equal input gives equal bytes."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tumorboard.evaluation.metrics import confusion_matrix
from tumorboard.predictions import Predictions

# Two of Okabe and Ito's colours, told apart with any colour vision; the lines differ in style as well.
_TRAIN = {"color": "#0072B2", "linestyle": "-", "label": "train"}
_VALID = {"color": "#D55E00", "linestyle": "--", "label": "validation"}
_DPI = 120

History = Sequence[Mapping[str, float]]


def learning_curves(histories: Mapping[str, History], best_epochs: Mapping[str, int]) -> bytes:
    """Loss and accuracy on train and validation over the epochs, a column for each model.

    Args:
        histories: By model, rows with epoch, loss, accuracy, val_loss, val_accuracy; no rows for a model
            that was not fitted.
        best_epochs: By model, the epoch whose weights were kept, counted as in the rows; may lack models.

    Returns:
        A PNG image.
    """
    figure = Figure(figsize=(max(1, len(histories)) * 3.4, 5.6), layout="constrained")
    panels = figure.subplots(2, max(1, len(histories)), squeeze=False)
    for column, (name, rows) in enumerate(histories.items()):
        panels[0, column].set_title(name, parse_math=False)
        for panel, metric in zip(panels[:, column], ("loss", "accuracy"), strict=True):
            _draw_curve(panel, rows, metric, best_epochs.get(name))
    return _png(figure)


def _draw_curve(panel: Axes, rows: History, metric: str, best: int | None) -> None:
    panel.set_ylabel(metric)
    if not rows:
        panel.text(0.5, 0.5, "not fitted", ha="center", va="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[])
        return
    epochs = [row["epoch"] for row in rows]
    marker = "o" if len(rows) == 1 else ""  # one point makes no line
    panel.plot(epochs, [row[metric] for row in rows], marker=marker, **_TRAIN)
    panel.plot(epochs, [row[f"val_{metric}"] for row in rows], marker=marker, **_VALID)
    if best is not None:
        panel.axvline(best, color="0.5", linestyle=":", label=f"kept: epoch {best}")
    if metric == "accuracy":
        panel.set_ylim(0, 1.02)
        panel.set_xlabel("epoch")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend(fontsize="small")


def confusion_matrices(models: Mapping[str, Predictions], title: str) -> bytes:
    """A confusion matrix for each model: counts, shaded by the share of the true class.

    Args:
        models: By model name, its predictions on one split.
        title: Which split it is.

    Returns:
        A PNG image.
    """
    classes = max((len(one.class_names) for one in models.values()), default=1)
    size = 1.9 + 0.55 * classes
    figure = Figure(figsize=(max(1, len(models)) * size, size + 0.6), layout="constrained")
    panels = figure.subplots(1, max(1, len(models)), squeeze=False)[0]
    for panel, (name, one) in zip(panels, models.items(), strict=False):
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
    panel.set(xlabel="predicted", ylabel="true")


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    target = io.BytesIO()
    # Without the software's version, so that the bytes depend on the picture alone.
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return target.getvalue()
