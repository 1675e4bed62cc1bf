"""The board of a finished run: what its models say of one image, and how far the answer may be trusted.

The library, `tumorboard predict` and the page all ask
here, one image at a time, so that they give the same bits.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import config, run_folder
from tumorboard.data.image_reader import input_of_bytes, read_open, read_with_notes, to_input
from tumorboard.data.pixels import Pixels
from tumorboard.ensembles.ensemble import check_compatible
from tumorboard.errors import UsageError
from tumorboard.evaluation import calibration, conformal
from tumorboard.explain import gradcam
from tumorboard.export.exported_model import Engine
from tumorboard.models import saving
from tumorboard.models.model_spec import Contract
from tumorboard.models.shared_graph import joint
from tumorboard.run_folder import RunFolder
from tumorboard.training import fit
from tumorboard.workflows.calibrate import Embedding, Trust, read_json, read_trust

Row = npt.NDArray[np.float64]
_SEEN = "seen by the recommended"  # no model has a name with spaces


@dataclass(frozen=True)
class Opinion:
    """What the board makes of one image; None where the run has no calibration of that kind.

    Attributes:
        probabilities: Each model's class probabilities, (C,), as it says them.
        calibrated: The recommended model's at its temperature, (C,).
        possible: The prediction set: bool (C,), the classes that cannot be ruled out.
        abstains: Whether the board would rather ask a human.
        unlike: Whether the image is unlike the training images.
    """

    probabilities: Mapping[str, Row]
    calibrated: Row | None = None
    possible: npt.NDArray[np.bool_] | None = None
    abstains: bool | None = None
    unlike: bool | None = None


@dataclass(frozen=True)
class Board:
    """The models of a run, loaded once.

    Attributes:
        models: The networks by name.
        contract: What all of them expect and answer.
        recommended: The name of the one whose answer is the board's.
        trust: How far that answer may be trusted.
        engine: What its networks run on.
        runtime: The networks in another runtime, in order, and what the recommended one sees; None: Keras.
    """

    models: Mapping[str, keras.Model]
    contract: Contract
    recommended: str
    trust: Trust = field(default_factory=Trust)
    engine: str = "keras"
    runtime: Engine | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models."""
        return tuple(self.models)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.contract.class_names

    @property
    def image(self) -> config.Image:
        """Size, resize rule, and window of DICOM."""
        return self.contract.image

    def read(self, source: str | Path | bytes) -> Pixels:
        """A file, or its bytes, as the models take it: uint8 (S, S, 3); raises DataError."""
        return self.read_with_notes(source)[0]

    def read_with_notes(self, source: str | Path | bytes) -> tuple[Pixels, tuple[str, ...]]:
        """As `read`, with what the user should know about the file, such as further frames."""
        if isinstance(source, bytes):
            return input_of_bytes(source, "the image", self.image)
        pixels, notes = read_with_notes(Path(source), window=self.image.window)
        return to_input(pixels, self.image), notes

    def read_open(self, file: BinaryIO, name: str) -> tuple[Pixels, tuple[str, ...]]:
        """As `read_with_notes`, of an open file; `name` is what errors and notes call it."""
        pixels, notes = read_open(file, name, window=self.image.window)
        return to_input(pixels, self.image), notes

    def opinion(self, pixels: Pixels) -> Opinion:
        """What the board makes of one image, uint8 (S, S, 3)."""
        rows, embedding = self._told(pixels)
        trust, row = self.trust, rows[self.recommended]
        unlike = trust.is_unlike(embedding)
        if trust.temperature is None:
            return Opinion(rows, unlike=unlike)
        row = calibration.scale_probabilities(row[None], trust.temperature)[0]
        possible = None
        if trust.quantile is not None:
            possible = conformal.prediction_set(row[None], trust.quantile)[0]
        abstains = None if trust.refer_below is None else bool(row.max() < trust.refer_below)
        return Opinion(rows, row, possible, abstains, unlike)

    def _told(self, pixels: Pixels) -> tuple[dict[str, Row], Embedding | None]:
        """What each model says, and what the recommended one sees; with an engine, from that alone."""
        if self.runtime is None:
            told = self._joint.predict_on_batch(pixels[None])
        else:
            told = dict(zip((*self.models, _SEEN), self.runtime.predict_on_batch(pixels[None]), strict=True))
        return {name: told[name][0].astype(np.float64) for name in self.models}, told.get(_SEEN)

    @functools.cached_property
    def _joint(self) -> keras.Model:
        """All networks, and what the recommended one sees, as one; built when first asked."""
        sees = {} if self.trust.embedder is None else {_SEEN: self.trust.embedder}
        return joint({**self.models, **sees})

    def heat_map(self, name: str, pixels: Pixels, target: int | None = None) -> gradcam.Map:
        """Where that model sees what speaks for the class (by default its answer), (S, S), 0 to 1."""
        return gradcam.heat_map(self.models[name], self.contract, pixels, target)


def open_board(run: Path, models: Sequence[str] = ()) -> Board:
    """Load a finished run's models, each after its hash was compared with the run's SHA256SUMS.

    Args:
        run: The run folder.
        models: Their names; all by default. Where the recommended one is not among them, the first speaks.

    Raises:
        RunFolderError: No finished run.
        UsageError: An unknown model.
        ModelError: A model that is not what was trained, or cannot be loaded.
    """
    folder = RunFolder(Path(run))
    hashes = run_folder.recorded(folder)
    names, recommended = _names(folder, hashes, models)
    fit.prepare_backend(0, _threads(folder))
    loaded = {name: _load(folder, name, hashes) for name in names}
    contract = check_compatible([*loaded.values()]) if len(loaded) > 1 else next(iter(loaded.values()))[1]
    networks = {name: model for name, (model, _) in loaded.items()}
    return Board(
        networks, contract, recommended, read_trust(folder, recommended, networks[recommended], hashes)
    )


def _load(run: RunFolder, name: str, hashes: dict[str, str]) -> tuple[keras.Model, Contract]:
    for file in (run.model(name), run.contract(name)):
        run_folder.verify(file, hashes)
    return saving.load(run.model(name))


def _names(run: RunFolder, hashes: Mapping[str, str], wanted: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The models to load, in the order of metrics.json, and the one that speaks for the board."""
    metrics = read_json(run.metrics) if run.metrics.is_file() else {}
    saved = [name.removesuffix(".keras") for name in hashes if name.endswith(".keras")]
    known = [name for name in metrics.get("models", {}) if name in saved] or saved
    known += [name for name in saved if name not in known]
    unknown = [name for name in wanted if name not in known]
    if unknown or not known:
        found = f"{unknown[0][:60]!r}" if unknown else "none"
        raise UsageError(f"expected models of the run ({', '.join(known)[:120]}), found {found}")
    names = tuple(name for name in known if not wanted or name in wanted)
    told = metrics.get("recommendation", {}).get("model", "ensemble")
    return names, told if told in names else "ensemble" if "ensemble" in names else names[0]


def _threads(run: RunFolder) -> int:
    """As many as the run was trained with: another number sums in another order."""
    environment = read_json(run.environment) if run.environment.is_file() else {}
    found = environment.get("threads", 0)
    return found if isinstance(found, int) and 0 <= found <= 256 else 0
