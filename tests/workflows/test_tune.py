"""Hyperparameter search from end to end; where only the search matters, a stand-in replaces the network."""

import contextlib
import csv
import io
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.small_runs import CLASSES, COUNTS, RECIPE, deepen, divided_patients, draw, draw_patients
from tests.zygote import run_steps, step
from tumorboard import config, optional, search_space, storage
from tumorboard.cli.main import main
from tumorboard.config import Training
from tumorboard.data import manifest
from tumorboard.errors import Interrupted, TrainingError
from tumorboard.predictions import Predictions
from tumorboard.reports.tuning import Trial
from tumorboard.run_folder import RunFolder
from tumorboard.search_space import Range
from tumorboard.training import feature_cache
from tumorboard.workflows import build_models, tune

pytest.importorskip("optuna", reason="the extra tune is not installed")

RATE, ROTATION = "models.custom.training.learning_rate", "models.custom.augmentation.rotation"
SEARCH = f"""
[search]
"{RATE}" = {{ low = 1e-4, high = 1e-1, log = true }}
"{ROTATION}" = [0.0, 0.05, 0.1]
"models.pretrained.units" = [4, 8]
"""
N = len(CLASSES) * (COUNTS["train"] + COUNTS["valid"])
FIGURES = ("trials.csv", "metrics.json", "state/trials.json", "trials/trial-2/fold-2/history/pretrained.csv")
OUTCOME = ("recipe.toml", "trials.csv", "metrics.json", "results.md", "report.html", "state/trials.json")


@pytest.fixture
def root(tmp_path):
    draw(tmp_path / "data")
    (tmp_path / "recipe.toml").write_text(RECIPE + SEARCH)
    return tmp_path


class StandIn:
    """Answers whose loss depends on the settings, lowest at a rate of 0.01; may fail or stop on the way."""

    def __init__(self, stop_at=0, fails=lambda rate: False):
        self.calls, self.stop_at, self.fails, self.depths = [], stop_at, fails, set()

    def __call__(self, context, model):
        self.calls.append(context.run.root)
        self.depths.add(context.recipe.image.depth)
        if len(self.calls) == self.stop_at:
            raise Interrupted("stopped by a test; repeat the same command")
        settings = context.recipe.models["custom"]
        if self.fails(settings.training.learning_rate):
            raise TrainingError("expected a finite loss, found none; lower the rate")
        part, C = context.manifest.select("test"), len(context.manifest.class_names)
        away = abs(np.log10(settings.training.learning_rate) + 2) + settings.augmentation.rotation
        sure = 1 / (1.2 + away + np.arange(len(part.samples)) / 100)
        rows = np.tile((1 - sure[:, None]) / (C - 1), C)
        rows[np.arange(len(rows)), part.labels] = sure
        path = context.run.predictions(model, "test")
        path.parent.mkdir(parents=True)
        path.write_text(Predictions(part.ids, part.labels, context.manifest.class_names, rows).to_csv())


@pytest.fixture
def stand_in(monkeypatch):
    def plant(**options):
        found = StandIn(**options)
        monkeypatch.setattr(tune, "_train", found)
        return found

    return plant


def tune_command(root, *flags, search="tuned", trials=4, folds=2, model="custom"):
    numbers = ("--trials", trials, "--folds", folds, "--model", model)
    where = (root / "data", "--out", root / search, "--recipe", root / "recipe.toml")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(list(map(str, ["tune", *where, *numbers, *(flags or ("--quiet",))])))
    return code, out.getvalue()


def rows(search):
    with (search / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def outcome(search):
    return {name: (search / name).read_bytes() for name in OUTCOME}


def held_out(search, trial, folds, model="custom"):
    for k in folds:
        path = RunFolder(search / "trials" / f"trial-{trial}" / f"fold-{k}").predictions(model, "test")
        yield Predictions.from_csv(path.read_text(), str(path))


def test_a_search_ends_in_a_recipe_of_the_best_trial(root, stand_in):
    stand_in()
    assert tune_command(root, trials=6)[0] == 0
    search, own = root / "tuned", config.load(str(root / "recipe.toml"))
    found = rows(search)
    assert [row["trial"] for row in found] == list("123456")
    assert (float(found[0][RATE]), float(found[0][ROTATION])) == (1e-3, 0.0)  # the recipe's own
    assert "models.pretrained.units" not in found[0]  # cannot change the model that is scored
    best = min(found, key=lambda row: float(row["log_loss"]))
    assert best is not found[0]
    tuned = config.load(str(search / "recipe.toml"))
    values = {RATE: float(best[RATE]), ROTATION: float(best[ROTATION])}
    expected = search_space.with_values(own, values)
    named = {"name": "small-tuned", "description": tuned.description}
    assert tuned == expected.model_copy(update=named)
    text = (search / "recipe.toml").read_text()
    assert "[search]" not in text
    for said in (f"trial {best['trial']} of 6 of the search tuned", f"n = {N}", "best of 6", "optimistic"):
        assert said in text.split("name = ")[0]
        assert said in tuned.description
    assert f"{float(best['log_loss_low']):.3f}-{float(best['log_loss_high']):.3f}" in tuned.description


def test_all_trials_and_folds_read_grey_with_one_depth(root, stand_in):
    deepen(root / "data", 1)
    deepen(root / "data", 16, "train/bar")
    found = stand_in()
    assert tune_command(root, trials=1)[0] == 0
    assert found.depths == {12}
    assert config.load(str(root / "tuned" / "recipe.toml")).image.depth == 12


def test_scores_are_those_of_all_held_out_images(root, stand_in):
    stand_in()
    assert tune_command(root)[0] == 0
    for row in rows(root / "tuned"):
        said = list(held_out(root / "tuned", row["trial"], (1, 2)))
        ids = [name for one in said for name in one.ids]
        assert len(ids) == len(set(ids)) == int(row["n"]) == N
        assert not any("/test/" in name for name in ids)
        p = np.concatenate([one.probabilities[np.arange(len(one)), one.labels] for one in said])
        assert float(row["log_loss"]) == pytest.approx(-np.log(p).mean(), abs=1e-12)
        right = sum(int((one.predicted == one.labels).sum()) for one in said)
        assert float(row["accuracy"]) == pytest.approx(right / N)


def test_stopped_anywhere_a_search_ends_as_if_it_had_not_been(root, stand_in):
    whole = stand_in()
    assert tune_command(root, search="whole/tuned")[0] == 0
    for stop in range(1, len(whole.calls) + 1):
        stand_in(stop_at=stop)
        assert tune_command(root, search=f"{stop}/tuned")[0] == 130
        rest = stand_in()
        assert tune_command(root, search=f"{stop}/tuned")[0] == 0
        assert len(rest.calls) == len(whole.calls) - stop + 1  # what was done is not done again
        assert outcome(root / f"{stop}/tuned") == outcome(root / "whole/tuned")


def test_a_record_that_is_all_that_is_left_is_enough(root, stand_in):
    stand_in()
    assert tune_command(root)[0] == 0
    before = outcome(root / "tuned")
    for name in OUTCOME[:-1]:
        (root / "tuned" / name).unlink()
    shutil.rmtree(root / "tuned" / "trials")
    assert tune_command(root)[0] == 0
    assert outcome(root / "tuned") == before


def test_more_trials_go_on_from_those_that_are_done(root, stand_in):
    stand_in()
    assert tune_command(root, search="whole/tuned", trials=6)[0] == 0
    assert tune_command(root, search="parts/tuned", trials=2)[0] == 0
    assert tune_command(root, search="parts/tuned", trials=6)[0] == 0
    assert outcome(root / "parts/tuned") == outcome(root / "whole/tuned")


def test_a_finished_search_needs_no_keras(root, stand_in):
    stand_in()
    _, printed = tune_command(root)
    script = "import sys; from tumorboard.cli.main import main; code = main(sys.argv[1:]); "
    script += "sys.exit(99 if 'keras' in sys.modules else code)"
    where = (root / "data", "--out", root / "tuned", "--recipe", root / "recipe.toml")
    command = ["tune", *where, "--trials", "4", "--folds", "2", "--model", "custom", "--quiet"]
    ran = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, printed), ran.stderr


def test_another_seed_tries_other_settings(root, stand_in):
    stand_in()
    assert tune_command(root)[0] == 0
    assert tune_command(root, "--seed", "9", "--quiet", search="other")[0] == 0
    assert rows(root / "other")[1][RATE] != rows(root / "tuned")[1][RATE]


def test_a_trial_that_is_clearly_worse_is_given_up_after_two_folds(root, stand_in):
    stand_in()
    assert tune_command(root, trials=14, folds=3)[0] == 0
    found = json.loads((root / "tuned/state/trials.json").read_text())
    assert {one["state"] for one in found} == {"complete", "pruned"}
    for number, one in enumerate(found):
        earlier = [two["losses"][1] for two in found[:number] if two["state"] == "complete"]
        worse = len(earlier) >= 5 and one["losses"][1] > np.median(earlier)
        assert (one["state"] == "pruned") == worse
        assert len(one["losses"]) == (2 if worse else 3)
        assert (root / f"tuned/trials/trial-{number + 1}/fold-3").exists() != worse
    assert "pruned" in (root / "tuned/results.md").read_text()


def test_a_trial_that_cannot_be_trained_is_recorded_and_the_search_goes_on(root, stand_in):
    stand_in(fails=lambda rate: rate > 0.003)
    assert tune_command(root, trials=8)[0] == 0
    found = rows(root / "tuned")
    failed = [row for row in found if row["state"] == "failed"]
    assert failed
    for row in failed:
        assert float(row[RATE]) > 0.003
        assert row["reason"] == "expected a finite loss, found none; lower the rate"
        assert row["log_loss"] == row["accuracy"] == ""
    assert all(row["state"] == "complete" for row in found if float(row[RATE]) <= 0.003)
    again = stand_in()
    assert tune_command(root, trials=8)[0] == 0
    assert not again.calls


def test_a_recipe_that_cannot_be_trained_itself_ends_the_search(root, stand_in, capsys):
    stand_in(fails=lambda rate: True)
    assert tune_command(root)[0] == 7
    assert capsys.readouterr().err == "tumorboard: expected a finite loss, found none; lower the rate\n"


def test_the_same_settings_are_trained_once(root, stand_in):
    (root / "recipe.toml").write_text(f'{RECIPE}[search]\n"{ROTATION}" = [0.0, 0.1]\n')
    found = stand_in()
    assert tune_command(root, trials=6)[0] == 0
    assert len(rows(root / "tuned")) == 6
    assert len(found.calls) == 2 * 2


def test_other_data_or_settings_are_refused_and_named(root, stand_in, capsys):
    stand_in()
    assert tune_command(root, trials=1)[0] == 0
    before = outcome(root / "tuned")
    for flags, said in ((("--seed", "8"), "seed changed"), (("--folds", "3"), "--folds changed from 2 to 3")):
        assert tune_command(root, *flags, trials=1)[0] == 6
        assert said in capsys.readouterr().err
    (root / "recipe.toml").write_text((RECIPE + SEARCH).replace("1e-1", "1e-2"))
    assert tune_command(root, trials=1)[0] == 6
    assert f"search.{RATE} changed" in capsys.readouterr().err
    (root / "recipe.toml").write_text(RECIPE + SEARCH)
    shutil.copy(root / "data/train/bar/bar1.png", root / "data/train/bar/bar0.png")
    assert tune_command(root, trials=1)[0] == 6
    assert "bar0.png changed (content)" in capsys.readouterr().err
    assert outcome(root / "tuned") == before


def test_without_a_test_part_the_one_that_train_would_split_off_is_left_out(root, stand_in):
    shutil.rmtree(root / "data/test")
    stand_in()
    assert tune_command(root, trials=1)[0] == 0
    split = manifest.read_csv((root / "tuned/split/manifest.csv").read_text(), "split")
    test = {"/".join(sample.path.parts[-3:]) for sample in split.samples if sample.split == "test"}
    seen = {"/".join(name.split("/")[-3:]) for one in held_out(root / "tuned", 1, (1, 2)) for name in one.ids}
    assert len(test) >= len(CLASSES)
    assert not test & seen
    assert test | seen == {"/".join(path.parts[-3:]) for path in (root / "data").rglob("*.png")}
    assert tune_command(root, trials=2)[0] == 0


@pytest.mark.parametrize("keep_together", ["found", "given"])
@pytest.mark.parametrize("in_names", [False, True])
def test_folds_of_a_search_keep_patients_together(tmp_path, monkeypatch, in_names, keep_together):
    monkeypatch.setattr(tune.Search, "run", lambda search, trials: None)
    data, patients = draw_patients(tmp_path, in_names=in_names)
    text = f'{RECIPE}\n[splitting]\nkeep_together = "{keep_together}"'
    space = {ROTATION: (0.0, 0.1)}
    tune.tune(data, tmp_path / "tuned", config.parse(text, "small"), space, folds=2, model="custom")
    divided = divided_patients(tmp_path / "tuned" / "folds", patients)
    assert bool(divided) == (in_names and keep_together == "given")


def test_only_what_the_scored_model_needs_is_made(root, monkeypatch):
    made = []
    monkeypatch.setattr(build_models, "build_model", lambda context, name: made.append(name))
    monkeypatch.setattr(build_models, "predict_splits", lambda context, name, split: StandIn()(context, name))
    for model, needed in (
        ("custom", ["custom"]),
        ("ensemble", ["pretrained", "custom", "ensemble"]),
        ("chained", ["pretrained", "chained"]),
    ):
        made.clear()
        assert tune_command(root, search=model, trials=1, model=model)[0] == 0
        assert made == needed * 2


def test_results_are_printed_and_the_last_line_names_them(root, stand_in, capsys):
    stand_in()
    code, out = tune_command(root, "--skip-bad")
    folder = RunFolder(root / "tuned")
    assert code == 0
    assert out == f"{folder.summary.read_text()}Report: {folder.report}\nResults: {folder.root}\n"
    shown = capsys.readouterr().err
    assert all(f"; trial-{number} done" in shown for number in (1, 2))
    assert "100%" in shown
    code, out = tune_command(root, "--json")
    printed = json.loads(out)
    assert printed.pop("results") == str(folder.root)
    assert printed.pop("report") == str(folder.report)
    assert printed == json.loads((root / "tuned/metrics.json").read_text())
    assert capsys.readouterr().err == ""
    for one in printed["trials"]:
        assert {"value", "n", "low", "high"} <= set(one["loss"])


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (
            {"model": "forest"},
            2,
            "expected one of the models custom, pretrained, ensemble, chained as --model",
        ),
        ({"folds": 1}, 2, "2 or more --folds"),
        ({"trials": 0}, 2, "1 or more --trials"),
        ({"folds": 30}, 3, "separable images"),
    ],
)
def test_flags_that_do_not_fit_are_one_line(root, capsys, flags, code, said):
    assert tune_command(root, **flags)[0] == code
    captured = capsys.readouterr().err
    assert said in captured
    assert len(captured.splitlines()) == 1


def test_folds_that_could_not_be_dealt_may_be_fewer_the_next_time(root, stand_in):
    stand_in()
    assert tune_command(root, folds=30)[0] == 3
    assert tune_command(root, folds=2)[0] == 0


@pytest.mark.parametrize(("text", "said"), [("", "found nothing"), (SEARCH, "of models.custom")])
def test_a_recipe_without_settings_for_the_model_is_one_line(root, capsys, text, said):
    space = "\n".join(line for line in text.splitlines() if "pretrained" not in line)
    (root / "recipe.toml").write_text(RECIPE + space)
    assert tune_command(root, model="chained")[0] == 4
    assert said in capsys.readouterr().err


def test_without_optuna_one_line_says_how_to_install_it(root, monkeypatch, capsys):
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name == "optuna" else name)
    assert tune_command(root)[0] == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(
        f'tumorboard: tune needs packages that are not installed: {sys.executable} -m pip install "optuna>='
    )
    assert not (root / "tuned").exists()


def small(root):
    text = (RECIPE + SEARCH).replace("epochs = 4\npatience = 2", "epochs = 1\npatience = 0")
    (root / "recipe.toml").write_text(text)


def kept(search):
    """Every file that does not name a time or the command."""
    files = [path for path in search.rglob("*") if path.suffix in (".csv", ".toml", ".md")]
    files += [search / "metrics.json", search / "state/trials.json"]
    hidden = str(search.parents[0]).encode()
    return {str(path.relative_to(search)): path.read_bytes().replace(hidden, b"") for path in files}


def test_no_pixel_or_label_of_test_reaches_a_search_and_no_file_of_it_is_opened(root, monkeypatch):
    small(root)
    opened, inner = [], storage.sha256

    def noting(path):
        opened.append(path)
        return inner(path)

    monkeypatch.setattr(storage, "sha256", noting)
    assert tune_command(root, trials=1)[0] == 0
    other = root / "other"
    shutil.copytree(root / "data", other / "data")
    small(other)
    for number, path in enumerate((other / "data/test").rglob("*.png")):
        path.write_bytes(b"no picture %d" % number)
    first, *_, last = ((other / "data/test") / name for name in CLASSES)
    first.rename(other / "held")
    last.rename(first)
    (other / "held").rename(last)
    assert tune_command(other, trials=1)[0] == 0
    assert opened
    assert not [path for path in opened if "test" in path.parts]
    ours, theirs = kept(root / "tuned"), kept(other / "tuned")
    assert {"recipe.toml", "trials.csv", "trials/trial-1/fold-2/history/custom.csv"} <= set(ours)
    assert ours == theirs


def test_networks_are_trained_and_not_kept(root):
    small(root)
    assert tune_command(root, trials=1, model="ensemble")[0] == 0
    fold = root / "tuned/trials/trial-1/fold-1"
    assert {path.stem for path in (fold / "history").iterdir()} == {"custom", "pretrained", "ensemble"}
    assert not list(fold.rglob("*.keras"))
    assert not (fold / "cache").exists()
    assert {row["state"] for row in rows(root / "tuned")} == {"complete"}


def test_trials_share_what_is_frozen_and_find_the_same_bits(root, monkeypatch):
    text = RECIPE.replace("zoom = 0.0 }\ntraining = { views", "zoom = 0.1 }\ntraining = { views")
    space = '[search]\n"models.pretrained.training.learning_rate" = { low = 1e-4, high = 1e-2 }\n'
    (root / "recipe.toml").write_text(text + space)
    written, inner = [], feature_cache._write_view

    def noting(run, shapes, images, files, on_batch):
        written.append(files[0])
        inner(run, shapes, images, files, on_batch)

    monkeypatch.setattr(feature_cache, "_write_view", noting)
    for name in ("shared", "apart"):
        assert tune_command(root, search=name, trials=2, model="pretrained")[0] == 0
        monkeypatch.setattr(tune, "_fits", lambda *_: False)
    folds, views = 2, 3 + 1  # of train and of validation
    assert sum("shared" in path.parts for path in written) == folds * views
    assert sum("apart" in path.parts for path in written) == 2 * folds * views
    assert not list(root.rglob("view*.npy"))
    shared, apart = kept(root / "shared"), kept(root / "apart")
    assert len({row["log_loss"] for row in rows(root / "shared")}) == 2
    assert [shared[name] for name in FIGURES] == [apart[name] for name in FIGURES]


@pytest.mark.parametrize(("folds", "fits"), [(2, True), (3, False)])
def test_views_of_all_folds_together_take_no_more_disk_than_the_recipe_allows(tmp_path, folds, fits):
    bound = config.parse(RECIPE.replace("views = 3,", "views = 3, cache_gb = 2e-6,"), "small")
    small = {"training": Training(cache_gb=1e-9)}
    models = {
        name: one if name == "pretrained" else one.model_copy(update=small)
        for name, one in bound.models.items()
    }
    bound = bound.model_copy(update={"models": models, "chained": bound.chained.model_copy(update=small)})
    (tmp_path / "key").mkdir()
    (tmp_path / "key/view0-0.npy").write_bytes(bytes(1000))
    assert tune._fits(tmp_path, folds, bound) == fits


SPACE = {
    "rate": Range(low=1e-4, high=1e-1, log=True),
    "epochs": Range(low=2, high=9),
    "flip": ["none", "horizontal"],
}
KINDS = {"rate": float, "epochs": int, "flip": str}
OWN = {"rate": 1e-3, "epochs": 4, "flip": "none"}


def loss(values):
    """Lowest at a rate of 0.01, the other settings hardly matter."""
    return abs(np.log10(values["rate"]) + 2) + 0.01 * values["epochs"]


def complete(values, folds=3):
    return Trial(values, "complete", (loss(values),) * folds)


def trials_of(seed, count):
    done = [complete(OWN)]
    while len(done) < count:
        done.append(complete(tune.propose(SPACE, KINDS, done, seed).values))
    return done


def test_what_is_drawn_lies_in_the_space_and_has_its_types():
    for one in trials_of(0, 15):
        assert 1e-4 <= one.values["rate"] <= 1e-1
        assert one.values["epochs"] in range(2, 10)
        assert one.values["flip"] in SPACE["flip"]
        assert [type(value) for value in one.values.values()] == [float, int, str]


def test_the_same_seed_and_trials_draw_the_same_and_others_do_not():
    first = trials_of(0, 15)
    assert trials_of(0, 15) == first
    assert trials_of(1, 15)[1:] != first[1:]
    again = tune.propose(SPACE, KINDS, first, 0).values
    assert tune.propose(SPACE, KINDS, first, 0).values == again
    assert tune.propose(SPACE, KINDS, first[:-1], 0).values == first[-1].values
    better = [replace(one, losses=(9.0 - one.losses[0],)) for one in first]
    assert tune.propose(SPACE, KINDS, better, 0).values != again


def test_later_trials_are_nearer_to_the_best_than_the_first():
    losses = [loss(one.values) for one in trials_of(0, 40)]
    assert np.median(losses[20:]) < np.median(losses[:10])


def test_given_settings_are_tried():
    assert tune.propose(SPACE, KINDS, [], 0, OWN).values == OWN
    assert tune.propose(SPACE, KINDS, trials_of(0, 3), 0, OWN).values == OWN


def test_trials_that_failed_or_were_pruned_are_no_obstacle():
    done = [*trials_of(0, 11), Trial(OWN, "failed"), Trial(OWN, "pruned", (9.0, 9.0))]
    assert tune.propose(SPACE, KINDS, done, 0).values != OWN


@pytest.mark.parametrize(
    ("complete_trials", "loss_now", "folds", "prune"),
    [(5, 2.1, 2, True), (5, 1.9, 2, False), (5, 9.0, 1, False), (4, 9.0, 2, False)],
)
def test_what_is_worse_than_the_median_is_pruned_but_not_too_soon(complete_trials, loss_now, folds, prune):
    losses = (1.0, 1.0, 2.0, 3.0, 3.0)
    earlier = [Trial(OWN, "complete", (one,) * 3) for one in losses[:complete_trials]]
    assert tune.propose(SPACE, KINDS, earlier, 0).should_prune(loss_now, folds) is prune


SEED = 20261126


@pytest.mark.slow
def test_killed_anywhere_a_search_ends_as_if_it_had_not_been(tmp_path):
    draw(tmp_path / "data")
    (tmp_path / "recipe.toml").write_text(RECIPE + SEARCH)

    def command(folder, **fault):
        where = (
            tmp_path / "data",
            "--out",
            tmp_path / folder / "tuned",
            "--recipe",
            tmp_path / "recipe.toml",
        )
        return step("tune", *where, "--trials", 3, "--folds", 2, "--model", "custom", "--quiet", **fault)

    (alone,) = run_steps(tmp_path, [command("alone")])
    assert alone["code"] == 0
    sys.stdout.write(f"seed {SEED}\n")
    draws, events = np.random.default_rng(SEED), alone["counts"]["any"]
    points = [int(draws.integers(1, events // 3)) for _ in range(5)]
    plan = [command("killed", at="any", n=n) for n in points]
    plan += [command("killed", at="any", n=events // 10, signals=(number,)) for number in (2, 15)]
    results = run_steps(tmp_path, [*plan, command("killed")])
    assert [result["code"] for result in results] == [-signal.SIGKILL] * 5 + [130, 143, 0]
    assert kept(tmp_path / "killed/tuned") == kept(tmp_path / "alone/tuned")
    assert not list((tmp_path / "killed").rglob("*.writing*"))
