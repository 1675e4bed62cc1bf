"""What the next trial tries, and whether one that has begun is worth going on with: Optuna decides.

Optuna keeps nothing: its study is built anew, in memory, for each trial from the trials so far. So a study
that was killed goes on as it would have gone on, and no second record can fall out of step with ours.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from tumorboard.errors import UsageError
from tumorboard.reporting.trials import Trial
from tumorboard.search import Range, Space, Value

_PATIENT_TRIALS = 5  # none is pruned before so many are complete
_PATIENT_FOLDS = 2  # nor on fewer folds


def require() -> None:
    """Raise UsageError when Optuna is not installed."""
    if find_spec("optuna") is None:
        raise UsageError('tune needs a package that is not installed: pip install "tumorboard[tune]"')


class Drawn:
    """The settings of a trial, and a judge of how it goes."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.values: dict[str, Value] = dict(trial.params)

    def hopeless(self, loss: float, folds: int) -> bool:
        """Whether it is worse than the median of the earlier trials on as many folds."""
        if folds < _PATIENT_FOLDS:
            return False
        self._trial.report(loss, folds)
        return bool(self._trial.should_prune())


def draw(
    space: Space,
    kinds: Mapping[str, type],
    earlier: Sequence[Trial],
    seed: int,
    given: Mapping[str, Value] = {},
) -> Drawn:
    """The next trial; depends on these arguments alone.

    Args:
        space: What may be searched.
        kinds: By setting the type of its values: a range of whole numbers, or of any.
        earlier: All trials before it, each of them finished.
        seed: Of the study; each trial draws from a seed of its own.
        given: Its settings, if they are known; drawn by a tree-structured Parzen estimator if not.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = int(np.random.SeedSequence([seed, len(earlier)]).generate_state(1)[0])
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=own_seed),
        pruner=optuna.pruners.MedianPruner(_PATIENT_TRIALS, _PATIENT_FOLDS),
    )
    distributions = {name: _distribution(one, kinds[name]) for name, one in space.items()}
    study.add_trials([_told(one, distributions) for one in earlier])
    if given:
        study.enqueue_trial(dict(given))
    return Drawn(study.ask(distributions))


def _distribution(one: Range | list[Value], kind: type) -> Any:
    from optuna import distributions

    if not isinstance(one, Range):
        return distributions.CategoricalDistribution(one)
    if kind is int:
        return distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
    return distributions.FloatDistribution(one.low, one.high, log=one.log)


def _told(one: Trial, distributions: Mapping[str, Any]) -> Any:
    """A finished trial as Optuna knows it."""
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    reported = {folds: loss for folds, loss in enumerate(one.losses, start=1) if folds >= _PATIENT_FOLDS}
    return create_trial(
        state=states[one.state],
        params=dict(one.values),
        distributions=dict(distributions),
        value=one.losses[-1] if one.state == "complete" else None,
        intermediate_values=reported,
    )
