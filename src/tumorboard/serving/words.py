"""What the board's answer means, in plain words; the page and the API say the same."""

from collections.abc import Mapping, Sequence

NO_ANSWER = "The board would rather ask a human: it is not sure enough of this image to answer."
UNLIKE = "This image is unlike those that the models were trained on: trust none of the answers below."


def agreement(says: Mapping[str, str]) -> str:
    """Who says what, the commonest answer first: model name to class name."""
    answers = list(says.values())
    order = sorted(dict.fromkeys(answers), key=answers.count, reverse=True)
    if len(order) == 1:
        return f"All {len(says)} models say {order[0]}." if len(says) > 1 else f"It says {order[0]}."
    parts = [f"{_listed([m for m, said in says.items() if said == one])} for {one}" for one in order]
    return f"The models disagree: {'; '.join(parts)}."


def possible(classes: Sequence[str]) -> str:
    """The prediction set."""
    if not classes:
        return "No class fits well enough to be named."
    if len(classes) == 1:
        return f"Every class but {classes[0]} is ruled out at the run's level."
    return f"It cannot rule out {_listed(classes)}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
