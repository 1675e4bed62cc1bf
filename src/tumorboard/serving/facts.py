"""What the page says about the run itself: how good its models were on test, from metrics.json."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.storage import shown

AS_GIVEN = "all test images"


class Accuracy(BaseModel):
    """A proportion of right answers with its 95 % interval."""

    images: str = Field(description="which test images")
    value: float
    low: float
    high: float
    n: int


class ModelFacts(BaseModel):
    """One model of the run."""

    name: str
    test: list[Accuracy] = Field(description="as given first, then without what makes the test easy")


def accuracies(run: RunFolder) -> dict[str, list[Accuracy]]:
    """Each model's accuracy on test, as given and on the subsets without leaks.

    Raises:
        RunFolderError: The run is not finished, or its metrics.json is damaged.
    """
    try:
        content = json.loads(run.metrics.read_text("utf-8"))
        subsets = {AS_GIVEN: {name: one["splits"]["test"] for name, one in content["models"].items()}}
        subsets |= content["test_subsets"]
        return {name: _of(name, subsets) for name in content["models"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise RunFolderError(
            f"expected the results of a finished run at {shown(run.metrics)}, found none that can be read; "
            "finish it with `tumorboard train`"
        ) from error


def _of(name: str, subsets: Mapping[str, Mapping[str, Any]]) -> list[Accuracy]:
    return [
        Accuracy(images=title, **scores[name]["accuracy"])
        for title, scores in subsets.items()
        if name in scores and scores[name]["n"]
    ]
