"""A real Slurm cluster for the tests: the one of slurm/devcluster, started if it is not up and this machine can."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.studies import ClusterStudy
from tests.small import ROOT

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
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def slurm(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def repair(self) -> None:
        """Bring back what a test took down, and end what it left."""
        self("up", "controller")
        self("up", "accounting")
        subprocess.run(["scancel", "--quiet", "--user", "root"], check=False, timeout=60)
        for number in range(1, 5):
            node = f"node{number}"
            subprocess.run([PROGRAM, "thaw", node], capture_output=True, check=False, timeout=60)
            state = subprocess.run(
                ["sinfo", "--noheader", "--nodes", node, "--partition", "main", "--format=%t"],
                capture_output=True, text=True, check=False, timeout=60,
            ).stdout.strip()  # fmt: skip
            if state not in ("idle", "mix", "alloc", "comp"):
                subprocess.run([PROGRAM, "boot", node], capture_output=True, check=False, timeout=60)
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
    if not was_up:
        cluster("stop")


@pytest.fixture
def cluster(devcluster: DevCluster) -> Iterator[DevCluster]:
    """The cluster, whole before the test and after it."""
    devcluster.repair()
    yield devcluster
    devcluster.repair()


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
