"""Compare Tumorboard with other software on the same images, splits and initial weights.

    python benchmarks/peers.py DATA [--only fastai keras ultralytics] [--epochs 3] [--cache FOLDER]

Every peer is installed into an environment of its own below --cache and run in a process of its own.
Images are decoded and resized once, as the recipe says. `fastai` fine-tunes timm's
EfficientNet-Lite0 and `keras` is the study's loop, both from the weights in this package; `ultralytics`
trains its smallest classifier from scratch and is compared with `custom`. Every peer sees train and
validation only; accuracy is computed here, from its probabilities. Processor time hardly depends on
what else runs, wall time does.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = {
    "fastai": ["fastai>=2.8", "timm"],
    "keras": ["keras==3.15.1", "tensorflow-cpu==2.21.0", "pillow"],
    "ultralytics": ["ultralytics"],
    "autogluon": ["autogluon.multimodal"],
    "aucmedi": ["aucmedi"],
}
EPOCHS = {"fastai": 12, "keras": 60, "ultralytics": 80, "autogluon": 20, "aucmedi": 60}
COMPARED_WITH = {"ultralytics": "custom"}  # the others start from the same backbone as `pretrained`
SPLITS = ("train", "valid", "test")


def main() -> None:
    """Print a row for each peer and for our models; a peer that fails has its reason instead."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=["tumorboard", *PACKAGES])
    parser.add_argument("--epochs", type=int, help="instead of each one's own number, to try it")
    parser.add_argument("--recipe", default="default", help="that of Tumorboard")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "tumorboard-peers")
    options = parser.parse_args()
    cache = options.cache.absolute()
    prepared = cache / "images"
    labels, classes = prepare(options.data, prepared, options.recipe)
    rows: dict[str, dict[str, Any]] = {}
    for name in options.only or ["tumorboard", *PACKAGES]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            if name == "tumorboard":
                rows |= ours(options.data, cache / "run", options.recipe)
            else:
                epochs = options.epochs or EPOCHS[name]
                rows[f"{name}, {epochs} epochs"] = measure(name, cache, epochs, labels, len(classes))
        except (subprocess.CalledProcessError, OSError, ValueError) as error:
            rows[name] = {"failed": last_line(error)}
    print("\n".join(table(rows)))


def prepare(data: Path, folder: Path, recipe: str) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Write SPLIT/CLASS NUMBER/ROW.png, the initial weights, and features to compare them by.

    Returns:
        The class numbers of each split, in the order of the rows, and the names of the classes.
    """
    import numpy as np
    from PIL import Image

    from measuring import read
    from tumorboard.config import load
    from tumorboard.data import manifest
    from tumorboard.models.architectures import build_network
    from tumorboard.models.backbones import build_backbone

    shutil.rmtree(folder, ignore_errors=True)
    rule = load(recipe).image
    parts = dict(zip(SPLITS, read(data, rule, *SPLITS), strict=True))
    classes = manifest.load(data).manifest.class_names
    for split, (images, labels) in parts.items():
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / f"{label:02}" / f"{row:06}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    backbone = build_backbone("efficientnet-lite0", "imagenet", (rule.size, rule.size, 3), "peer")
    image = parts["valid"][0][:1].astype(np.float32)
    features = backbone.predict((image - 127) / 128, verbose=0).mean((1, 2))
    weighted = [layer for layer in backbone.layers if layer.weights]
    arrays = {
        f"{number:03}_{part}": array
        for number, layer in enumerate(weighted)
        for part, array in enumerate(layer.get_weights())
    }
    np.savez(folder / "weights.npz", features=features, image=image, **arrays)
    notebook = load("notebook").with_options("efficientnet-lite0", "imagenet", None)
    settings = notebook.models["pretrained"].model_copy(update={"preprocessing": "own", "norms": "frozen"})
    build_network("pretrained", settings, rule, len(classes), 0).save(folder / "study.keras")
    return {split: [int(label) for label in labels] for split, (_, labels) in parts.items()}, classes


def measure(
    name: str, cache: Path, epochs: int, labels: dict[str, list[int]], classes: int
) -> dict[str, Any]:
    """Install and run a peer; return its hits, seconds and memory."""
    import numpy as np

    python = install(name, cache)
    out = cache / f"{name}.json"
    out.unlink(missing_ok=True)
    command = [python, __file__, "--worker", name, cache / "images", out, epochs, classes]
    seconds, processor, gigabytes = run_logged(command, cache / f"{name}.log")
    content = json.loads(out.read_text("utf-8"))
    row: dict[str, Any] = {"seconds": seconds, "processor": processor, "memory": gigabytes}
    row["versions"], row["against"] = content["versions"], COMPARED_WITH.get(name, "pretrained")
    for split in ("valid", "test"):
        predicted = np.argmax(content[split], axis=1)
        row[split] = (int((predicted == labels[split]).sum()), len(labels[split]))
    return row


def install(name: str, cache: Path) -> Path:
    """Make the environment of a peer, unless it is there."""
    folder = cache / "environments" / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "installed").exists():
        log = cache / f"{name}-install.log"
        uv = shutil.which("uv")
        make, pip = (
            ([uv, "venv", "--clear", "--python", sys.executable], [uv, "pip", "install", "--python", python])
            if uv
            else ([sys.executable, "-m", "venv"], [python, "-m", "pip", "install"])
        )
        run_logged([*make, folder], log)
        run_logged([*pip, *PACKAGES[name]], log)
        (folder / "installed").touch()
    return python


def run_logged(command: Sequence[object], log: Path, *, own: bool = False) -> tuple[float, float, float]:
    """Run a command; return its wall and processor seconds and its largest memory in gigabytes.

    Args:
        command: Its first word is the program.
        log: The file of its output, which an error carries.
        own: Whether it is one of our commands, which may find our packages through PYTHONPATH.
    """
    begun = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if own or key != "PYTHONPATH"}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            list(map(str, command)), stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        output = log.read_text("utf-8", "replace")
        raise subprocess.CalledProcessError(process.returncode, command, output=output)
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def ours(data: Path, run: Path, recipe: str) -> dict[str, dict[str, Any]]:
    """Train with a recipe; the first row has the time and the memory of the whole study."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "tumorboard", "train", data.absolute(), "--out", run, "--recipe", recipe]
    seconds, processor, gigabytes = run_logged(command, run.with_name("run.log"), own=True)
    rows: dict[str, dict[str, Any]] = {
        "tumorboard, all four models": {"seconds": seconds, "processor": processor, "memory": gigabytes}
    }
    from tumorboard.predictions import Predictions

    for path in sorted((run / "models").glob("*.keras")):
        row = rows[path.stem] = {}
        for split in ("valid", "test"):
            file = run / "predictions" / f"{path.stem}-{split}.csv"
            predictions = Predictions.from_csv(file.read_text("utf-8"), str(file))
            hits = predictions.predicted == predictions.labels
            row[split] = (int(hits.sum()), len(hits))
    return rows


def last_line(error: Exception) -> str:
    output = getattr(error, "output", None) or str(error)
    return ([line.strip() for line in output.splitlines() if line.strip()] or ["no output"])[-1][:160]


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the rows as a table in Markdown."""
    from tumorboard.evaluation.intervals import wilson

    lines = [
        "| software | validation accuracy | test accuracy | processor s | wall s | memory, GB | versions |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    whole = rows.get("tumorboard, all four models", {}).get("processor")
    for name, row in rows.items():
        if "failed" in row:
            lines.append(f"| {name} | not measured: {row['failed'].replace('|', '/')} | | | | | |")
            continue
        cells = [name]
        for split in ("valid", "test"):
            hits, n = row.get(split, (0, 0))
            interval = "-".join(f"{bound:.3f}" for bound in wilson(hits, n)) if n else ""
            cells.append(f"{hits / n:.3f} ({interval}, n = {n})" if n else "")
        cells += [f"{row[key]:.0f}" if key in row else "" for key in ("processor", "seconds")]
        cells += [f"{row['memory']:.1f}" if "memory" in row else "", row.get("versions", "")]
        lines.append(f"| {' | '.join(cells)} |")
    for name, row in rows.items():
        if whole and "against" in row:
            ratio = row["processor"] / whole
            lines.append(f"\n{name}: {ratio:.2f} times the processor time of our whole study")
    return lines


# -- What runs in the environments of the peers, without Tumorboard and its packages ------------------------


def worker(name: str, prepared: Path, out: Path, epochs: int, classes: int) -> None:
    """Train a peer and write its probabilities of validation and test."""
    content = WORKERS[name](prepared, epochs, classes)
    out.write_text(json.dumps(content), encoding="utf-8")


def files_of(prepared: Path, split: str) -> list[Path]:
    """Return the images of a split in the order of their rows."""
    return sorted((prepared / split).glob("*/*.png"), key=lambda path: path.stem)


def versions(*names: str) -> str:
    from importlib.metadata import distributions

    installed = {found.metadata["Name"].replace("_", "-"): found.version for found in distributions()}
    return ", ".join(f"{name} {installed.get(name, '?')}" for name in names)


def fastai(prepared: Path, epochs: int, classes: int) -> dict[str, Any]:
    """`fine_tune` of timm's EfficientNet-Lite0 with fastai's defaults."""
    import numpy as np
    import torch
    from fastai.vision import all as fv

    torch.manual_seed(0)
    data = fv.ImageDataLoaders.from_folder(
        prepared,
        valid="valid",
        num_workers=0,
        batch_tfms=[*fv.aug_transforms(), fv.Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
        seed=0,
    )
    learner = fv.vision_learner(
        data, "tf_efficientnet_lite0", pretrained=False, normalize=False, metrics=fv.accuracy
    )
    load_torch(learner.model[0].model, prepared / "weights.npz")
    learner.path = prepared.parent
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        found = {
            split: np.asarray(
                learner.get_preds(dl=data.test_dl(files_of(prepared, split)), reorder=True)[0]
            ).tolist()
            for split in ("valid", "test")
        }
    return {**found, "versions": versions("fastai", "timm", "torch")}


def load_torch(model: Any, file: Path) -> None:
    """Copy the weights of Keras into timm's network, whose layers are in the same order, and compare."""
    import numpy as np
    import torch

    with np.load(file, allow_pickle=False) as arrays:
        content = {key: arrays[key] for key in arrays.files}
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.BatchNorm2d)]
    numbers = sorted({key.split("_")[0] for key in content if key[0].isdigit()})
    for layer, number in zip(layers, numbers, strict=True):
        if isinstance(layer, torch.nn.Conv2d):
            axes = (2, 3, 0, 1) if layer.groups > 1 else (3, 2, 0, 1)
            values = [content[f"{number}_0"].transpose(axes)]
            targets = [layer.weight]
        else:
            values = [content[f"{number}_{part}"] for part in range(4)]
            targets = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        for target, value in zip(targets, values, strict=True):
            target.data.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    model.eval()
    image = torch.from_numpy(((content["image"] - 127) / 128).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        difference = np.abs(model.forward_features(image).mean((2, 3)).numpy() - content["features"]).max()
    if difference > 1e-3:
        raise ValueError(f"the features differ from ours by {difference:.2g}: other weights or padding")


def keras(prepared: Path, epochs: int, classes: int) -> dict[str, Any]:
    """The study's loop: the whole network in every epoch, Adam, batches of 32."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras as plain
    import numpy as np

    plain.utils.set_random_seed(0)
    model = plain.saving.load_model(prepared / "study.keras")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    train, valid = arrays_of(prepared, "train"), arrays_of(prepared, "valid")
    model.fit(*train, batch_size=32, epochs=epochs, validation_data=valid, verbose=2)
    found = {
        split: np.asarray(model.predict(arrays_of(prepared, split)[0], verbose=0)).tolist()
        for split in ("valid", "test")
    }
    return {**found, "versions": versions("keras", "tensorflow-cpu")}


def arrays_of(prepared: Path, split: str) -> tuple[Any, Any]:
    """Return the images, uint8 (N, 224, 224, 3), and the labels of a split."""
    import numpy as np
    from PIL import Image

    files = files_of(prepared, split)
    return np.stack([np.asarray(Image.open(file)) for file in files]), np.array(
        [int(file.parent.name) for file in files]
    )


def ultralytics(prepared: Path, epochs: int, classes: int) -> dict[str, Any]:
    """YOLO11n-cls from scratch."""
    os.environ["YOLO_OFFLINE"] = "true"
    from PIL import Image
    from ultralytics import YOLO

    size = Image.open(files_of(prepared, "train")[0]).width
    # Its folders are train, val and test.
    root = prepared.parent / "ultralytics-images"
    for ours_, theirs in (("train", "train"), ("valid", "val")):
        link = root / theirs
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to(prepared / ours_, target_is_directory=True)
    model = YOLO("yolo11n-cls.yaml")
    model.train(
        data=str(root),
        epochs=epochs,
        imgsz=size,
        pretrained=False,
        workers=0,
        device="cpu",
        seed=0,
        plots=False,
        project=str(prepared.parent),
        name="ultralytics-run",
        exist_ok=True,
        verbose=False,
    )
    found = {}
    for split in ("valid", "test"):
        files = [str(file) for file in files_of(prepared, split)]
        found[split] = [
            model.predict(file, verbose=False, imgsz=size)[0].probs.data.tolist() for file in files
        ]
    return {**found, "versions": versions("ultralytics", "torch")}


def autogluon(prepared: Path, epochs: int, classes: int) -> dict[str, Any]:
    """AutoGluon-MultiModal with timm's EfficientNet-Lite0; its weights are downloaded by timm."""
    import pandas
    from autogluon.multimodal import MultiModalPredictor

    def frame(split: str) -> Any:
        files = files_of(prepared, split)
        return pandas.DataFrame(
            {"image": [str(file) for file in files], "label": [int(file.parent.name) for file in files]}
        )

    predictor = MultiModalPredictor(label="label", problem_type="multiclass")
    predictor.fit(
        frame("train"),
        tuning_data=frame("valid"),
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": "tf_efficientnet_lite0",
            "optim.max_epochs": epochs,
            "env.num_workers": 0,
        },
    )
    found = {split: predictor.predict_proba(frame(split)).to_numpy().tolist() for split in ("valid", "test")}
    return {**found, "versions": versions("autogluon.multimodal", "torch")}


def aucmedi(prepared: Path, epochs: int, classes: int) -> dict[str, Any]:
    """AUCMEDI's EfficientNetB0 without initial weights, which it would download."""
    import numpy as np
    from aucmedi import DataGenerator, NeuralNetwork

    def generator(split: str, labels: bool) -> Any:
        files = files_of(prepared, split)
        one_hot = np.eye(classes)[[int(file.parent.name) for file in files]] if labels else None
        names = [str(file.relative_to(prepared)) for file in files]
        return DataGenerator(names, str(prepared), labels=one_hot, shuffle=split == "train" and labels)

    model = NeuralNetwork(
        n_labels=classes, channels=3, architecture="2D.EfficientNetB0", pretrained_weights=False
    )
    model.train(generator("train", True), generator("valid", True), epochs=epochs)
    found = {
        split: np.asarray(model.predict(generator(split, False))).tolist() for split in ("valid", "test")
    }
    return {**found, "versions": versions("aucmedi", "tensorflow")}


WORKERS = {
    "fastai": fastai,
    "keras": keras,
    "ultralytics": ultralytics,
    "autogluon": autogluon,
    "aucmedi": aucmedi,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        kind, folder, target, number, count = sys.argv[2:]
        worker(kind, Path(folder), Path(target), int(number), int(count))
    else:
        main()
