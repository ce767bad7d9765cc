"""What a job asks Slurm for is said once, by the key that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.schema import SlurmConfig
from harness.errors import Problems
from harness.launch.slurm.batch_scripts import Script, coordinator_script, job_script
from harness.launch.slurm.commands import Refused, SlurmCommands, outside
from harness.launch.slurm.resources import coordinator, describe, merge
from harness.launch.slurm.submissions import Jobs, Submission

NOTHING: dict[str, Any] = {"model": {}, "method": {}}


@pytest.fixture
def _srun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let submitit make scripts on a machine without Slurm."""
    monkeypatch.setattr(Script, "affinity", classmethod(lambda _: 2))


def options(script: str, name: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith(f"#SBATCH --{name}")]


def script_of(jobs: Jobs, resources: dict[str, Any], python: str | None = None) -> str:
    submission = Submission("t", "harness-t", "", resources, "/code", 1, 0, [[], []])
    return job_script(jobs, submission, python, resources["exclude"], resources["nodelist"])


@pytest.mark.usefixtures("_srun")
def test_gres_stands_for_its_gpus_alone(jobs: Jobs) -> None:
    """Whoever says it: profile, model, method or coordinator. Another kind of gres stands beside the GPUs."""
    slurm = SlurmConfig(gpus_per_node=1, gres="gpu:a100:1")
    script = script_of(jobs, merge(slurm, NOTHING))
    assert options(script, "g") == ["#SBATCH --gres=gpu:a100:1"]
    for section in ("model", "method"):
        merged = merge(SlurmConfig(gpus_per_node=4), {**NOTHING, section: {"resources": {"gres": "gpu:2"}}})
        assert (merged["gpus_per_node"], merged["gres"]) == (None, "gpu:2")
    # What a cell itself needs is kept: the entry of the profile grows.
    needs = {"model": {}, "method": {"resources": {"gpus_per_node": 2}}}
    assert merge(slurm, needs)["gres"] == "gpu:a100:2"
    assert merge(SlurmConfig(gres="gpu:a100,nvme:9"), needs)["gres"] == "gpu:a100:2,nvme:9"
    assert merge(SlurmConfig(gres="gres/gpu:4"), needs)["gres"] == "gres/gpu:4"
    beside = merge(SlurmConfig(gpus_per_node=1, gres="nvme:100"), NOTHING)
    assert (beside["gpus_per_node"], beside["gres"]) == (1, "nvme:100")
    assert "gpus_per_node" not in describe(merge(slurm, NOTHING))
    slurm.coordinator |= {"gres": "gpu:1", "gpus_per_node": 1}
    assert coordinator(slurm)["gpus_per_node"] is None
    script = coordinator_script(jobs, "name", Path("/code"), slurm, ["-m"], None, None)
    assert options(script, "g") == ["#SBATCH --gres=gpu:1"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("partition", "slurm.partition"),
        ("p", "slurm.partition"),
        ("gpus-per-node", "slurm.gpus_per_node"),
        ("gpus_per_node", "slurm.gpus_per_node"),
        ("--gres", "slurm.gres"),
        ("time", "slurm.timeout_min"),
        ("mem", "slurm.mem_gb"),
        ("cpus_per_task", "slurm.cpus_per_task"),
        ("signal", "slurm.signal_delay_s"),
        ("mem-per-cpu", "slurm.mem_gb=null"),
        ("gpus", "slurm.gpus_per_node=0"),
        ("job-name", "Leave it out"),
        ("no-requeue", "Leave it out"),
        ("parti", "slurm.partition"),  # sbatch takes a beginning of an option's name
        ("--job-n", "Leave it out"),
        ("output", "Leave it out"),
    ],
)
def test_an_option_that_repeats_a_key_is_refused(option: str, words: str) -> None:
    """With the key that was meant, or with what unsets the other."""
    problems = Problems()
    merge(SlurmConfig(gpus_per_node=1, additional_parameters={option: "x"}), NOTHING, problems)
    (message,) = problems.messages
    assert f"slurm.additional_parameters.{option}" in message and words in message
    problems = Problems()
    free = {"mem-per-cpu": "2G", "gpus": 1, "reservation": "mine", "nice": 5}
    merge(SlurmConfig(mem_gb=None, additional_parameters=free), NOTHING, problems)
    assert not problems.messages


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cpus-per-gpu": 4}, "Set slurm.cpus_per_task instead"),
        ({"cpus_per_gpu": 4}, "Set slurm.cpus_per_task instead"),
        ({"tres-per-task": "cpu:4"}, "Set slurm.cpus_per_task instead"),
        ({"tres-per-task": "mem:4G"}, "Set slurm.mem_gb instead"),
        ({"nodefile": "nodes.txt"}, "Set slurm.nodelist instead"),
        ({"F": "nodes.txt"}, "Set slurm.nodelist instead"),
        ({"ntasks-per-socket": 2}, "Leave it out"),
        ({"version": True}, "Leave it out"),
        ({"mem-per-cpu": "1G", "mem-per-gpu": "8G"}, "mem-per-cpu and mem-per-gpu exclude each other"),
        ({"gpus": 2, "gpus-per-task": 1}, "gpus and gpus-per-task exclude each other"),
        ({"G": 2, "gpus": 1}, "G and gpus are the same option"),
        ({"mem-per-cpu": "1G", "mem_per_cpu": "2G"}, "mem-per-cpu and mem_per_cpu are the same option"),
        ({"exclusive": True, "share": True}, "exclusive and share exclude each other"),
        ({"exclusive": True, "s": True}, "exclusive and s exclude each other"),
        ({"core-spec": 1, "thread-spec": 2}, "core-spec and thread-spec exclude each other"),
        ({"hint": "nomultithread", "threads-per-core": 1}, "hint and threads-per-core exclude each other"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], says: str) -> None:
    """Beside a key that is always set, and beside one another; a switch that is off is not there."""
    problems = Problems()
    slurm = SlurmConfig(mem_gb=None)
    merge(slurm, NOTHING, problems)
    assert not problems.messages
    merge(SlurmConfig(mem_gb=None, additional_parameters=options), NOTHING, problems)
    (message,) = problems.messages
    assert says in message and "slurm.additional_parameters" in message
    problems = Problems()
    free = {"exclusive": True, "share": False, "tres-per-task": "license/x:1", "threads-per-core": 1, "hint": None}
    merge(SlurmConfig(additional_parameters=free), NOTHING, problems)
    assert not problems.messages


@pytest.mark.parametrize(
    ("nodelist", "exclude", "right"),
    [
        ("node1", "node1", False), ("node1,node2", "node2, node1", False), ("node[1-2]", "node3,node[1-2]", False),
        ("node1,node2", "node1", True), ("node1", None, True), (None, "node1", True), ("node[1,2]", "node[1]", True),
    ],
)  # fmt: skip
def test_nodes_that_are_all_excluded_are_refused(nodelist: str | None, exclude: str | None, right: bool) -> None:
    """Such a job would wait for ever."""
    problems = Problems()
    merge(SlurmConfig(nodelist=nodelist, exclude=exclude), NOTHING, problems)
    assert (not problems.messages) == right, problems.messages


@pytest.mark.usefixtures("_srun")
def test_a_coordinator_has_its_own_memory_and_no_gpus(jobs: Jobs) -> None:
    """What the runs' jobs ask for by options without a key is not asked for twice, and not by the coordinator."""
    options_ = {"mem-per-cpu": "2G", "gpus": 1, "tres-per-node": "gres/gpu:1", "reservation": "mine"}
    slurm = SlurmConfig(mem_gb=None, gpus_per_node=0, additional_parameters=options_)
    script = coordinator_script(jobs, "name", Path("/code"), slurm, ["-m"], None, None)
    assert options(script, "mem") == ["#SBATCH --mem=4096MB"] and options(script, "reservation")
    assert not options(script, "gpus") and not options(script, "tres")


def test_a_coordinator_s_key_that_nobody_reads_is_refused() -> None:
    """Its job takes the profile's commands and options."""
    slurm = SlurmConfig()
    slurm.coordinator |= {"partition": "long", "mem_per_cpu": "2G", "setup": ["true"]}
    problems = Problems()
    coordinator(slurm, problems)
    assert [message.split(":")[0] for message in problems.messages] == [
        "slurm.coordinator.mem_per_cpu",
        "slurm.coordinator.setup",
    ]


@pytest.mark.usefixtures("_srun")
def test_a_script_holds_odd_paths_and_values_as_they_are(tmp_path: Path) -> None:
    """Slurm's and submitit's own signs in a directory's name are no signs; a switch that is off is left out."""
    jobs = Jobs(tmp_path / "50% %j %A %t 'é'")
    python = tmp_path / "my python"
    python.touch()
    slurm = SlurmConfig(
        setup=["export A='x, \"y\"'"],
        srun_args=["--comment=a b"],
        additional_parameters={"hold": True, "exclusive": False, "mail-user": None},
    )
    script = script_of(jobs, merge(slurm, NOTHING), str(python))
    (output,) = options(script, "output")
    assert "/50%% %%j %%A %%t " in output and output.endswith("/jobs/logs/%A_%a_0_log.out'")
    assert "\nsrun --unbuffered '--comment=a b' " in script
    plain = script_of(Jobs(tmp_path / "plain"), merge(slurm, NOTHING))
    assert f"srun --unbuffered --output={tmp_path}/plain/jobs/logs/%A_%a_%t_log.out --error=" in plain
    assert options(script, "hold") and not options(script, "exclusive") and not options(script, "mail-user")
    assert "\nexport A='x, \"y\"'\n" in script
    assert f"'--comment=a b' '{python}' -P -m harness.launch.slurm.worker" in script
    container = "apptainer exec image python"
    assert f" {container} -P -m" in script_of(jobs, merge(slurm, NOTHING), container)


def test_the_environment_of_slurm_s_commands_redirects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to another job, or changes what a command answers, is left out; a default for a place is kept."""
    for name in (
        "SLURM_JOB_ID", "SLURM_PARTITION", "SBATCH_WAIT", "SBATCH_EXPORT", "SBATCH_JOB_NAME", "SBATCH_ARRAY_INX",
        "SBATCH_TIMELIMIT", "SBATCH_MEM_PER_CPU", "SQUEUE_PARTITION", "SCANCEL_STATE", "SACCT_FORMAT",
        "SALLOC_ACCOUNT", "SINFO_FORMAT",
    ):  # fmt: skip
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SBATCH_RESERVATION", "mine")
    monkeypatch.setenv("SLURM_CONF", "/etc/x")
    assert [name for name in outside() if name.startswith(("SBATCH_", "SLURM_", "SQUEUE_", "SCANCEL_", "SACCT_"))] == [
        "SLURM_CONF",
        "SBATCH_RESERVATION",
    ]


def test_several_nodes_are_those_that_a_job_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm would give each job all of them. One node is itself; one that is not there is told."""
    answers = {"n[1-2]": "n1\nn2\n", "n3": "n3\n", "n1,x": "n1\nx\n"}
    cluster = SlurmCommands(1)
    monkeypatch.setattr(cluster, "_call", lambda *words: answers.get(words[-1], "n1\nn1\nn2\nn3\nn4\n"))
    assert cluster.only("n[1-2]", "n2") == (None, "n2,n3,n4")
    assert cluster.only("n3", "n4") == ("n3", "n4")
    assert cluster.only(None, None) == (None, None)
    with pytest.raises(Refused, match="no node x"):
        cluster.only("n1,x", None)
    assert cluster.only("n[1-2]", None, 2) == (None, "n3,n4")
    with pytest.raises(Refused, match=r"slurm\.nodelist=n3 names 1 of the slurm\.nodes_per_run=2 nodes"):
        cluster.only("n3", None, 2)


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"partition": ["a"]}, "takes text"), ({"mem_gb": "12"}, "a number of gigabytes"),
        ({"cpus_per_task": 3.5}, "a whole number"), ({"gpus_per_node": -1}, "0 or more"), ({"mem": 12}, "may raise"),
        ({"timeout_min": None}, "null raises nothing"), ({"timeout_min": float("inf")}, "a whole number"),
    ],
)  # fmt: skip
def test_resources_of_a_model_are_checked_as_a_profile_is(resources: dict[str, Any], says: str) -> None:
    """They end in the same script."""
    problems = Problems()
    merge(SlurmConfig(), {"model": {"resources": resources}, "method": {}}, problems)
    (message,) = problems.messages
    assert message.startswith(f"model.resources.{next(iter(resources))}") and says in message


def test_null_in_resources_unsets_what_the_profile_names() -> None:
    """A method may run wherever the cluster likes; a whole number may be written as YAML's float."""
    problems = Problems()
    profile = SlurmConfig(partition="gpu", qos="high", gres="gpu:1", gpus_per_node=1, timeout_min=60)
    unset = {"partition": None, "qos": None, "gres": None}
    own = {"model": {"resources": {"qos": "low", "timeout_min": 90.0}}, "method": {"resources": unset}}
    merged = merge(profile, own, problems)
    assert not problems.messages and [merged[name] for name in ("partition", "qos", "gres")] == [None] * 3
    assert merged["gpus_per_node"] == 1 and repr(merged["timeout_min"]) == "90"
    assert repr(coordinator(SlurmConfig(coordinator={"timeout_min": 90.0}), problems)["timeout_min"]) == "90"
    assert not problems.messages


def test_an_option_beside_what_a_model_asks_for_is_left_out() -> None:
    """The profile's key is unset already."""
    problems = Problems()
    slurm = SlurmConfig(additional_parameters={"gpus": 1})
    merge(slurm, {"model": {"resources": {"gpus_per_node": 1}}, "method": {}}, problems)
    (message,) = problems.messages
    assert "leave out slurm.additional_parameters.gpus" in message and "slurm.gpus_per_node=0" not in message


@pytest.mark.parametrize("gres", ["gpu", "GPU:a100:1", "gpu=2", "gres/gpu:2", "nvme:1, gpu:1", "shard:2", "mps:50"])
def test_a_gres_of_gpus_replaces_the_number_of_gpus(gres: str) -> None:
    """However Slurm lets it be written."""
    assert merge(SlurmConfig(gpus_per_node=1, gres=gres), NOTHING)["gpus_per_node"] is None


@pytest.mark.parametrize(
    ("option", "value"), [("gpus_per_socket", 1), ("tres-per-node", "gres/gpu:2"), ("ntasks-per-gpu", 2)]
)
def test_other_options_that_request_gpus_are_told(option: str, value: object) -> None:
    """Slurm would add them up."""
    problems = Problems()
    merge(SlurmConfig(gpus_per_node=1, additional_parameters={option: value}), NOTHING, problems)
    (message,) = problems.messages
    assert f"slurm.additional_parameters.{option}" in message


def test_other_trackable_resources_stay() -> None:
    """A license is no GPU."""
    problems = Problems()
    more = {"tres-per-node": "license/matlab:1"}
    merge(SlurmConfig(gpus_per_node=1, additional_parameters=more), NOTHING, problems)
    assert not problems.messages


@pytest.mark.usefixtures("_srun")
def test_processes_of_a_run_are_tasks_of_its_job(jobs: Jobs) -> None:
    """On so many nodes; one that dies ends the job. A method that trains nothing has one task."""
    config = NOTHING | {"launch": {"devices_per_run": 4}}
    resources = merge(SlurmConfig(nodes_per_run=2, srun_args=["--mpi=none"]), config)
    assert "nodes=2, ntasks_per_node=2" in describe(resources)
    script = script_of(jobs, resources)
    assert options(script, "n") == ["#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=2"]
    assert " --kill-on-bad-exit=1 --mpi=none " in script
    assert "ntasks_per_node" not in merge(SlurmConfig(), config | {"method": {"ignores": ["train"]}})


@pytest.mark.parametrize(
    ("slurm", "cell", "told"),
    [
        ({"gpus_per_node": 1}, {}, "slurm.gpus_per_node=1 gives each node fewer GPUs. Set slurm.gpus_per_node=2,"),
        ({"gpus_per_node": 1}, {"device": "cpu"}, None),
        ({"gpus_per_node": 1}, {"model": {"resources": {"gpus_per_node": 2}}}, None),
        ({"gpus_per_node": 8, "gres": "gpu:1"}, {}, "gres=gpu:1 gives each node fewer GPUs. Set slurm.gres=gpu:2,"),
        ({}, {"method": {"resources": {"gres": "gpu"}}}, "Set method.resources.gres=gpu:2,"),
        ({"gres": "gpu:2"}, {}, None),
        ({}, {}, None),
    ],
)  # fmt: skip
def test_a_node_has_a_gpu_for_each_process(slurm: dict[str, Any], cell: dict[str, Any], told: str | None) -> None:
    """The message names the key that is in force, and what to set it to."""
    problems = Problems()
    merge(SlurmConfig(**slurm), NOTHING | {"launch": {"devices_per_run": 2}} | cell, problems)
    assert [str(told) in message for message in problems.messages] == ([] if told is None else [True])
