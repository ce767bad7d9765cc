"""What is written down before Slurm hears of it, leases, markers, resources, bad nodes: all that needs no cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.schema import Config, SlurmConfig
from harness.config.validation import check
from harness.errors import Problems
from harness.launch.slurm.node_health import Nodes
from harness.launch.slurm.resources import describe, merge
from harness.launch.slurm.submissions import Jobs, Marker, belongs, claim, grant, holds, revoke
from harness.launch.slurm.worker import TaskStart
from harness.records.run_spec import RunBatch
from tests.helpers.small_dataset import config, spec


def test_a_submission_reads_back_whole_until_it_is_closed(jobs: Jobs, tmp_path: Path, cache: Path) -> None:
    """Its packs come back equal; what only it needed goes with it."""
    run = spec(config(tmp_path, cache), tmp_path / "run", phase="tune", trial=3)
    submission = jobs.intend([RunBatch((run,))], {"mem_gb": 2}, tmp_path, threads=1, max_requeues=5)
    assert jobs.open() == [submission]
    assert submission.state == "intended"
    assert submission.job_id is None
    assert jobs.batches(submission.token) == [RunBatch((run,))]
    jobs.mark(Marker(submission.token, 0, "run", 0))
    jobs.close(submission)
    assert jobs.open() == []
    assert jobs.markers() == {}


def test_a_lease_belongs_to_the_latest_start_of_the_latest_submission(tmp_path: Path) -> None:
    """A copy on a node that was cut off loses it to the requeued job, and any job to a later submission."""
    grant(tmp_path, "one")
    assert claim(tmp_path, "one", 0)
    assert holds(tmp_path, "one", 0)
    assert claim(tmp_path, "one", 1)
    assert not holds(tmp_path, "one", 0)
    assert not claim(tmp_path, "one", 0)
    grant(tmp_path, "two")
    assert not holds(tmp_path, "one", 1)
    assert not claim(tmp_path, "one", 2)
    assert not holds(tmp_path / "nowhere", "two", 0)


def test_a_lease_is_revoked_unless_it_is_another_s_already(tmp_path: Path) -> None:
    """What was given up cannot be claimed any more; what was given away stays so."""
    grant(tmp_path, "one")
    assert belongs(tmp_path) == {"one": -1}
    revoke(tmp_path, "one")
    assert belongs(tmp_path) == {}
    assert not claim(tmp_path, "one", 0)
    grant(tmp_path, "two")
    revoke(tmp_path, "one")
    assert belongs(tmp_path) == {"two": -1}


def test_an_overtaken_start_leaves_no_marker(jobs: Jobs, tmp_path: Path) -> None:
    """The coordinator would take it for the end of the start that goes on."""
    grant(tmp_path, "one")
    task = TaskStart(jobs, "one", 0, restart=0)
    assert claim(tmp_path, "one", 0)
    done = tmp_path / "done"  # nobody claims again what is done
    done.mkdir()
    grant(done, "one")
    assert claim(done, "one", 0)
    task._claimed = {done, tmp_path}
    assert claim(tmp_path, "one", 1)
    task.mark("stopped")
    assert jobs.markers() == {}
    later = TaskStart(jobs, "one", 0, restart=1)
    later._claimed = {tmp_path}
    later.mark("error", "why")
    assert [marker.what for marker in jobs.markers()] == ["error"]


def test_markers_are_named_after_what_ended(jobs: Jobs) -> None:
    """Files that are none are passed over, such as one that is being written."""
    marker = Marker("abc", 4, "error", 1)
    jobs.mark(marker, "why")
    (jobs.ended / ".abc.4.run.1.99.tmp").touch()
    (jobs.ended / "notes").touch()
    assert list(jobs.markers()) == [marker]
    assert jobs.markers()[marker].read_text() == "why"


def test_a_cell_gets_the_largest_of_what_profile_model_and_method_say() -> None:
    """Numbers are raised, names are the method's, null leaves it to the cluster, and what is unknown is told."""
    slurm = SlurmConfig(partition="gpu", mem_gb=8, cpus_per_task=4, timeout_min=60)
    cell = {
        "model": {"resources": {"mem_gb": 16, "cpus_per_task": 2}},
        "method": {"resources": {"mem_gb": 12, "gpus_per_node": 2, "partition": "big", "colour": "red"}},
    }
    problems = Problems()
    merged = merge(slurm, cell, problems)
    assert (merged["mem_gb"], merged["cpus_per_task"], merged["gpus_per_node"]) == (16, 4, 2)
    assert merged["partition"] == "big"
    assert "mem_gb=16" in describe(merged)
    with pytest.raises(Exception, match=r"method.resources.colour=red"):
        problems.raise_any()
    slurm.mem_gb = None
    assert merge(slurm, cell)["mem_gb"] is None
    assert merge(SlurmConfig(), {"model": {}, "method": {}})["gpus_per_node"] is None


def test_a_node_is_avoided_after_failures_in_a_row_and_stays_so(tmp_path: Path) -> None:
    """One job that works starts the count anew; the next coordinator knows."""
    nodes = Nodes(tmp_path / "nodes.json", 2)
    assert not nodes.failed("a")
    nodes.worked("a")
    assert not nodes.failed("a")
    assert nodes.excluded("x[1-3]") == "x[1-3]"
    assert nodes.failed("a")
    assert not nodes.failed("")
    assert Nodes(tmp_path / "nodes.json", 2).excluded("x[1-3]") == "x[1-3],a"
    assert not nodes.counted and not nodes.failed("b") and nodes.counted
    nodes.worked("a", "b", "c")
    assert not nodes.counted and nodes.excluded(None) == "a"


def test_values_that_cannot_be_are_told_at_once() -> None:
    """All of them."""
    broken = Config()
    broken.launch.detach = True
    broken.launch.runs_per_job = 0
    broken.slurm = SlurmConfig(signal_delay_s=600, timeout_min=5, gpus_per_node=-1)
    problems = Problems()
    check(broken, problems)
    with pytest.raises(Exception, match=r"launch.runs_per_job") as caught:
        problems.raise_any()
    for words in ("launch.detach", "slurm.signal_delay_s", "slurm.gpus_per_node"):
        assert words in str(caught.value)


def test_a_profile_where_there_is_no_slurm_says_where_to_go(
    main: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Once, whatever the number of cells, before anything is written."""
    monkeypatch.setenv("PATH", "")
    code, printed = main("-m", "slurm=gpu", "method=nearest_mean,full")
    assert code == 2
    assert printed.count("No Slurm cluster is found from here") == 1
    assert "login node" in printed
    assert not list((tmp_path / "runs").glob("*"))
