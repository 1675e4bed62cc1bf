"""A trial of tuning as a record: the settings that were tried, and what came of it."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tumorboard.evaluation.intervals import Estimate
from tumorboard.predictions import neutralised
from tumorboard.search_space import Value

State = Literal["begun", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """Settings tried.

    Attributes:
        values: By the setting's name.
        state: "pruned" after some folds as clearly worse than others, "failed" when no fit came of it.
        losses: After each fold the mean log loss, in nats, of all images held out so far.
        loss: The last of them with its n and interval; None while there is none.
        accuracy: The share of the same images that were classified right.
        reason: Why it failed.
    """

    values: Mapping[str, Value]
    state: State = "begun"
    losses: tuple[float, ...] = ()
    loss: Estimate | None = None
    accuracy: Estimate | None = None
    reason: str = ""


def to_json(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """As plain dicts, numbered from 1."""
    return [{"trial": number, **asdict(one)} for number, one in enumerate(trials, start=1)]


def from_json(content: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """What `to_json` made; raises ValueError, KeyError or TypeError on anything else."""
    return [_trial(**{key: value for key, value in one.items() if key != "trial"}) for one in content]


def _trial(
    values: Mapping[str, Value],
    state: State,
    losses: Sequence[float],
    loss: Mapping[str, Any] | None,
    accuracy: Mapping[str, Any] | None,
    reason: str,
) -> Trial:
    return Trial(dict(values), state, tuple(losses), _measure(loss), _measure(accuracy), reason)


def _measure(found: Mapping[str, Any] | None) -> Estimate | None:
    return None if found is None else Estimate(**found)


def best(trials: Sequence[Trial]) -> int:
    """The position of the complete trial of lowest log loss, of equal ones the first; there must be one."""
    losses = {i: one.losses[-1] for i, one in enumerate(trials) if one.state == "complete"}
    return min(losses, key=lambda i: losses[i])


def to_csv(trials: Sequence[Trial]) -> str:
    """A row a trial: its number and state, its figures with n and 95 % interval, its settings."""
    names = list(dict.fromkeys(name for one in trials for name in one.values))
    figures = [f"{what}{end}" for what in ("log_loss", "accuracy") for end in ("", "_low", "_high")]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", "folds", "n", *figures, *names, "reason"])
    for number, one in enumerate(trials, start=1):
        n = one.loss.n if one.loss else 0
        tried = [_cell(one.values.get(name, "")) for name in names]
        shown = [*_limits(one.loss), *_limits(one.accuracy)]
        writer.writerow([number, one.state, len(one.losses), n, *shown, *tried, neutralised(one.reason)])
    return file.getvalue()


def settings(values: Mapping[str, Value]) -> str:
    """Settings on a line."""
    return ", ".join(f"{name} = {text(value)}" for name, value in values.items())


def text(value: Value) -> str:
    """A value for people; of a number four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Value) -> str:
    return neutralised(value) if isinstance(value, str) else json.dumps(value)


def _limits(one: Estimate | None) -> list[float | None]:
    return [one.value, one.low, one.high] if one else [None] * 3
