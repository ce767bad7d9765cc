"""Overrides as people type them: texts with signs, keys that nobody reads, words of neighboring programs."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness.cli.arguments import read
from harness.config.overrides import key_kind, normal, parse
from harness.errors import HarnessError, quoted, typed

TEXTS = (
    "ok (1).csv", "run=1/ok.csv", "ok[1].csv", "[1].csv", "{a}.csv", "données.csv", "评论.csv", "o'k.csv", "a#b", "a&b",
    "a;b", "a!b", "100%.csv", "my runs é", "node[01-04]", "ok(1)", ";", ",", "C:\\data\\x y.csv", "#1.csv", "a=b",
    "x{1}y", 'say "hi" é',
)  # fmt: skip


def value_of(line: str) -> Any:
    config = OmegaConf.create({"k": None})
    OmegaConf.update(config, "k", parse(line).value())
    return config.k


def shell(words: str) -> list[str]:
    """What a POSIX shell makes of words that a message prints."""
    done = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_can_be_nothing_else_is_taken_as_typed(text: str) -> None:
    """The form that Hydra is handed is one that it reads alone."""
    assert value_of(f"task.path={text}") == text
    line = normal(f"task.path={text}", lambda _: False)
    assert OverridesParser.create().parse_override(line).value() == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    """Also backslashes, quotes, `${` and spaces at its ends, and what looks like a number or a boolean."""
    assert value_of(f"k={quoted(text)}") == text


@pytest.mark.parametrize(
    "text", [*TEXTS, " both ", "${HOME}", "a, b", "$(rm x)", "`x`", "true", "1", "null", "\\", "a\\\"'"]
)
def test_a_typed_override_passes_a_shell(text: str) -> None:
    """What messages print is copied into a shell and read by Hydra."""
    (line,) = shell(typed("task.path", text))
    assert value_of(line) == text


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("task.path=a (1).csv,b.csv", "a (1).csv,b.csv"),
        ('task.path="ok (1).csv', '"ok (1).csv'),
        ("task.path=[a (1),b", "[a (1),b"),
        ("task.path=${HOME", "${HOME"),
        ("task.path=a[1,2],b", "a[1,2],b"),
        ("task.text=choice(a b", "choice(a b"),
    ],
)
def test_what_may_mean_several_things_is_refused_with_each_spelling(line: str, first: str) -> None:
    """The first advice is the text itself; both are typed as printed."""
    with pytest.raises(HarnessError) as caught:
        parse(line)
    advised = [shell(word)[0] for word in re.findall(r"""(?<= )'task\.[^ ]*=(?:[^']|'"'"')*'""", str(caught.value))]
    assert value_of(advised[0]) == first
    for other in advised[1:]:
        assert OverridesParser.create().parse_override(other).is_sweep_override()


def test_texts_in_lists_and_mappings_need_no_quotes_of_their_own() -> None:
    """As in lines of a shell that a Slurm job begins with."""
    assert parse("slurm.setup=[module load x,source ~/.bashrc]").value() == ["module load x", "source ~/.bashrc"]
    assert parse("slurm.environment={A: x;y, B: 2}").value() == {"A": "x;y", "B": 2}
    assert value_of("task.separator=\t") == "\t"
    quotes = 'slurm.setup=[export A="b, c",eval "$(conda shell.bash hook)",if [ -f x ]; then y; fi,"a=b, c",d=e]'
    assert parse(quotes).value() == [
        'export A="b, c"', 'eval "$(conda shell.bash hook)"', "if [ -f x ]; then y; fi", "a=b, c", "d=e",
    ]  # fmt: skip
    assert parse("tune.warm_start=[a b,c/d (1)]").value() == ["a b", "c/d (1)"]
    assert value_of("slurm.nodelist=node[1,2]") == "node[1,2]"


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("slurm.setup=[export A=${HOME}]", ["export A=${HOME}"]),
        ("slurm.setup=[echo don't,b]", ["echo don't", "b"]),
        ("slurm.setup=[export X=${HOME}/a,source b,'c d']", ["export X=${HOME}/a", "source b", "c d"]),
    ],
)
def test_the_advice_for_a_list_is_a_list(line: str, texts: list[str]) -> None:
    """Of the texts between the commas, each a line of a script; or of one, whose commas are its own."""
    with pytest.raises(HarnessError, match="As a list of ") as caught:
        parse(line)
    listed, _, one = str(caught.value).partition("As a list of ")[2].partition(" Of one text: ")
    (advised,) = shell(listed.partition(": ")[2])
    assert list(value_of(advised)) == texts
    if one:
        (advised,) = shell(one)
        assert f"slurm.setup=[{value_of(advised)[0]}]" == line


def test_a_key_that_begins_with_a_digit_gets_a_sentence() -> None:
    """Not one of Hydra's parser."""
    with pytest.raises(HarnessError, match="is not a key"):
        parse("+slurm.environment.1A=x")


def test_a_home_directory_is_found_behind_an_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most shells leave it as it is."""
    monkeypatch.setenv("HOME", "/home/me")
    assert value_of("runs_dir=~/my runs") == "/home/me/my runs"
    assert value_of("cache_dir=~") == "/home/me"


REFUSED = [
    ("+experiment=foo", "no such key"),
    ("+train.learning_rate=1e-5", "Did you mean train.lr"),
    ("+slurm.mem=32G", "Did you mean slurm.mem_gb"),
    ("++train.x=1", "no such key"),
    ("+train.x=1,2", "no such key"),
    ("+tune.lr.x=1", "no such key"),
    ("+n_trials=3", "Did you mean tune.trials"),
    ("~method", "cannot be deleted"),
    ("~train.lr", "cannot be deleted"),
    ("hydra/launcher=submitit_slurm", "slurm=<profile>"),
    ("hydra.launcher.partition=x", "slurm=<profile>"),
    ("hydra/sweeper=optuna", "tune.sampler"),
    ("hydra/sweeper=basic", "tune.sampler"),
    ("hydra.sweeper.n_trials=20", "Write tune.trials=20"),
    ("hydra.sweeper.n_jobs=4", "Write launch.workers=4"),
    ("hydra.sweeper.study_name=x", "Write study=x"),
    ("hydra.sweep.dir=x", "runs_dir"),
    ("hydra.run.dir=x", "runs_dir"),
    ("hydra.job.chdir=true", "runs_dir"),
    ("hydra.searchpath=[file:///x]", "--config-dir"),
    ("hydra.anything=1", "has no effect"),
    ("train.lr=loguniform(1e-5,1e-2)", r"tag(log,interval(1e-5,1e-2))"),
    ("lora", "key=value"),
    ("=1", "without spaces"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED)
def test_what_nobody_reads_is_refused(line: str, said: str) -> None:
    """With + or without; Hydra's own keys are pointed to ours."""
    with pytest.raises(HarnessError) as caught:
        normal(line, lambda group: group == "mine")
    assert said in str(caught.value)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("line", "handed"),
    [
        ("+mine=x", "+mine=x"),
        ("+slurm.environment.A=x", "+slurm.environment.A=x"),
        ("+slurm.additional_parameters.nice=5", "+slurm.additional_parameters.nice=5"),
        ("+slurm.coordinator.mem_gb=1", "+slurm.coordinator.mem_gb=1"),
        ("+tracker.wandb.project=x", "+tracker.wandb.project=x"),
        ("+augment.eda.copies=2", "+augment.eda.copies=2"),
        ("+method.config.use_dora=true", "+method.config.use_dora=true"),
        ("+train.lr=1e-3", "train.lr=1e-3"),
        ("++tune.trials=3", "tune.trials=3"),
        ("+method=lora", "method=lora"),
        ("~tracker", "~tracker"),
        ("hydra.verbose=true", "hydra.verbose=true"),
        ("hydra/launcher=basic", "hydra/launcher=basic"),
    ],
)
def test_what_is_read_passes(line: str, handed: str) -> None:
    """A + before a key that is there says nothing more."""
    assert normal(line, lambda group: group == "mine") == handed


def test_all_that_is_wrong_on_a_command_line_is_told_at_once(tmp_path: object) -> None:
    """Flags of other programs, of which each names the override that is meant."""
    from harness.cli.main import config_root

    with pytest.raises(HarnessError) as caught:
        read(["--method", "lora", "+foo=1", "-m", "--learning-rate", "1", "--experimental-rerun", "x"], config_root())
    assert len(caught.value.problems) == 4
    assert "without dashes: method=lora" in str(caught.value)
    assert "train.lr=<value>" in str(caught.value)


def test_keys_of_the_schema_are_closed() -> None:
    """And those below open ones are not."""
    assert key_kind("train.lr") == key_kind("study") == key_kind("hardware.cores") == "closed"
    assert key_kind("method.config.x.y") == key_kind("tracker.wandb.x") == "open"
    assert key_kind("train.x") == key_kind("train.lr.x") == key_kind("x") == "unknown"
