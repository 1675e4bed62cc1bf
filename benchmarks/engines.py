"""Measure the images per second of `predict`, compared with each runtime called directly.

    python benchmarks/engines.py RUN [--images 200] [--rounds 3]

`raw` only calls the runtime of each model's own file on float32 arrays in memory, one image per
call. `ours` is everything that `predict` does with a decoded image: the probabilities of every
model, the out-of-distribution score, calibration, the row as JSON. `plain` is `model.predict` of
each model in batches of 32. The rounds alternate and the fastest counts, so that other work on the
machine has less effect. Exports are written to RUN/exports. OpenVINO, which `predict` does not use, is
measured for comparison.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import numpy as np

from tumorboard.export import exported_model
from tumorboard.workflows.export import export
from tumorboard.workflows.prediction_table import plain_values
from tumorboard.workflows.predictor import ENGINES, KERAS, RunPredictor, load_run

_Call = Callable[[np.ndarray], object]
RUNTIMES = (KERAS, "onnx", "openvino")


def main() -> None:
    """Print the rates and the ratio of ours to raw, one line per engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    predictors = {engine: load_run(options.run, engine=engine) for engine in ENGINES}
    keras = predictors[KERAS]
    size = keras.image.size
    images = np.random.default_rng(0).integers(0, 256, (options.images, size, size, 3), np.uint8)
    calls = {runtime: _calls(keras, options.run, runtime) for runtime in RUNTIMES}
    best = _race(_runners(predictors, calls, images), options.images, options.rounds)
    scored = "no score" if keras.reliability.detector is None else f"the score of {keras.recommended}"
    print(f"{len(keras.names)} models and {scored}; {options.images} images of {size}x{size}")
    print(f"plain model.predict: {best['plain']:.1f} images/s")
    for runtime in RUNTIMES:
        raw, ours = best[f"{runtime} raw"], best.get(f"{runtime} ours")
        against = f", ours {ours:.1f}, ours/raw {ours / raw:.2f}" if ours else ""
        print(f"{runtime}: raw {raw:.1f} images/s ({raw / best['plain']:.2f} of plain){against}")


def _runners(
    predictors: dict[str, RunPredictor], calls: dict[str, list[_Call]], images: np.ndarray
) -> dict[str, Callable[[], object]]:
    ready, models = images.astype(np.float32), predictors[KERAS].models.values()
    runners: dict[str, Callable[[], object]] = {
        "plain": lambda: [model.predict(images, 32, verbose=0) for model in models]
    }
    for runtime, own in calls.items():
        runners[f"{runtime} raw"] = lambda own=own: [call(one[None]) for one in ready for call in own]
    for engine, predictor in predictors.items():
        runners[f"{engine} ours"] = lambda predictor=predictor: [
            json.dumps(plain_values(predictor, predictor.predict(one))) for one in images
        ]
    return runners


def _calls(keras: RunPredictor, run: Path, runtime: str) -> list[_Call]:
    """Return the call of each model by itself."""
    if runtime == KERAS:
        return [model.predict_on_batch for model in keras.models.values()]
    files = [export(run, name, runtime).path for name in keras.names]
    return [exported_model.open_exported(file, runtime, keras.image.size).predict for file in files]


def _race(runners: dict[str, Callable[[], object]], count: int, rounds: int) -> dict[str, float]:
    for run in runners.values():
        run()  # builds the graphs
    best = dict.fromkeys(runners, 0.0)
    for _ in range(rounds):
        for name, run in runners.items():
            begun = time.perf_counter()
            run()
            best[name] = max(best[name], count / (time.perf_counter() - begun))
    return best


if __name__ == "__main__":
    main()
