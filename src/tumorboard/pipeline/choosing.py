"""What held-out folds say of the ways to combine, and the recipe with the way that they prefer."""

from collections.abc import Mapping, Sequence

from tumorboard.combining import rules
from tumorboard.evaluation.study import most_accurate
from tumorboard.pipeline.job import predictions
from tumorboard.predictions import Predictions
from tumorboard.recipe import Recipe
from tumorboard.runfolder import RunFolder

Fold = Mapping[str, Predictions]
"""What every model, trained without the fold, says of it; "<member> mirrored": of its mirror images."""


def held_out(run: RunFolder, recipe: Recipe) -> Fold:
    """A fold's run on its fold, which lies in the place of test."""
    members = recipe.ensemble.members
    found = {name: predictions(run, name, "test") for name in recipe.names}
    return found | {f"{name} mirrored": predictions(run, name, "test-mirrored") for name in members}


def ways(found: Sequence[Fold], recipe: Recipe) -> dict[str, Predictions]:
    """What each way to combine, fitted on the other folds, makes of each fold.

    A form that only a training run can fit is judged where the recipe has it: as each fold's own ensemble.
    """
    if not found:
        return {}
    members = [[fold[name] for name in recipe.ensemble.members] for fold in found]
    mirrored = [[fold[f"{name} mirrored"] for name in recipe.ensemble.members] for fold in found]
    both = [[*one, *other] for one, other in zip(members, mirrored, strict=True)]
    fitted = {form: rules.cross_fitted(form, members) for form in rules.CANDIDATES}
    own = {recipe.ensemble.form: rules.together([fold["ensemble"] for fold in found])}
    return own | fitted | {"mirrored": rules.cross_fitted("mirrored", both)}


def with_rule(recipe: Recipe, found: Sequence[Fold], judged: Mapping[str, Predictions]) -> Recipe:
    """The recipe with the form that the folds prefer; the weights of an average come from them too."""
    if not found:
        return recipe
    form = most_accurate(judged)
    pooled = rules.pooled([[fold[name] for name in recipe.ensemble.members] for fold in found])
    weights = rules.fit(form, pooled).weights
    chosen = recipe.ensemble.model_copy(update={"form": form, "weights": weights})
    return recipe.model_copy(update={"ensemble": chosen})
