"""Advice that works: keys, choices and commands that messages name are typed as printed, and do what they say."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

Main = Callable[..., tuple[int, str]]
ROWS = "".join(f"message {i} about {topic},{topic}\n" for i in range(12) for topic in ("cards", "cash"))
GOLDEN = Path(__file__).parents[1] / "golden/study"
PLAN = ("plan=true", "calibrate=false")


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    for name in ("mine.csv", "ok (1).csv", "o'k=é.csv"):
        (tmp_path / name).write_text(f"text,label\n{ROWS}", encoding="utf-8")
    own = tmp_path / "cd/model"
    own.mkdir(parents=True)
    (own / "m.yaml").write_text("_target_: harness.models.Model\nname: m\npath: nowhere\n", encoding="utf-8")
    return tmp_path


def test_paths_with_signs_are_read_as_typed(main: Main) -> None:
    """In a run and as choices, each in Hydra's own quotes."""
    assert main("task=csv", "task.path=ok (1).csv", "method=nearest_mean", *PLAN)[0] == 0
    code, printed = main(
        "-m", "task=csv", """task.path="ok (1).csv","o'k=é.csv\"""", "method=nearest_mean", "runs_dir=my runs é", *PLAN
    )
    assert code == 0, printed
    assert "2 cells" in printed


def test_a_key_that_some_cells_have_is_set_there(main: Main) -> None:
    """With a note; one that no cell has is refused by the names of the composition that failed."""
    ask = ("-m", "task=csv", "task.path=mine.csv", "method=linear_probe,lora", *PLAN)
    code, printed = main(*ask, "method.config.r=4", "method.C=1.0")
    assert code == 0, printed
    assert "method.config.r=4 counts only where the key exists, not in csv.minilm.linear_probe." in printed
    assert "method.C=1.0 counts only where the key exists, not in csv.minilm.lora." in printed
    code, printed = main(*ask, "method.config.rr=4", "method.CC=1")
    assert code == 2
    assert re.search(r"method\.config\.rr: the configuration has no such key", printed)
    assert re.search(r"method\.CC: the configuration has no such key", printed)
    assert "Known:" not in printed
    code, printed = main("-m", "task=demo,csv", "task.path=mine.csv,mine.csv.", "method=nearest_mean", *PLAN)
    assert code == 2
    assert "makes a cell of task=demo model=minilm method=nearest_mean" in printed


def test_names_come_from_the_composition_that_failed(main: Main) -> None:
    """Also those of the user's own YAMLs; a field of the class that the YAML leaves out is added with +."""
    code, printed = main("--config-dir", "cd", "model=m", "model.poolin=cls", "model.max_token=3", "train.batch_size=x")
    assert code == 2
    assert "model.poolin: the configuration has no such key" in printed
    assert "Did you mean model.pooling" not in printed
    assert "train.batch_size=x: this key takes an integer" in printed
    code, printed = main("--config-dir", "cd", "model=m", "model.pooling=cls")
    assert "Write +model.pooling=<value>" in printed
    code, printed = main("--config-dir", "cd", "model=m", "+model.pooling=cls", *PLAN)
    assert "nowhere" in printed
    assert "pooling" not in printed
    code, printed = main("slurm.environment.A=x")
    assert code == 2
    assert "Write +slurm.environment.A=<value>" in printed
    code, printed = main("slurm.environment={B:x}", "train={lrr:1}")
    assert code == 2
    assert "Write +slurm.environment.B=<value>" in printed
    assert "train.lrr: the configuration has no such key. Did you mean train.lr?" in printed
    code, printed = main("-m", "method=lora", "+method.config.use_doora=true", *PLAN)
    assert code == 2
    assert "LoraConfig takes no use_doora. Did you mean use_dora" in printed


def test_a_pattern_of_names_makes_cells(main: Main) -> None:
    """As Hydra documents it; one that fits nothing is told."""
    ask = ("-m", "task=csv", "task.path=mine.csv", *PLAN)
    code, printed = main(*ask, "method=glob([zero*,near*,lora_*],exclude=lora_*)")
    assert code == 0, printed
    assert "2 cells" in printed
    code, printed = main(*ask, "method=glob(zz*)")
    assert code == 2
    assert "no choice matches" in printed
    code, printed = main("method=glob(lo*)")
    assert code == 2
    assert "add -m" in printed


MESSAGES = [
    # what is wrong, and what a line of its own is typed again with the advice that is found by the expression
    (("task=csv", "task.path=a, b.csv"), r"As one text: (.*)", "a, b.csv"),
    (("task.path=mine.csv,ok (1).csv", "task=csv"), r"One text: (.*?) Several", "mine.csv,ok (1).csv"),
]


@pytest.mark.parametrize(("arguments", "advice", "value"), MESSAGES)
def test_the_advice_is_typed(main: Main, tmp_path: Path, arguments: tuple[str, ...], advice: str, value: str) -> None:
    """The file of that name is then the one that is read."""
    (tmp_path / value).write_text(f"text,label\n{ROWS}", encoding="utf-8")
    code, printed = main(*arguments, *PLAN)
    assert code == 2
    found = re.search(advice, printed)
    assert found, printed
    rest = [argument for argument in arguments if not argument.startswith("task.path")]
    code, printed = main(*rest, *shlex.split(found[1]), "method=nearest_mean", *PLAN)
    assert code == 0, printed


CASES = [
    (("cache_dir=null",), r"cache_dir=null: this key needs a value"),
    (("runs_dir=",), r"runs_dir= names no directory"),
    (("--resolve",), r"--cfg job --resolve"),
    (("-m", "--cfg", "job"), r"exclude each other"),
    (("--experimental-rerun", "x"), r"rerun=true"),
    (("--config-name", "foo"), r"--config-dir"),
    (("report.margin=1",), r"below 1, not 1\.0: 0\.01 is one point"),
    (("report.margin=-0.1",), r"below 1, not -0\.1"),
    (("report.margin=nan",), r"below 1, not nan"),
]


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_a_habit_of_a_neighbor_gets_a_sentence(main: Main, arguments: tuple[str, ...], message: str) -> None:
    """Exit code 2, no traceback."""
    extra = ("-m", "method=nearest_mean") if "margin" in arguments[0] else ()
    code, printed = main(*extra, *arguments)
    assert code == 2, printed
    assert re.search(message, printed), printed
    assert "Traceback" not in printed


def test_the_examples_of_slurms_readme_are_typed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand there, with a profile that exists, each composes."""
    from harness.cli import main as app

    text = (app.config_root() / "slurm/README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^python -m harness -m slurm=mycluster plan=true (.*)$", text, re.MULTILINE)
    assert len(examples) == 5
    for example in examples:
        monkeypatch.setattr("sys.argv", ["harness", "--cfg", "job", "slurm=gpu", *shlex.split(example)])
        app.main()
    shown = capfd.readouterr().out
    for value in ("node[01-04]", "node1,node2", "source ~/.bashrc", "TMPDIR: /scratch", "comment: mine, again"):
        assert value in shown


PACKAGE = "# @package _global_\n"
YAMLS = [
    # a YAML of sweeps, and what is said of it
    (PACKAGE + "sweep:\n  params: [method=lora]\n", r"sweeps/q\.yaml has a list where a mapping is expected"),
    (PACKAGE + "sweep:\n  params:\n", r"sweep\.params=null: this key needs a value"),
    ("sweep: {params: {method: lora}}\n", r"begin with the line `# @package _global_`"),
    ("", r"begin with the line `# @package _global_`"),
    (PACKAGE + "sweep: {params: {train.lr: [1e-3,1e-4]}}\n", r"leave out the brackets: train\.lr=0\.001,0\.0001"),
    (PACKAGE + "sweep: {params: {train.lr: {min: 1e-3, max: 1e-2}}}\n", r"train\.lr: a sweep is written as one text"),
    (PACKAGE + "sweep:\n\tname: q\n", r"q\.yaml, line 3: this is not valid YAML: .*Indent with spaces"),
    (
        PACKAGE + "sweep: {name: a}\nsweep: {name: b}\n",
        r"q\.yaml, line 3: this is not valid YAML: found duplicate key sweep",
    ),
    (PACKAGE + "defaults: lora\n", r"sweeps/q\.yaml: defaults is a list"),
    (PACKAGE + "defaults: [{method: lora}]\n", r"`- override /method: lora`"),
    (PACKAGE + "tune: 5\n", r"sweeps/q\.yaml: 5 is given where a section"),
]


def test_a_yaml_of_a_sweep_that_cannot_be_read_gets_a_sentence(main: Main, write: Callable[..., Path]) -> None:
    """Exit code 2, no traceback; mappings are their keys, one by one."""
    (write("mine.csv", ROWS).parent / "cd/sweeps").mkdir()
    for text, message in YAMLS:
        write("cd/sweeps/q.yaml", text)
        code, printed = main("-m", "--config-dir", "cd", "sweeps=q", *PLAN)
        assert code == 2, (text, printed)
        assert re.search(message, printed), (text, printed)
        assert "Traceback" not in printed
    write("cd/sweeps/q.yaml", "caf\xe9: 1\n".encode("latin-1"))
    assert "not UTF-8" in main("-m", "--config-dir", "cd", "sweeps=q", *PLAN)[1]
    write("cd/sweeps/q.yaml", PACKAGE + "sweep: {params: {method: lora, train: {epochs: 2, lr: '1e-3,1e-4'}}}\n")
    code, printed = main("-m", "--config-dir", "cd", "sweeps=q", *PLAN)
    assert code == 0, printed
    assert "train.lr=1e-3,1e-4" in printed


def test_a_time_in_a_profile_is_read_as_written(main: Main, write: Callable[..., Path]) -> None:
    """YAML 1.1 has numbers of base 60: 4:00:00 would be 14400 minutes."""
    (write("mine.csv", ROWS).parent / "cd/slurm").mkdir(parents=True)
    write("cd/slurm/q.yaml", PACKAGE + "launch: {kind: slurm}\nslurm:\n  timeout_min: 4:00:00\n")
    code, printed = main("-m", "--config-dir", "cd", "slurm=q", *PLAN)
    assert code == 2 and "Write slurm.timeout_min=240 (minutes)" in printed, printed
    numbers = OmegaConf.create("{a: 010, b: 12:30:45.5, c: 0x10, d: 1e3, e: 10, f: 0.5, g: 0, 01: h}")
    assert numbers == {"a": "010", "b": "12:30:45.5", "c": 16, "d": 1000.0, "e": 10, "f": 0.5, "g": 0, "01": "h"}
    assert yaml.safe_load("[010, 4:00:00]") == [8, 14400]  # other libraries of this process read as before


def test_the_directory_of_own_yamls_is_told(main: Main, tmp_path: Path) -> None:
    """Where there is none, and where a group's own directory is named; a group without a name likewise."""
    assert main("-m", "--config-dir", "nowhere") == (2, "Error: --config-dir nowhere: there is no such directory.\n")
    assert "in: --config-dir cd\n" in main("-m", "--config-dir", "cd/model")[1]
    assert "method=: this key takes a name." in main("-m", "method=")[1]
    code, printed = main("-m", "method=nearest_mean", "tune.warm_start=[1e3,2024_01_02]", *PLAN)
    assert code == 2
    assert "no study 1e3" in printed
    code, printed = main("-m", "method=lora", "seed=[1,2]", "train.clip=null,1", *PLAN)
    assert code == 2
    assert "leave out the brackets: seed=1,2." in printed
    assert not (tmp_path / "runs").exists()


def test_what_is_given_twice_is_noted(main: Main) -> None:
    """Scripts append what they change, and the last value counts; a second choice of a group may be meant as a cell."""
    ask = ("task=csv", "task.path=mine.csv", "task.path=mine.csv", "tune.trials=2", "tune.trials=3", *PLAN)
    code, printed = main("-m", *ask, "method=lora", "+method=linear_probe", "method.C=1.0", "method.C=2.0")
    assert code == 0, printed
    assert "Note: method=lora and method=linear_probe: method is given more than once, and the last one" in printed
    assert "counts. For a cell each: method=lora,linear_probe\n" in printed
    assert "Note: tune.trials=2 and tune.trials=3: tune.trials is given more than once, and the last one" in printed
    assert "Note: method.C=1.0 and method.C=2.0: method.C is given" in printed
    assert "task.path is given" not in printed
    assert "given more" not in main(*ask[:2], "task={max_length: 64}", "task={max_length: 32}", "model=none")[1]
    code, printed = main(*ask, "method=lora", "method=nearest_mean", "tracker=wandb", "tracker=none")
    assert code == 0, printed
    assert "For a cell each, in a study (-m): method=lora,nearest_mean\n" in printed
    assert "For all of them at once: 'tracker=[wandb,none]'\n" in printed


def test_keys_of_slurm_without_a_profile_are_told(main: Main) -> None:
    """They have no effect; a key that a coordinator's job does not have is refused all the same."""
    ask = ("task=csv", "task.path=mine.csv", "method=nearest_mean", *PLAN)
    for mode in ((), ("-m",)):
        code, printed = main(*mode, *ask, "slurm.partition=high", "+slurm.environment.A=1")
        assert code == 0, printed
        assert "Note: slurm.partition, slurm.environment.A: without effect" in printed
        code, printed = main(*mode, *ask, "+slurm.coordinator.foo=1")
        assert code == 2
        assert "slurm.coordinator.foo: no such key." in printed


def test_cells_that_compute_the_same_are_told(main: Main, tmp_path: Path) -> None:
    """Two encodings that read the same rows are one result under two names; two tasks of one file are no mistake."""
    ask = ("-m", "task=csv", "method=nearest_mean", *PLAN)
    code, printed = main(*ask, "task.path=mine.csv", "task.encoding=utf-8,utf-8-sig")
    assert code == 0, printed
    assert "encoding-utf-8-sig computes the same as csv.minilm.nearest_mean.encoding-utf-8, from the same" in printed
    code, printed = main(*ask, "task.path=mine.csv", "task.metric=accuracy,macro_f1")
    assert code == 0, printed
    assert "computes the same" not in printed


def test_a_warm_start_that_gives_nothing_is_told(main: Main, tmp_path: Path) -> None:
    """Unknown names with those that there are, archives, one study twice; and cells that begin with nothing."""
    shutil.copytree(GOLDEN, tmp_path / "runs/old")
    (tmp_path / "w.zip").write_bytes(b"PK")
    ask = ("-m", "task=csv", "task.path=mine.csv", *PLAN)
    code, printed = main(*ask, "method=nearest_mean", "tune.warm_start=[odl,w.zip,runs/old,old,runs/old/runs]")
    assert code == 2
    assert "there is no study odl. Studies in runs: Did you mean old? Known: old.\n" in printed
    assert "w.zip is the archive of a study" in printed
    assert "runs/old and old are one study. Name it once." in printed
    assert "runs/old/runs lies inside of a study. Give that: runs/old" in printed
    code, printed = main(*ask, "method=nearest_mean,linear_probe", "tune.warm_start=[old]")
    assert code == 0, printed
    assert "nearest_mean begins with nothing of old: no trial of method=nearest_mean there." in printed
    assert "csv.minilm.linear_probe begins with the best of demo.minilm.linear_probe in old" in printed


def test_a_key_is_deleted_in_a_study(main: Main) -> None:
    """The class's own default holds then; it has no value that could be read as a seed."""
    code, printed = main("-m", "method=nearest_mean", "~model.pooling", *PLAN)
    assert code == 0, printed
    code, printed = main("-m", "method=nearest_mean", "task=csv", "task.path=a=b,c.csv", *PLAN)
    assert code == 2
    assert """'task.path="a=b",c.csv'""" in printed
