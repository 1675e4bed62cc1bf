"""Compare the GFLOP/s of each phase of a run with those of a matrix product.

    python benchmarks/arithmetic.py DATA [--images 128] [--recipe default]

Counted are the multiplications and additions of convolutions and dense layers, from the shapes of
their weights and outputs. A training step counts the forward pass, the gradients of trained
weights, and those of the inputs of the layers behind them. Other work of a phase (augmentation,
norms, reading batches) takes time but is not counted.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np
from keras import layers

from measuring import Part, matrix_gflops, rate, read, some
from tumorboard.config import Recipe, load
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import build_chain, build_ensemble
from tumorboard.models.architectures import build_network
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec, split_at_frozen
from tumorboard.training import feature_cache, fit

Phase = tuple[str, float, float]
"""Its name, GFLOP an image, images a second."""


def main() -> None:
    """Print one line per phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--recipe", default="default")
    options = parser.parse_args()
    plan = load(options.recipe)
    fit.prepare_backend(0, plan.threads or len(os.sched_getaffinity(0)))
    part = some(read(options.data, plan.image, "train")[0], options.images)
    phases = measured(plan, part)
    machine = matrix_gflops()
    print(f"matrix product, 2,048 squared, float32: {machine:.0f} GFLOP/s")
    for name, gflop, speed in phases:
        achieved = gflop * speed
        print(
            f"{name}: {speed:.1f} images/s of {gflop:.3f} GFLOP: {achieved:.1f} GFLOP/s, "
            f"{achieved / machine:.2f} of the matrix product"
        )


def measured(plan: Recipe, part: Part) -> list[Phase]:
    """Measure every phase that multiplies."""
    classes = int(part[1].max()) + 1
    members = {name: build_network(name, one, plan.image, classes, 0) for name, one in plan.models.items()}
    names = tuple(map(str, range(classes)))
    pairs = {name: (model, ModelSpec(name, "", names, plan.image)) for name, model in members.items()}
    links = [pairs[name] for name in (plan.chained.first, *plan.chained.others)]
    chained = build_chain("chained", links, plan.chained)
    joint = build_ensemble(
        "ensemble", [pairs[name] for name in plan.ensemble.members], CombinationRule("mean")
    )
    phases = [phase for name, model in members.items() for phase in _fitting(name, model, plan, part)]
    phases += _fitting("chained", chained, plan, part)[-1:]  # its views are those of its links
    return [*phases, *(_predicting(model, part) for model in (*members.values(), joint, chained))]


def _fitting(name: str, model: keras.Model, plan: Recipe, part: Part) -> list[Phase]:
    images, labels = part
    training = plan.chained.training if name == "chained" else plan.models[name].training
    if not training.views:
        return [_training(name, model, [images], labels)]
    trunk, tail = split_at_frozen(model)
    phases = []
    with tempfile.TemporaryDirectory() as folder:
        options = {"views": 1, "augmented": True, "seed": 0}
        places = iter(Path(folder) / str(number) for number in range(9))
        if flop(trunk) > 1e6 and name != "chained":  # not a mere change of size or colour
            speed = rate(
                lambda: feature_cache.compute_views(trunk, images, next(places), **options), len(images)
            )
            phases.append((f"{name}, views of what is frozen", flop(trunk) / 1e9, speed))
        kept = feature_cache.compute_views(trunk, images, next(places), **options)
        inputs = [np.asarray(views[0], np.float32) for views in kept]
    return [*phases, _training(name, tail, inputs, labels)]


def _training(name: str, network: keras.Model, inputs: list[np.ndarray], labels: np.ndarray) -> Phase:
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    x = inputs if len(inputs) > 1 else inputs[0]
    epochs = 4  # the beginning of a fit costs as much as some steps
    speed = rate(
        lambda: network.fit(x, labels, batch_size=32, epochs=epochs, verbose=0), epochs * len(labels)
    )
    return f"{name}, training", step(network) / 1e9, speed


def _predicting(model: keras.Model, part: Part) -> Phase:
    speed = rate(lambda: probabilities(model, part[0]), len(part[0]))
    return f"{model.name}, prediction", flop(model) / 1e9, speed


def step(model: keras.Model) -> int:
    """Return the operations of a training step, per image."""
    found, behind = 0, False
    for layer in model._flatten_layers(recursive=True, include_self=False):
        if not isinstance(layer, keras.Model):
            learns = bool(layer.trainable_weights)
            found += _of_layer(layer) * (1 + learns + behind)
            behind = behind or learns
    return found


def flop(model: keras.Model) -> int:
    """Return the operations of the forward pass of one image."""
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: keras.Layer) -> int:
    if isinstance(layer, keras.Model):
        return flop(layer)
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return 2 * int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
    if isinstance(layer, layers.Dense):
        return 2 * int(np.prod(layer.output.shape[1:-1])) * int(np.prod(layer.kernel.shape))
    return 0


if __name__ == "__main__":
    main()
