"""The run folder: the only place that knows its file names, and the only one that writes them.

recipe.toml  manifest.csv  environment.json           what was planned and on what
audit.json                                            what was found in the images
models/<model>.keras  models/<model>.json             the networks, each with its contract beside it
SHA256SUMS                                            of everything in models/
exports/<format>/<model>.*                            the networks for other runtimes, made on demand
history/<model>.csv   predictions/<model>-<split>.csv
metrics.json  results.md  report.html  model-card.md  checklist.md  figures/
state/                                                what a repeated command resumes from
cache/                                                decoded images and features; gone when the run is done
"""

from dataclasses import dataclass
from pathlib import Path

from tumorboard.storage import TEMPORARY, sha256, write_text


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run; nothing here reads or writes."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The settings, every one written out."""
        return self.root / "recipe.toml"

    @property
    def manifest(self) -> Path:
        """The samples: id, path, split, label, group, sha256."""
        return self.root / "manifest.csv"

    @property
    def environment(self) -> Path:
        """Versions, threads, command, machine; what a resume compares with."""
        return self.root / "environment.json"

    @property
    def audit(self) -> Path:
        """What the audit of the images found."""
        return self.root / "audit.json"

    @property
    def checksums(self) -> Path:
        """SHA-256 of every file in models/."""
        return self.root / "SHA256SUMS"

    @property
    def calibration(self) -> Path:
        """What validation taught about how far each model's answers may be trusted."""
        return self.root / "calibration.json"

    def unlike(self, name: str) -> Path:
        """What is known of the training images as the model embeds them, to tell what is unlike them."""
        return self.root / "models" / f"{name}.unlike.npz"

    @property
    def metrics(self) -> Path:
        """Every figure, for machines."""
        return self.root / "metrics.json"

    @property
    def results(self) -> Path:
        """Every figure, for people."""
        return self.root / "results.md"

    @property
    def report(self) -> Path:
        """Everything that people want to see, in one page."""
        return self.root / "report.html"

    @property
    def card(self) -> Path:
        """What the recommended model is for, and how good."""
        return self.root / "model-card.md"

    @property
    def checklist(self) -> Path:
        """What a paper on the run must say, filled in as far as the run knows it."""
        return self.root / "checklist.md"

    @property
    def cache(self) -> Path:
        """Decoded images and features."""
        return self.root / "cache"

    def model(self, name: str) -> Path:
        """The saved network."""
        return self.root / "models" / f"{name}.keras"

    def contract(self, name: str) -> Path:
        """What the network expects and answers, beside it."""
        return self.root / "models" / f"{name}.json"

    def export(self, name: str, format_name: str, suffix: str) -> Path:
        """The network for another runtime."""
        return self.root / "exports" / format_name / f"{name}{suffix}"

    def history(self, name: str) -> Path:
        """Loss and accuracy of every epoch."""
        return self.root / "history" / f"{name}.csv"

    def predictions(self, name: str, split: str) -> Path:
        """A model's class probabilities for every sample of a split."""
        return self.root / "predictions" / f"{name}-{split}.csv"

    def figure(self, name: str) -> Path:
        """A picture of the results."""
        return self.root / "figures" / f"{name}.png"

    def state(self, name: str) -> Path:
        """Where a training that was interrupted goes on from."""
        return self.root / "state" / f"{name}.npz"

    def tracking(self, kind: str) -> Path:
        """What TensorBoard or MLflow keep of the trainings."""
        return self.root / "tracking" / kind

    @property
    def fingerprint(self) -> Path:
        """The settings, versions and files that the run was begun with; a resume compares them."""
        return self.root / "state" / "fingerprint.json"

    @property
    def phases(self) -> Path:
        """Seconds spent in each phase, over all resumes."""
        return self.root / "state" / "phases.json"

    @property
    def test_looks(self) -> Path:
        """How often the test part was scored."""
        return self.root / "test_looks.json"


def write_checksums(run: RunFolder) -> None:
    """Record the hash of every finished file in models/."""
    files = sorted(file for file in (run.root / "models").iterdir() if TEMPORARY not in file.name)
    write_text(run.checksums, "".join(f"{sha256(file)}  models/{file.name}\n" for file in files))
