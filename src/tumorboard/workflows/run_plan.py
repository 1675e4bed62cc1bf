"""One run, from its data to its report, in stages, and its executor: this process or a Ray cluster."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tumorboard import progress, run_folder, run_state
from tumorboard.config import Recipe, load
from tumorboard.data import image_cache
from tumorboard.data.manifest import DataSource
from tumorboard.errors import RunFolderError, display
from tumorboard.progress import Console, Plan
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint, report
from tumorboard.workflows.audit import audit_run, measure_leaks_of_run
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_context import RunContext, read_manifest, record_test_evaluation

RESULTS = "results"
"""The last stage of a run."""

_QUIET = Console(quiet=True)


@dataclass(frozen=True)
class RunPlan:
    """One run. It needs nothing of any other run, so any process can carry it out.

    Attributes:
        source: Class folders, or the manifest with the splits.
        out: Its run folder, which records what is finished.
        recipe: The settings.
        cache: The folder of the decoded images, for runs that share them; None for the run's own cache.
        track: As for `train`.
        joint_graph: Whether the graph is made with which `predict` starts in a second.
    """

    source: DataSource
    out: Path
    recipe: Recipe
    cache: Path | None = None
    track: str = ""
    joint_graph: bool = True

    def absolute(self) -> "RunPlan":
        """Return the plan with absolute paths, for processes that work in other folders."""
        source = replace(self.source, path=self.source.path.absolute())
        cache = self.cache.absolute() if self.cache else None
        return replace(self, source=source, out=self.out.absolute(), cache=cache)

    @property
    def title(self) -> str:
        """The name of its folder, which progress shows."""
        return self.out.absolute().name

    def run(self, console: Console) -> None:
        """Carry out the whole run; what was finished earlier is not done again."""
        run = RunFolder(self.out)
        refuse_cross_validation(run)
        with progress.graceful(), run_folder.locked(run), run_state.recorded(run, console):
            self._run_all_stages(run, console)

    def begin(self, console: Console) -> None:
        """Check the data and record the plan, so that other processes can carry out the stages."""
        run = RunFolder(self.out)
        refuse_cross_validation(run)
        prepare(self.source, run, self.recipe, console, cache=self.cache)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages, each with those that it waits for: a stage per model, then `RESULTS`."""
        recipe = self.recipe
        return {**{name: recipe.dependencies(name) for name in recipe.names}, RESULTS: recipe.names}

    def run_stage(self, stage: str) -> None:
        """Carry out one stage of a run that was begun; the caller's process holds the lock of the folder."""
        run = RunFolder(self.out)
        with progress.graceful(), run_folder.locked_part(run, stage):
            if stage == RESULTS:
                self._run_all_stages(run, _QUIET)
            else:
                self._train_model(run, stage)
        _clear_graphs()

    def _train_model(self, run: RunFolder, name: str) -> None:
        from tumorboard.training import fit
        from tumorboard.workflows import build_models

        manifest, recipe = read_manifest(run), load(str(run.recipe))  # with the depth of the images
        now = fingerprint.take(recipe, manifest)
        fingerprint.require_same(run, {"environment": now["environment"]})  # another machine may differ
        decoded = image_cache.decode(manifest, self.cache or run.cache, recipe.image)
        fit.prepare_backend(recipe.seed, fingerprint.threads(recipe))
        build_models.train_model(RunContext(run, recipe, manifest, decoded, _QUIET), name)

    def _run_all_stages(self, run: RunFolder, console: Console) -> None:
        begun = time.monotonic()
        with console.phase("prepare"):
            context = prepare(self.source, run, self.recipe, console, cache=self.cache)
        context.add_seconds("prepare", time.monotonic() - begun)
        with context.phase("audit"):
            audit_run(context)
        context = replace(context, track=self.track, facts=None)  # the thumbnails of all images

        with context.phase("loading Keras"):  # seconds: only once the data is known to be good
            from tumorboard.training import fit, tracking
            from tumorboard.workflows import build_models, calibrate, export
            from tumorboard.workflows.predictor import RunPredictor

            fit.prepare_backend(self.recipe.seed, fingerprint.threads(self.recipe))
            fingerprint.record_device(run)
        if self.track:
            place = tracking.destination(self.track, run.tracking(self.track))
            console.print(f"{self.track}: training curves go to {place}")
        build_models.train_models(context)
        with context.phase("calibration"):
            calibrate.calibrate(context)
        run_folder.write_checksums(run)

        # Everything is chosen by now: test is predicted, and the results are written.
        names = self.recipe.names
        if not all(run.predictions(name, "test").is_file() for name in names):
            record_test_evaluation(run, len(context.manifest.select("test").samples))
        with context.phase("test"):
            loaded = {name: build_models.predict_splits(context, name, "test") for name in names}
        if self.cache is None:  # of runs that share their images, one measurement would be like another
            with context.phase("leak meter"):
                measure_leaks_of_run(context)
        # Heat maps use the models that predicted test just now; a resumed run has to load them.
        models = {name: member for name, member in loaded.items() if member is not None}
        in_memory = len(models) == len(names)
        with console.phase("report"):
            with context.phase("results"):
                results = report.read_results(context)
            if self.joint_graph:
                with context.phase("joint graph"):
                    export.add_joint_graph(run, models, names, results.recommended, console)
            with context.phase("results"):
                predictor = RunPredictor.of(models, results.recommended) if in_memory else None
                results = report.add_images(context, results, predictor)
            with context.phase("charts"):
                report.write_charts(context, results)
            with console.phase("writing"):
                report.write_results(context, results)  # with the seconds of every phase
        shutil.rmtree(run.cache, ignore_errors=True)


_SECONDS = {
    "pretrained": (6.5, 5.5, 10.0),
    "custom": (1.0, 3.0, 4.5),
    "ensemble": (0.0, 0.0, 15.0),
    "chained": (6.5, 1.0, 9.0),
}
"""By kind of model, what 1,000 images take: a pass through frozen layers, an epoch, and predictions.

Measured on two processors. They decide only about the shares that the progress shows; the time left is
estimated from the speed of the run itself.
"""
_COMPILING = 5.0
_PARTS = {"train": 0.7, "valid": 0.1, "test": 0.2}  # of the images, where the durations are compared


def run_phases(recipe: Recipe, joint_graph: bool = True) -> Plan:
    """Return the phases of a run and the tasks within them, with their expected durations.

    Args:
        recipe: The settings.
        joint_graph: As for `RunPlan`.
    """
    predictions = {name: _seconds(recipe, name)[2] for name in recipe.names}
    embedding = predictions[recipe.chained.first]
    return {
        "prepare": {"decoding": 6.0, "finding groups": 1.0},
        "audit": {"checks": 4.0},
        "loading Keras": 6.0,
        **{name: model_tasks(recipe, name) for name in recipe.names},
        "calibration": {f"calibration: embedding {s}": embedding * _PARTS[s] for s in ("train", "valid")},
        "test": {f"{name}: predicting test": predictions[name] * _PARTS["test"] for name in recipe.names},
        "leak meter": {"measuring leaks": 8.0},
        "report": {
            "results": 12.0,
            **({"joint graph": 8.0} if joint_graph else {}),
            "charts": 5.0,
            "writing": 1.0,
        },
    }


def model_tasks(recipe: Recipe, name: str) -> dict[str, float]:
    """Return the tasks of training a model and predicting train and validation, with their durations."""
    training, (frozen, epoch, prediction) = recipe.training(name), _seconds(recipe, name)
    splits, tasks = ("train", "valid"), {}
    if name == "chained" and recipe.chained.start != "kept":  # the links are trained too
        epoch += sum(_seconds(recipe, link)[1] for link in recipe.dependencies(name))
    if not training.views:
        epoch += frozen
    elif frozen:
        passes = {"train": training.views, "valid": 1}
        tasks = {f"{name}: frozen layers of {s}": frozen * passes[s] * _PARTS[s] for s in splits}
    if name in _trained(recipe):
        tasks[f"{name}: training"] = _COMPILING + epoch * training.epochs * _PARTS["train"]
    elif name in recipe.models:  # in closed form
        tasks[f"{name}: training"] = _COMPILING
    return {**tasks, **{f"{name}: predicting {s}": prediction * _PARTS[s] for s in splits}}


def early_stopping(recipe: Recipe) -> set[str]:
    """Return the tasks that may end before their last epoch."""
    return {f"{name}: training" for name in _trained(recipe) if recipe.training(name).patience}


def _trained(recipe: Recipe) -> tuple[str, ...]:
    """The models that are fitted in epochs: most ensembles are not, nor heads in closed form."""
    in_closed_form = {name for name, model in recipe.models.items() if getattr(model, "head", "") == "lda"}
    in_closed_form |= set() if recipe.ensemble.form.endswith("_dense") else {"ensemble"}
    return tuple(name for name in recipe.names if name not in in_closed_form)


def _seconds(recipe: Recipe, name: str) -> tuple[float, float, float]:
    return _SECONDS[recipe.models[name].kind if name in recipe.models else name]


Executor = Callable[[Sequence[RunPlan], Console], None]
"""Carries out runs, in any order."""


@contextlib.contextmanager
def run_executor(recipe: Recipe, ray: str, runs: int) -> Iterator[Executor]:
    """Choose who carries out runs.

    Args:
        recipe: The settings; with Ray from `Recipe.for_workers`.
        ray: "local" or the address of a cluster; "" for this process.
        runs: How many runs there will be at most.

    Raises:
        UsageError: Ray is not installed, or no cluster is at the address.
    """
    if not ray:
        yield _execute_in_process
        return
    from tumorboard.distributed import ray_cluster
    from tumorboard.distributed.train import executor

    with ray_cluster.connected(ray):
        yield executor(recipe.threads, runs * len(recipe.models), last_stage=RESULTS)


def _execute_in_process(plans: Sequence[RunPlan], console: Console) -> None:
    for plan in plans:
        with console.phase(plan.title):
            plan.run(console)
        if len(plans) > 1:
            _clear_graphs()


def refuse_cross_validation(run: RunFolder) -> None:
    """Raise RunFolderError if the folder is that of a cross-validation or of repeated runs."""
    if os.path.isfile(RunFolder(run.root / "data").manifest):  # no error at a name that cannot be
        raise RunFolderError(
            f"expected a run folder or a new one, found several runs (--folds or --seeds) in "
            f"{display(run.root)}; repeat that command, or choose another --out"
        )


def _clear_graphs() -> None:
    """Free the graphs of a finished run, or those of all runs would stay in memory."""
    import keras

    keras.utils.clear_session()
