"""Construction of a data set of speech: unreadable sounds, empty transcripts, lengths and rates, splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.data import groups
from harness.data.readers.rows import check_texts
from harness.data.sounds import Facts, check_sounds
from harness.errors import HarnessError, Problems
from harness.formatting.examples import several
from harness.formatting.values import plural
from harness.records.signature import digest
from harness.records.study_files import GROUP
from harness.tasks.audio_classification.sources import SOUNDS
from harness.tasks.labeled_files import LabeledFiles, checked_files
from harness.tasks.speech_recognition.data import Speech, SpeechData
from harness.tasks.speech_recognition.normalizers import NORMALIZERS
from harness.tasks.text_generation.assembly import content_of, facts_of, split_rows, warnings_of
from harness.tasks.text_generation.data import Conversation
from harness.tasks.text_generation.rows import Raw
from harness.tasks.text_settings import TextSettings


def assemble_speech(
    task: TextSettings,
    tables: Mapping[str, LabeledFiles],
    source: str,
    speech: Speech,
    limits: Mapping[str, int | None],
    skip: bool,
) -> SpeechData:
    """Check and split sounds with transcripts by the task's settings.

    Args:
        task: the settings.
        tables: sounds by given split, at least `train`; their labels are transcripts.
        source: name of the source, for the facts.
        speech: see `Speech`.
        limits: most rows of validation and test; None: all.
        skip: whether sounds that cannot be read are left out; else they are an error.

    Raises:
        HarnessError: sounds cannot be read or are too long, transcripts are missing or empty, or there are too few rows
            for the splits.
    """
    problems = Problems()
    for split, table in tables.items():
        _check_transcripts(task, split, table, speech, problems)
    places = {
        split: LabeledFiles(
            table.sources, table.names, [*map(str, range(len(table.labels)))], table.groups, table.notes
        )
        for split, table in tables.items()
    }
    try:
        files = checked_files(task.name, places, check_sounds, SOUNDS.noun, {}, skip)
    except HarnessError as error:
        problems.extend(error)
    problems.raise_any()
    notes, every, raws = files.notes, list[Facts](), dict[str, Raw]()
    for split, (checked, kept) in files.kept.items():
        found: list[Facts] = [checked.facts[row] for row in kept]
        names = [tables[split].names[row] for row in kept]
        _check_lengths(task.name, split, found, names, speech, problems)
        if silent := [name for name, each in zip(names, found, strict=True) if each.silent]:
            notes.append(
                f"{plural(len(silent), f'{split} sound')} without a signal, all samples zero: {several(silent)}."
            )
        every += found
        frame = files.frames[split]
        said = [str(tables[split].labels[row]).strip() for row in kept]
        rows = [Conversation(text, each) for text, each in zip(frame["text"], said, strict=True)]
        own = [str(each) for each in frame[GROUP]] if GROUP in frame else []
        raws[split] = Raw(rows, [(each,) for each in said], kept, own)
    _check_one_transcript(task.name, raws, files.names, problems)
    problems.raise_any()
    rates = Counter(each.rate for each in every)
    if len(rates) > 1:
        shown = ", ".join(f"{rate:,} Hz ({count})" for rate, count in rates.most_common(4))
        notes.append(f"Sounds have {len(rates)} sampling rates, {shown}; all are resampled to the model's.")
    lengths = np.array([each.seconds for each in every])
    made = split_rows(task, raws, limits, SOUNDS.noun)
    facts: dict[str, Any] = facts_of(task, made, source) | {
        "seconds_median": round(float(np.median(lengths)), 3), "seconds_longest": round(float(lengths.max()), 3),
        "sampling_rate": rates.most_common(1)[0][0], "normalize": speech.normalize,
    }  # fmt: skip
    of_groups = {
        part.name: part.groups for part in (made["train"], made["validation"], made["test"]) if part is not None
    }
    return SpeechData(
        outputs=2, **made, fingerprint=digest(["speech_recognition", content_of(made)]), facts=facts,
        warnings=(*notes, *groups.notes(of_groups, {}), *warnings_of(facts, SOUNDS.noun)), speech=speech,
        sounds=files.sources, names=files.names, longest=float(lengths.max()),
    )  # fmt: skip


def _check_transcripts(task: TextSettings, split: str, table: LabeledFiles, speech: Speech, problems: Problems) -> None:
    before = len(problems.messages)
    check_texts(table.labels, str(getattr(task, "text", "transcript")), f"{task.name} ({split})", problems)
    if len(problems.messages) > before:
        return
    change = NORMALIZERS[speech.normalize]
    empty = [name for name, text in zip(table.names, table.labels, strict=True) if not change(text)]
    problems.check(
        not empty,
        f"{task.name}: {plural(len(empty), f'{split} transcript')} without a word once normalized "
        f"(task.normalize={speech.normalize}): {several(empty)}. Write what is said, or remove these rows: a rate of "
        "errors counts words that are said.",
    )


def _check_lengths(
    task: str, split: str, found: list[Facts], names: list[str], speech: Speech, problems: Problems
) -> None:
    long = [
        f"{name} ({each.seconds:.1f})"
        for name, each in zip(names, found, strict=True)
        if each.seconds > speech.window + 1e-6
    ]
    problems.check(
        not long,
        f"{task}: {plural(len(long), f'{split} sound')} longer than task.window={speech.window:g} seconds: "
        f"{several(long)}. Cut them with their transcripts, or raise task.window; Whisper reads 30 seconds at most.",
    )


def _check_one_transcript(task: str, raws: Mapping[str, Raw], names: Mapping[str, str], problems: Problems) -> None:
    """Report sounds that have several transcripts, of which at most one can be right."""
    said: dict[str, set[str]] = {}
    for raw in raws.values():
        for row in raw.rows:
            said.setdefault(str(row.prompt), set()).add(row.completion)
    several_ = [names.get(digest_, digest_) for digest_, texts in said.items() if len(texts) > 1]
    problems.check(
        not several_,
        f"{task}: {plural(len(several_), 'sound')} given several times, with other transcripts: {several(several_)}. "
        "Keep the right one of each.",
    )
