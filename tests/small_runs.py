"""A data set and a recipe that run in seconds: drawings of three classes, networks of few weights."""

import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from tumorboard.progress import Console
    from tumorboard.workflows.run_context import RunContext

CLASSES = ("bar", "disc", "noise")
COUNTS = {"train": 5, "valid": 2, "test": 2}
SPLITS = tuple(COUNTS)
MODELS = ("custom", "pretrained", "ensemble", "chained")

# The random backbone comes second, and the chain starts afresh: both would differ after a resume if they
# drew from anything but their own seeds.
RECIPE = """
name = "small"
seed = 3

[image]
size = 32

[models.custom]
kind = "custom"
design = "notebook"
augmentation = { rotation = 0.0, zoom = 0.0 }

[models.custom.training]
epochs = 4
patience = 2
batch = 8
optimizer = "adamw"
schedule = "one-cycle"
class_weights = true

[models.pretrained]
kind = "pretrained"
backbone = "tiny"
weights = "none"
units = 8
augmentation = { rotation = 0.0, zoom = 0.0 }
training = { views = 3, epochs = 3, patience = 0, batch = 8, label_smoothing = 0.1 }

[ensemble]
form = "mean_dense"
training = { epochs = 3, patience = 1, batch = 8 }

[chained]
start = "fresh"
units = 8
training = { views = 2, epochs = 3, patience = 0, batch = 8 }
"""


def drawing(name: str, rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 60, (40, 40)).astype(np.uint8)
    if name == "bar":
        pixels[10:20, :] += 150
    if name == "disc":
        pixels[15:25, 15:25] += 150
    return pixels


def draw(root: Path, seed: int = 0, splits: tuple[str, ...] = SPLITS) -> Path:
    """root/split/class/name.png; every split's pixels depend on the seed and the split alone."""
    for split in splits:
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        for name in CLASSES:
            for number in range(COUNTS[split]):
                path = root / split / name / f"{name}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(drawing(name, rng)).save(path)
    return root


def deepen(data: Path, factor: int, of: str = "**") -> None:
    """Store images with 16 bits per value, of which the values use some."""
    for path in data.glob(f"{of}/*.png"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * factor).save(path)


def draw_patients(root: Path, *, in_names: bool) -> tuple[Path, dict[Path, str]]:
    """Draw up to two images per patient, whom the file names tell or a manifest CSV.

    Returns:
        The data, and the patient by image.
    """
    patients: dict[Path, str] = {}
    lines = ["path,label,split,group"]
    for number, file in enumerate(sorted(draw(root / "data").glob("*/*/*.png"))):
        patient = f"{number // 2 + 100}"
        image = file.rename(file.with_name(f"patient{patient}_{number}.png")) if in_names else file
        patients[image] = patient
        lines.append(f"{image.relative_to(root)},{image.parts[-2]},{image.parts[-3]},{patient}")
    (root / "data.csv").write_text("\n".join(lines))
    return root / ("data" if in_names else "data.csv"), patients


def divided_patients(folds: Path, patients: dict[Path, str]) -> set[str]:
    """Return the patients whose images are in several splits of a fold, by the manifests in a folder."""
    divided: set[str] = set()
    for file in folds.glob("manifest-fold*.csv"):
        splits: dict[str, set[str]] = {}
        for row in csv.DictReader(file.read_text().splitlines()):
            splits.setdefault(patients[(folds / row["path"]).resolve()], set()).add(row["split"])
        divided |= {patient for patient, of in splits.items() if len(of) > 1}
    return divided


def prepared(root: Path, text: str = RECIPE, console: "Console | None" = None, **source: Any) -> "RunContext":
    """Prepare the run root/run on root/data; further options are those of the data source."""
    from tumorboard import config
    from tumorboard.data.manifest import DataSource
    from tumorboard.progress import Console
    from tumorboard.run_folder import RunFolder
    from tumorboard.workflows.prepare import prepare

    data, recipe = DataSource(root / "data", **source), config.parse(text, "test")
    return prepare(data, RunFolder(root / "run"), recipe, console or Console(quiet=True))


def add_tiny_backbone() -> None:
    """A stand-in for a backbone, called "tiny": two convolutions."""
    import keras
    from keras import layers

    from tumorboard.models.backbones import BACKBONES, Backbone

    def build(weights: None, include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
        image = keras.Input(input_shape)
        x = layers.Conv2D(4, 5, 4, activation="relu", name="block1_conv")(image)
        return keras.Model(image, layers.Conv2D(6, 3, 2, name="block2_conv")(x))

    BACKBONES["tiny"] = Backbone(build, "lite", ("block1_",))


def weights_of(model: Path) -> dict[str, str]:
    """Every array in a .keras file as a hash of its bits; needs no Keras."""
    found: dict[str, str] = {}

    def keep(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = hashlib.sha256(np.asarray(item[()]).tobytes()).hexdigest()

    with zipfile.ZipFile(model) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(keep)
    return found


def bits(run: Path, splits: tuple[str, ...] = SPLITS) -> dict[str, object]:
    """What must not differ by a bit between two runs of the same data, by file."""
    tables = [*(run / "history").iterdir(), run / "calibration.json"]
    tables += [run / "predictions" / f"{model}-{split}.csv" for model in MODELS for split in splits]
    found: dict[str, object] = {str(path.relative_to(run)): path.read_text() for path in sorted(tables)}
    return found | {model: weights_of(run / "models" / f"{model}.keras") for model in MODELS}
