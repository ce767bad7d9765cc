"""Values of `slurm` that sbatch would misread, or that a job would execute, are told before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from harness.config.error_messages import explain
from harness.config.schema import Config, SlurmConfig
from harness.config.slurm_values import check_slurm, in_unit
from harness.errors import Problems

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mem_gb": 0.0001}, "slurm.mem_gb must be a number of gigabytes, 0.001 or more"),  # sbatch's 0: all of a node
    ({"mem_gb": 0.0}, "slurm.mem_gb must be"),
    ({"mem_gb": float("nan")}, "slurm.mem_gb must be"),
    ({"gpus_per_node": -1}, "slurm.gpus_per_node must be a whole number, 0 or more"),
    ({"timeout_min": 0}, "1 or more, not 0. To Slurm 0 means no limit; here each job has one"),
    ({"partition": ""}, "slurm.partition=: this key takes text, or null"),
    ({"nodelist": " "}, "or null"),
    ({"qos": "a\nrm -r x"}, "slurm.qos holds a line break"),
    ({"additional_parameters": {"comment": "a\nrm -r x"}}, "slurm.additional_parameters.comment holds a line break"),
    ({"additional_parameters": {"comment": ["a", "b"]}}, "sbatch takes one text or number for an option"),
    ({"additional_parameters": {"comment": {"a": "b"}}}, "sbatch takes one text or number for an option"),
    ({"setup": [["a"], "b"]}, "slurm.setup: its entries are texts"),
    ({"srun_args": [{"a": "b"}]}, "slurm.srun_args: its entries are texts"),
    ({"srun_args": ["-n 2"]}, "the launcher sets -n 2 itself"),
    ({"srun_args": ["-n2"]}, "the launcher sets -n2 itself"),
    ({"srun_args": ["--ntasks=2"]}, "the launcher sets --ntasks=2 itself"),
    ({"srun_args": ["--output=x"]}, "the launcher sets --output=x itself"),
    ({"srun_args": ["--outpu=x"]}, "the launcher sets --outpu=x itself"),  # srun completes names
    ({"srun_args": ["--multi"]}, "the launcher sets --multi itself"),
    ({"srun_args": ["-un2"]}, "the launcher sets -un2 itself"),
    ({"environment": {"HF_HOME": "$SCRATCH/hf"}}, "nothing expands $SCRATCH here"),
    ({"environment": {"PATH": "/x:${PATH}"}}, "add export PATH=... to slurm.setup"),
    ({"environment": {"A=B": "x"}}, "'A=B' is no name of a variable"),
    ({"environment": {"A": "x\0y"}}, "holds a NUL"),
    ({"environment": {"OMP_NUM_THREADS": "4"}}, "Set launch.threads=4 instead"),
    ({"coordinator": {"timeout_min": "1:0:0"}}, "slurm.coordinator.timeout_min=60 (minutes)"),
    ({"coordinator": {"timeout_min": None}}, "needs a time limit"),
    ({"coordinator": {"mem_gb": "lots"}}, "slurm.coordinator.mem_gb must be a number of gigabytes"),
    ({"coordinator": {"partition": ["a"]}}, "slurm.coordinator.partition=['a']: this key takes text"),
    ({"coordinator": {"cpus_per_task": 1.5}}, "slurm.coordinator.cpus_per_task must be a whole number"),
]


@pytest.mark.parametrize(("given", "says"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_a_value_that_sbatch_would_misread_is_told(
    given: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence each."""
    monkeypatch.setenv("SCRATCH", "/scratch")
    problems = Problems()
    check_slurm(SlurmConfig(**given), problems)
    (message,) = problems.messages
    assert says in message


def test_values_that_clusters_take_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dollar that names no variable is a sign; a job may set its own."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    problems = Problems()
    check_slurm(
        SlurmConfig(
            partition="high,low", exclude=None, mem_gb=0.5, gpus_per_node=0, setup=["export A=$B", "if x\nthen y; fi"],
            srun_args=["--mpi=none", "-u", "-lp nodes", "--comment=n 2", "--nodelist=a"],
            environment={"A": "$5", "B": "$NOT_THERE", "C": "", "D": "a text, $HOME,\nof two lines"},
            additional_parameters={"nice": -5, "hold": True, "mail-user": None}, coordinator={"timeout_min": 60},
        ),
        problems,
    )  # fmt: skip
    assert not problems.messages


@pytest.mark.parametrize(
    ("key", "text", "written"),
    [
        ("slurm.timeout_min", "1:00:00", "slurm.timeout_min=60"),
        ("slurm.timeout_min", "1-00:00:00", "slurm.timeout_min=1440"),
        ("slurm.timeout_min", "2-12", "slurm.timeout_min=3600"),
        ("slurm.timeout_min", "90:30", "slurm.timeout_min=91"),  # M:S
        ("slurm.mem_gb", "32G", "slurm.mem_gb=32"),
        ("slurm.mem_gb", "512M", "slurm.mem_gb=0.5"),
        ("slurm.mem_gb", "1.5 TB", "slurm.mem_gb=1536"),
    ],
)
def test_times_and_memory_as_slurm_writes_them_are_translated(key: str, text: str, written: str) -> None:
    """The advice is a value that the key takes."""
    assert written in in_unit(key, text)
    config = OmegaConf.structured(Config)
    with pytest.raises(Exception, match=r"could not be converted|is not a valid") as caught:
        OmegaConf.update(config, key, text)
    assert written in explain(caught.value)[0]
    OmegaConf.update(config, key, written.partition("=")[2])


@pytest.mark.parametrize("text", ["lots", "1h", "32 GPUs", ""])
def test_other_texts_are_not_guessed_at(text: str) -> None:
    assert in_unit("slurm.timeout_min", text) == in_unit("slurm.mem_gb", text) == ""
