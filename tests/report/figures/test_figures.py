"""Figures: drawn where there is data, deterministic, readable with one cell and with many."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.report.analysis.verdicts import evidence
from harness.report.cells.cell_summary import rows
from harness.report.cells.settings import Settings
from harness.report.figures import INK, PAPER, RULE, Drawing, draw
from harness.report.reading.study import load
from tests.report.conftest import Builder, asked

# Accuracy, deviation between seeds, training seconds, best learning rate; None where nothing is tuned.
METHODS: dict[str, tuple[float, float, float, float | None]] = {
    "zero_shot": (0.622, 0.0, 0.0, None),
    "nearest_mean": (0.815, 0.0, 0.08, None),
    "linear_probe": (0.858, 0.0, 1.9, None),
    "bitfit": (0.847, 0.004, 31.0, 3e-3),
    "ia3": (0.842, 0.006, 27.0, 6e-3),
    "lora": (0.868, 0.004, 24.0, 1e-3),
    "adalora": (0.861, 0.007, 33.0, 2e-3),
    "full": (0.873, 0.005, 38.0, 1e-4),
}
EXAMPLES = 600


def build(
    study: Builder,
    methods: dict[str, tuple[float, float, float, float | None]],
    tasks: Sequence[str] = ("banking77",),
    seeds: int = 5,
    trials: int = 16,
    classes: int = 77,
) -> None:
    """Write a study whose trials, epochs and predictions look like those of real ones."""
    draw = random.Random(7)
    space = {"train.lr": "tag(log,interval(1e-5,1e-1))", "train.epochs": "range(2,9)"}
    cells = {f"{task}.minilm.{method}": values for task in tasks for method, values in methods.items()}
    study.sweep([asked(cell, space=space if values[3] else {}) for cell, values in cells.items()])
    names = [f"class_{number:02d}" for number in range(classes)]
    labels = [names[row % classes] for row in range(EXAMPLES)]
    hardness = [draw.random() for _ in labels]
    importances = {}
    for cell, (level, deviation, seconds, optimum) in cells.items():
        data = {"fingerprint": cell.split(".")[0]}
        mean = level - 0.05 * tasks.index(cell.split(".")[0]) + draw.gauss(0, 0.004)
        cost = {"train_seconds": seconds, "total_seconds": seconds + 4, "params_trainable": int(seconds * 1e4)}
        for trial in range(trials if optimum else 1):
            rate = 10 ** draw.uniform(-5, -1)
            loss = 0.03 * math.log10(rate / optimum) ** 2 if optimum else 0.0
            value = max(0.02, mean - loss - abs(draw.gauss(0, 0.006)))
            status = "failed" if optimum and rate > 0.04 else "pruned" if loss > 0.1 else "ok"
            metrics = {"val": {"accuracy": value} if status == "ok" else {}, "test": {}}
            tuned = {"train.lr": rate, "train.epochs": draw.randint(2, 8)} if optimum else {}
            record = study.run(
                cell, f"t{trial:03d}", trial=trial, hyperparameters=tuned, metrics=metrics, cost=cost, status=status,
                error="The outputs became non-finite." if status == "failed" else None, data=data,
            )  # fmt: skip
            if optimum:
                Builder.epochs(record, [value * (1 - 0.5 * math.exp(-0.9 * epoch)) for epoch in range(1, 9)])
        if optimum:
            share = draw.uniform(0.5, 0.9)
            importances[cell] = {"train.lr": share, "train.epochs": 1 - share}
        for seed in range(1, seeds + 1):
            level_of_seed = mean + draw.gauss(0, deviation)
            predicted = []
            for row, (label, hard) in enumerate(zip(labels, hardness, strict=True)):
                noise = 0.0 if not deviation else draw.gauss(0, 0.05)
                right = hard + noise < level_of_seed
                predicted.append(label if right else names[(row % classes // 3 * 3 + 1) % classes])
            value = sum(map(str.__eq__, predicted, labels)) / len(labels)
            metrics = {"val": {"accuracy": mean}, "test": {"accuracy": value}}
            record = study.run(
                cell,
                f"c{seed}",
                phase="confirm",
                seed=seed,
                metrics=metrics,
                cost=cost,
                data={"fingerprint": cell.split(".")[0]},
            )
            Builder.predictions(record, labels, predicted)
    (study.directory / "importances.json").write_text(json.dumps(importances), encoding="utf-8")


def drawings(study: Path, settings: Settings | None = None) -> dict[str, Drawing]:
    loaded = load(study)
    table = rows(loaded)
    return {drawing.name: drawing for drawing in draw(table, evidence(loaded, table, settings or Settings()))}


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawing]:
    study = Builder(tmp_path_factory.mktemp("eight") / "runs" / "eight")
    build(study, METHODS)
    return drawings(study.directory)


def test_every_figure_is_drawn_where_there_is_data(eight: dict[str, Drawing]) -> None:
    """One question: all figures but those across questions; each has a caption and both formats."""
    kinds = {
        "scores",
        "cost",
        "pairs",
        "epochs",
        "seconds",
        "learning",
        "rate",
        "importance",
        "confusion",
        "abstention",
    }
    assert set(eight) == {f"{kind}-banking77" for kind in kinds}
    caption = eight["epochs-banking77"].caption  # trials were pruned, so their number does not say what they spent
    assert "A trial that failed counts as" in caption and "ended early counts with the best score" in caption
    for drawing in eight.values():
        assert drawing.caption.startswith("banking77: ")
        assert drawing.caption.endswith(".")
        assert drawing.svg.rstrip().endswith("</svg>")
        assert drawing.png.startswith(b"\x89PNG")


def test_figures_follow_the_page(eight: dict[str, Drawing]) -> None:
    """Text stays text in a colour that the page replaces; ids of two figures never collide."""
    ids: list[str] = []
    for drawing in eight.values():
        assert INK in drawing.svg
        assert PAPER in drawing.svg
        assert "<text" in drawing.svg
        used = {color.lower() for color in re.findall(r"(?:fill|stroke): (#[0-9a-fA-F]{6})", drawing.svg)}
        assert "#000000" not in used
        assert "#ffffff" not in used
        ids += re.findall(r'<(?:path|clipPath) id="([^"]+)"', drawing.svg)
    assert RULE in eight["scores-banking77"].svg
    assert len(ids) == len(set(ids))


def test_same_study_gives_the_same_figures(tmp_path: Path) -> None:
    """To the byte, so that a committed report has readable diffs."""
    study = Builder(tmp_path / "runs" / "two")
    build(study, {name: METHODS[name] for name in ("linear_probe", "lora")}, seeds=2, trials=5, classes=4)
    assert drawings(study.directory) == drawings(study.directory)


def test_a_bad_cell_does_not_press_the_others_together(eight: dict[str, Drawing]) -> None:
    """It is named with its score at the edge, and the caption says so."""
    assert "Beyond the axis: zero_shot." in eight["scores-banking77"].caption
    assert re.search(r">← \d\d\.\d<", eight["scores-banking77"].svg)
    assert "zero_shot" in eight["cost-banking77"].caption


def test_recommended_cell_is_marked(eight: dict[str, Drawing], tmp_path: Path) -> None:
    """With a wide margin the cheapest good cell is recommended: bold, ringed, and its confusions are shown."""
    study = Builder(tmp_path / "runs" / "wide")
    build(study, {name: METHODS[name] for name in ("linear_probe", "lora", "full")}, seeds=4, trials=5)
    found = drawings(study.directory, Settings(margin=0.2))
    assert "Bold: the recommended cell." in found["scores-banking77"].caption
    assert "Ring: the recommended cell." in found["cost-banking77"].caption
    assert "what linear_probe, the recommended cell, takes for what" in found["confusion-banking77"].caption


def test_draws_of_one_task_are_no_independent_tasks(study: Builder) -> None:
    """The audit's case: no p value, no critical difference over draws or shots; they are averaged to one block."""
    methods = ("a", "b", "c")
    cells = {
        f"{task}.minilm.{method}.draw={draw}": {"task.draw": draw}
        for task in ("demo", "trec")
        for method in methods
        for draw in (0, 1, 2)
    }
    draw = random.Random(0)

    def write(names: list[str]) -> dict[str, Drawing]:
        study.sweep([asked(name, variant=cells[name]) for name in names], confirm={"seeds": 1})
        for name in names:
            metrics = {"val": {}, "test": {"accuracy": 0.8 + draw.gauss(0, 0.01)}}
            data = {"fingerprint": f"{name.split('.')[0]} {cells[name]}"}
            study.run(name, "c1", phase="confirm", seed=1, metrics=metrics, variant=cells[name], data=data)
        return drawings(study.directory)

    one = write([name for name in cells if name.startswith("demo")])
    assert "ranks-tasks" not in one and "of 1 data set," in one["profile-accuracy"].caption
    two = write(list(cells))["ranks-tasks"].caption
    assert two.startswith("Mean ranks over 2 data sets. Each has the mean of its questions (6 in all)")


def test_figures_across_questions(tmp_path: Path) -> None:
    """Two tasks: ranks and a profile; a method that lacks one is named and left out; unlike metrics get ranks only."""
    study = Builder(tmp_path / "runs" / "tasks")
    some = {name: METHODS[name] for name in ("linear_probe", "lora", "full")}
    build(study, some, tasks=("banking77", "trec"), seeds=3, trials=3, classes=5)
    record = study.run("trec.minilm.extra", "c1", phase="confirm", seed=1, metrics={"test": {"accuracy": 0.5}})
    found = drawings(study.directory)
    assert {"ranks-tasks", "profile-accuracy"} <= set(found)
    assert "extra is left out" in found["ranks-tasks"].caption
    assert found["ranks-tasks"].caption.startswith("Mean ranks over 2 data sets. Methods under one bar")
    assert "Friedman's test by permutation: p = " in found["ranks-tasks"].caption
    assert "over 2 questions of 2 data sets" in found["profile-accuracy"].caption
    record.unlink()
    asks = [
        asked(f"{task}.minilm.{name}", metric=metric)
        for task, metric in (("banking77", "accuracy"), ("trec", "macro_f1"))
        for name in some
    ]
    study.sweep(asks)
    for name, score in zip(some, (0.7, 0.8, 0.9), strict=True):
        study.run(f"trec.minilm.{name}", "c9", phase="confirm", seed=9, metrics={"test": {"macro_f1": score}})
    found = drawings(study.directory)
    assert "ranks-tasks" in found
    assert not any(name.startswith("profile-") for name in found)


def test_many_cells_stay_readable_and_fast(tmp_path: Path) -> None:
    """Of 45 cells the 40 best are drawn, lines in eight colours, as captions say; a figure takes half a second."""
    study = Builder(tmp_path / "runs" / "many")
    methods = {f"method_{i:02d}": (0.8 + 0.002 * i, 0.004, 2.0 + i, 1e-3) for i in range(45)}
    build(study, methods, seeds=2, trials=4, classes=6)
    started = time.process_time()
    found = drawings(study.directory)
    assert time.process_time() - started < 12
    assert "The 40 best of 45 are shown." in found["scores-banking77"].caption
    assert "In grey: 32 more cells. The 40 best of 45 are shown." in found["epochs-banking77"].caption
    assert "The 25 best of 45 are shown." in found["pairs-banking77"].caption
    assert all(len(drawing.svg) < 250_000 for drawing in found.values())


def test_one_cell_is_enough(tmp_path: Path) -> None:
    """No comparison, but its scores, its tuning with what was observed, and its whole confusion matrix."""
    study = Builder(tmp_path / "runs" / "one")
    build(study, {"lora": METHODS["lora"]}, seeds=1, trials=8, classes=3)
    found = drawings(study.directory)
    assert "pairs-banking77" not in found
    caption = found["trials-banking77"].caption
    assert "Dotted: the best so far" in caption and "Bands: 95 %, bootstrap over the trials" in caption
    assert "Rows are the labels" in found["confusion-banking77"].caption


def test_nothing_measured_draws_nothing(study: Builder) -> None:
    """Cells that have not started, and runs without scores, give no figure."""
    study.sweep([asked("demo.minilm.lora"), asked("demo.minilm.full")])
    assert drawings(study.directory) == {}
    study.run("demo.minilm.lora", "t0", trial=0, status="failed", error="boom")
    assert drawings(study.directory) == {}


def test_minimised_metric(study: Builder) -> None:
    """Less is better: the bad cell lies beyond the right end."""
    study.sweep([asked(f"demo.minilm.{name}", metric="loss", direction="minimize") for name in ("a", "b", "c", "d")])
    for name, value in (("a", 0.30), ("b", 0.31), ("c", 0.32), ("d", 3.0)):
        for trial in range(4):
            metrics = {"val": {"loss": value + 0.1 / (trial + 1)}, "test": {}}
            tuned = {"train.lr": 10.0 ** -(trial + 1)}
            study.run(f"demo.minilm.{name}", f"t{trial}", trial=trial, metrics=metrics, hyperparameters=tuned)
        metrics = {"val": {}, "test": {"loss": value}}
        study.run(f"demo.minilm.{name}", "c1", phase="confirm", seed=1, metrics=metrics, cost={"train_seconds": 3.0})
    found = drawings(study.directory)
    assert "3.000 →" in found["scores-demo"].svg
    assert "Beyond the axis: d." in found["trials-demo"].caption


def test_text_of_a_study_is_text(study: Builder) -> None:
    """Names with markup, mathematics or right-to-left overrides are drawn as they are, without control characters."""
    evil = "<script>$x$\u202e&"
    cell = f"demo.minilm.{evil}"
    study.sweep([asked(cell)])
    record = study.run(
        cell, "c1", phase="confirm", seed=1, metrics={"test": {"accuracy": 0.5}}, cost={"train_seconds": 1.0}
    )
    Builder.predictions(record, [evil, "b"] * 5, ["b", "b"] * 5)
    for drawing in drawings(study.directory).values():
        assert "<script" not in drawing.svg
        assert "\u202e" not in drawing.svg + drawing.caption
