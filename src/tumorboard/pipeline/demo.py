"""The main job on a drawn data set, so that anybody can see it whole, offline, in minutes."""

from pathlib import Path

from tumorboard.console import Console
from tumorboard.data import phantoms
from tumorboard.pipeline.train import train
from tumorboard.recipe import load
from tumorboard.runfolder import RunFolder


def demo(data: Path, out: Path, console: Console) -> RunFolder:
    """Draw the phantoms into `data` and train on them; the planted damaged file is named and left out."""
    console.say(f"drawing synthetic chest-CT-like images into {data}: {phantoms.MARK}")
    phantoms.draw(data)
    return train(data, out, load("demo"), skip_bad=True, console=console)
