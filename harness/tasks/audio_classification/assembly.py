"""Construction of a data set of sounds: what cannot be read, rates and lengths, then as for texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from harness.data.sounds import Facts, check_sounds
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.tasks.audio_classification.data import SoundData
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.labeled_files import LabeledFiles, checked_files
from harness.tasks.text_classification.assembly import assemble
from harness.tasks.text_classification.data import ClassificationData
from harness.tasks.text_classification.settings import ClassificationSettings

TEXT_FACTS = ("words_mean", "words_p95")  # facts about texts, which sounds do not have


def assemble_sounds(
    task: ClassificationSettings,
    tables: Mapping[str, LabeledFiles],
    source: str,
    label_names: Mapping[str, str],
    skip: bool,
    seconds: float,
) -> SoundData:
    """Check and split sounds by the task's settings.

    Args:
        task: the settings.
        tables: sounds by given split, at least `train`.
        source: name of the source, for the facts.
        label_names: {raw label: name of the class}; empty: raw labels are the names.
        skip: whether sounds that cannot be read are left out; else they are an error.
        seconds: of longer sounds, what follows is left out.

    Raises:
        HarnessError: sounds cannot be read, labels are inconsistent, or there are too few rows for the splits.
    """
    files = checked_files(task.name, tables, check_sounds, SOUNDS.noun, label_names, skip)
    notes, every = files.notes, list[Facts]()
    for split, (checked, kept) in files.kept.items():
        found: list[Facts] = [checked.facts[row] for row in kept]
        names = [tables[split].names[row] for row in kept]
        notes += _told(split, found, names, seconds)
        every += found
    rates = Counter(each.rate for each in every)
    if len(rates) > 1:
        shown = ", ".join(f"{rate:,} Hz ({count})" for rate, count in rates.most_common(4))
        notes.append(f"Sounds have {len(rates)} sampling rates, {shown}; all are resampled to the model's.")
    lengths = np.array([each.seconds for each in every])
    data = assemble(task, files.frames, source)
    kept_facts = {key: value for key, value in data.facts.items() if key not in TEXT_FACTS}
    more = {
        "seconds_median": round(float(np.median(lengths)), 3), "seconds_longest": round(float(lengths.max()), 3),
        "sampling_rate": rates.most_common(1)[0][0],
    }  # fmt: skip
    same: dict[str, Any] = {each.name: getattr(data, each.name) for each in fields(ClassificationData)}
    return SoundData(
        **same | {"facts": kept_facts | more, "warnings": (*notes, *data.warnings)},
        sounds=files.sources, names=files.names, seconds=seconds, longest=float(min(lengths.max(), seconds)),
    )  # fmt: skip


def _told(split: str, found: list[Facts], names: list[str], seconds: float) -> list[str]:
    """Return sentences about what is cut and what is silent in a split."""
    notes = []
    if cut := [name for name, each in zip(names, found, strict=True) if each.seconds > seconds + 1e-6]:
        notes.append(
            f"{plural(len(cut), f'{split} sound')} of more than {seconds:g} seconds: only these are used "
            f"(task.max_seconds): {several(cut)}."
        )
    if silent := [name for name, each in zip(names, found, strict=True) if each.silent]:
        notes.append(f"{plural(len(silent), f'{split} sound')} without a signal, all samples zero: {several(silent)}.")
    return notes
