"""Checks of what the cluster would refuse, before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.schema import SlurmConfig
from harness.errors import Problems
from harness.launch.slurm.batch_scripts import job_script
from harness.launch.slurm.commands import Full, NoAnswer, NoCluster, Refused, SlurmCommands
from harness.launch.slurm.resources import coordinator, describe, merge
from harness.launch.slurm.submissions import Jobs, Submission
from harness.records.files import now
from harness.records.signature import digest


def check(slurm: SlurmConfig, study: Path, configs: Sequence[Mapping[str, Any]], problems: Problems) -> None:
    """Let Slurm check the resources that the cells' jobs request, before anything is submitted.

    Args:
        slurm: the profile.
        study: the study's directory; need not exist.
        configs: resolved configurations of the cells.
        problems: collects Slurm's messages.
    """
    _check_directory(study.resolve(), problems)
    coordinator(slurm, problems)
    cluster = SlurmCommands(slurm.poll_s)
    seen: set[str] = set()
    wrong = Problems()
    asked = [merge(slurm, config, wrong) for config in configs]
    if wrong.messages:
        problems.messages += dict.fromkeys(wrong.messages)  # cells share declarations
        return
    for resources in asked:
        if (key := digest(resources)) in seen:
            continue
        seen.add(key)
        jobs = Jobs(study.resolve())
        submission = Submission("test", "harness-test", now(), resources, ".", 1, 0, [[]])
        try:
            nodelist, exclude = cluster.only(resources["nodelist"], resources["exclude"], resources.get("nodes", 1))
            cluster.test(job_script(jobs, submission, slurm.python, exclude, nodelist, Path()))
        except NoCluster as error:
            problems.extend(error)
            return
        except Refused as error:
            for said in error.problems:
                problems.add(
                    f"{said}. Requested: {describe(resources)}. `sinfo` and `sacctmgr show associations "
                    "user=$USER` say what there is; change the profile in slurm/, or a key of it: slurm.<key>=<value>."
                )
        except Full as error:
            problems.add(f"Slurm refuses the job: {error}. Requested: {describe(resources)}.")
        except NoAnswer as error:
            problems.add(f"Slurm does not answer ({error}). Try again when `sinfo` does.")
            return


def _check_directory(study: Path, problems: Problems) -> None:
    """Report characters in the directory's path that Slurm or Python's search path would interpret."""
    if found := re.search(r"[\\:\n\r]", str(study)):
        problems.add(
            f"The study would lie in {str(study)!r}, and Slurm jobs cannot be sent there: {found.group()!r} in a path "
            "has a meaning of its own, for Slurm or in Python's search path. Set runs_dir to a directory without it."
        )
