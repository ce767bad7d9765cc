"""Everything runs where it should, whatever paths, values and the caller's environment look like."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.launch.slurm.submissions import Jobs
from tests.helpers.waits import wait_for
from tests.slurm.conftest import DevCluster
from tests.slurm.studies import ClusterStudy

# Waits end when a study gets no further; the time limit is for what hangs elsewhere.
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]

ODD = "50% %j %A=é 'q' \"d\" $HOME a#b"  # of a directory
VALUE = "a \"b\" 'c' 50% %j = é $HOME,\nsecond line"
INHERITED = {  # all of it would redirect something
    "SBATCH_PARTITION": "low", "SBATCH_JOB_NAME": "another", "SBATCH_WAIT": "1", "SBATCH_EXPORT": "NONE",
    "SBATCH_ARRAY_INX": "5-6", "SBATCH_MEM_PER_CPU": "1", "SBATCH_TIMELIMIT": "1", "SBATCH_OUTPUT": "/dev/null",
    "SQUEUE_PARTITION": "low", "SCANCEL_STATE": "PENDING", "SLURM_JOB_ID": "1", "SLURM_PARTITION": "low",
    "SLURM_NNODES": "3",
}  # fmt: skip
PROFILE = {
    "partition": "low", "account": "dev", "nodelist": "node[1-3]", "exclude": "node3", "constraint": "big|huge",
    "gres": "gpu:1", "gpus_per_node": 1, "cpus_per_task": 1, "mem_gb": 3, "timeout_min": 20, "poll_s": 3,
    "signal_delay_s": 30, "setup": ["printf %s \"$ODD\" > 'odd, 50% %j.txt'"], "environment": {"ODD": VALUE},
    "additional_parameters": {"comment": "it's 50% of \"é\", = #1", "nice": 3},
}  # fmt: skip


def test_a_detached_study_in_an_odd_place_runs_where_the_profile_says(
    cluster: DevCluster, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions, nodes, features, paths, values and Python; also what the coordinator, a job itself, submits."""
    here = tmp_path / ODD
    here.mkdir()
    python = here / "my python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (here / "cache %x").symlink_to(cache)
    profiles = here / "conf" / "slurm"
    profiles.mkdir(parents=True)
    profile = PROFILE | {"python": str(python)}
    content = {"launch": {"kind": "slurm", "runs_per_job": 2}, "slurm": profile}
    (profiles / "odd.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content, allow_unicode=True))
    mine = ClusterStudy(here, cache, "--config-dir=conf", profile=False, name="mé")
    mine.study = here / "runs %A %t/mé"
    mine.runs = mine.study / "runs"
    asked = [word for word in mine.command if not word.startswith(("study=", "cache_dir=", "launch.kind="))]
    mine.command = [
        *asked, 'study="mé"', 'runs_dir="runs %A %t"', 'cache_dir="cache %x"', "slurm=odd",
        "slurm.partition='high,main'", "method=lora", "tune.trials=2", "tune.startup_trials=2", "train.epochs=1",
        "confirm.seeds=1", "launch.fuse=2", "launch.detach=true",
    ]  # fmt: skip
    for name, value in INHERITED.items():
        monkeypatch.setenv(name, value)
    try:
        for nodes, feature in (("node2,node3", "big"), ("node4", "huge")):
            feature_of(cluster, nodes, feature)
        code, printed = mine.finish()
        assert code == 0, printed
        wait_for((here / "reports/mé/index.html").exists, of=here, still=180)
    finally:
        feature_of(cluster, "node2,node3,node4", "")
    records = mine.records()
    assert [record["status"] for record in records] == ["ok"] * 3
    slurm = [record["provenance"]["slurm"] for record in records]
    assert {each["node"] for each in slurm} == {"node2"}
    assert {each["cuda_visible_devices"] for each in slurm} <= {"0", "1"}
    assert (here / "odd, 50% %j.txt").read_text() == VALUE
    assert {path.suffix for path in (mine.study / "jobs/logs").iterdir()} == {".out", ".err"}
    assert {path.name for path in here.parent.iterdir()} == {ODD}
    job = json.loads((mine.study / "coordinator.json").read_text())["job_id"]
    ids = f"--jobs={','.join([job, *{each['array_job_id'] for each in slurm}])}"
    shown = cluster.slurm("sacct", "--noheader", "--allocations", "--parsable2", ids, "--format=Partition,NodeList")
    assert set(shown.split()) == {"high|node2"}, shown
    assert not Jobs(mine.study).open()


def feature_of(cluster: DevCluster, nodes: str, feature: str) -> None:
    """Give nodes a feature, or none."""
    cluster.slurm(
        "scontrol", "update", f"nodename={nodes}", f"availablefeatures={feature}", f"activefeatures={feature}"
    )


def test_what_cannot_be_told_to_slurm_is_refused(
    main: Callable[..., tuple[int, str]], cluster: DevCluster, tmp_path: Path
) -> None:
    """Before anything is written: an option beside its key, a path with signs of Slurm, nodes that are not there."""
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40)))
    asked = ("-m", "slurm=devcluster", "method=nearest_mean", "task=csv", "task.path=mine.csv")
    code, printed = main(*asked, "+slurm.additional_parameters.partition=low", "runs_dir='a:b'")
    assert code == 2
    assert "slurm.partition. Set that instead" in printed and "':' in a path" in printed
    code, printed = main(*asked, "slurm.nodelist='node1,node9'")
    assert code == 2
    assert "no node node9" in printed
    assert not any(tmp_path.glob("*/*/jobs"))
