"""A real Slurm cluster for the tests: the one of slurm/devcluster, started if it is not up and this machine can."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.small_dataset import ROOT
from tests.slurm.studies import ClusterStudy

PROGRAM = str(ROOT / "slurm/devcluster/cluster")


class DevCluster:
    """The cluster, and what can be done to it."""

    def __call__(self, *arguments: str, **settings: str) -> str:
        """Run `cluster <arguments>`, with settings in the environment."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def slurm(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def repair(self) -> None:
        """Bring back what a test took down, and end what it left."""
        if subprocess.run([PROGRAM, "status"], capture_output=True, check=False, timeout=300).returncode != 0:
            self("up", "controller")
            self("up", "accounting")
            for number in range(1, 5):
                subprocess.run([PROGRAM, "thaw", f"node{number}"], capture_output=True, check=False, timeout=300)
        subprocess.run(["scancel", "--quiet", "--user", "root"], check=False, timeout=300)
        states = self.slurm("sinfo", "--noheader", "--Node", "--partition", "main", "--format=%N %t")
        for node, state in (line.split() for line in states.splitlines()):
            if state not in ("idle", "mix", "alloc", "comp"):
                subprocess.run([PROGRAM, "boot", node], capture_output=True, check=False, timeout=300)
                subprocess.run(
                    ["scontrol", "update", f"nodename={node}", "state=resume"], capture_output=True, check=False
                )


@pytest.fixture(scope="session")
def devcluster() -> Iterator[DevCluster]:
    """The cluster, up."""
    if shutil.which("sbatch") is None or shutil.which("slurmctld") is None or os.geteuid() != 0:
        pytest.skip("needs Slurm: as root, `slurm/devcluster/cluster start` installs and starts a small one")
    was_up = subprocess.run([PROGRAM, "status"], capture_output=True, check=False).returncode == 0
    cluster = DevCluster()
    if not was_up:
        cluster("start")
    for line in cluster("env").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = value.strip("'\"")
    yield cluster
    if was_up:
        cluster.repair()
    else:
        cluster("stop")


@pytest.fixture
def cluster(devcluster: DevCluster) -> DevCluster:
    """The cluster, whole before the test."""
    devcluster.repair()
    return devcluster


@pytest.fixture
def study(cluster: DevCluster, tmp_path: Path, cache: Path) -> Iterator[Callable[..., ClusterStudy]]:
    """Make a study on the cluster; its coordinator is killed when the test is over."""
    made: list[ClusterStudy] = []

    def make(*arguments: str, name: str = "mine") -> ClusterStudy:
        made.append(ClusterStudy(tmp_path / "study", cache, *arguments, name=name))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The metrics, by signature, of the study of the fault tests when nothing disturbs it, in one process."""
    from tests.slurm.studies import LONG

    study = ClusterStudy(tmp_path_factory.mktemp("reference") / "study", cache, *LONG, profile=False)
    code, printed = study.finish()
    assert code == 0, printed
    return study.metrics()
