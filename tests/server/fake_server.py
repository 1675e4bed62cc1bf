"""A predictor without networks, and a server of it: `python -m tests.server.fake_server RUN [OPTIONS]`."""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tumorboard.config import Image
from tumorboard.run_folder import RunFolder
from tumorboard.server import app, server
from tumorboard.server.app import AppState
from tumorboard.server.schemas import read_test_accuracies
from tumorboard.workflows.predictor import Reliability, RunPredictor

NAMES = ("custom", "pretrained", "ensemble", "chained")
CLASSES = ("adenocarcinoma", "normal", "squamous")


@dataclass(frozen=True)
class FakePrediction:
    probabilities: dict
    calibrated: np.ndarray | None = None
    prediction_set: np.ndarray | None = None
    refer: bool | None = None
    out_of_distribution: bool | None = None


@dataclass(frozen=True)
class FakePredictor:
    """Its probabilities follow the colours; a dark image is referred, a white one is out of distribution."""

    names: tuple[str, ...] = NAMES
    recommended: str = "ensemble"
    class_names: tuple[str, ...] = CLASSES
    image: Image = field(default_factory=lambda: Image(size=32))
    seconds: float = 0.0
    reliability: Reliability = field(default_factory=lambda: Reliability(0.5, refer_below=0.4))
    patient_rules: dict = field(default_factory=dict)
    combine = RunPredictor.combine

    def predict(self, pixels: np.ndarray) -> FakePrediction:
        time.sleep(self.seconds)
        sums = np.resize(pixels.reshape(-1, 3).sum(axis=0, dtype=np.float64) + 1, len(self.class_names))
        share = sums / sums.sum()
        rows = {name: np.roll(share, name == "chained") for name in self.names}
        calibrated = share**2 / (share**2).sum()
        dark, white = bool(pixels.mean() < 20), bool(pixels.mean() > 250)
        return FakePrediction(rows, calibrated, share > 0.2, dark, white)


class FakeHeatMaps:
    @staticmethod
    def layer(name: str, pixels: np.ndarray, target: int) -> np.ndarray:
        """A square in the middle; for the last class nothing."""
        layer = np.zeros((*pixels.shape[:2], 4), np.uint8)
        layer[8:24, 8:24] = 255 if target < len(CLASSES) - 1 else 0
        return layer

    def close(self) -> None:
        pass


def run_folder(root: Path) -> RunFolder:
    """A run of which only metrics.json is there."""
    accuracy = {"value": 0.8, "n": 60, "low": 0.68, "high": 0.88}
    part = {"n": 60, "loss": 0.5, "accuracy": accuracy}
    content = {
        "models": {name: {"splits": {"test": part}} for name in NAMES},
        "test_subsets": {
            "without twins": {name: part | {"n": 56, "accuracy": accuracy | {"n": 56}} for name in NAMES}
        },
    }
    run = RunFolder(root)
    run.metrics.write_text(json.dumps(content))
    return run


def fake_state(root: Path, **options: object) -> AppState:
    run = run_folder(root)
    return AppState(FakePredictor(**options), FakeHeatMaps(), read_test_accuracies(run), run)


def announce(url: str) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    listener = server.listen("127.0.0.1", 0)
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if "frames" in options:
        options["image"] = Image(size=32, frames=options.pop("frames"))
    for name in {"class_names", "names"} & set(options):
        options[name] = tuple(options[name])
    server.HEADER_SECONDS = options.pop("header_seconds", server.HEADER_SECONDS)
    application = app.build(fake_state(Path(sys.argv[1]), **options))
    server.serve(application, "127.0.0.1", listener, "", announce)
