"""Predict with a saved model: `python -m harness.predict <model dir> file.csv`, or `load(dir).predict(texts)`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.family import family_of
from harness.command import command
from harness.errors import HarnessError
from harness.formatting.examples import some
from harness.records.locate import find_model

if TYPE_CHECKING:
    from harness.api.metric import Predictions
    from harness.data.examples import Examples
    from harness.serving.confidence.judging import Judged
    from harness.serving.confidence.stored import Confidence
    from harness.serving.training_rows import TrainingRows
    from harness.tasks.runtime import TaskRuntime

CACHE = "~/.cache/harness"
COLUMNS = {
    "text": "text",
    "image": "image",
    "sound": "audio",
    "interaction": "user",
}  # default column by what the rows are
OUTPUTS = (".csv", ".tsv", ".jsonl", ".parquet")  # suffixes of output files


@dataclass(frozen=True)
class Predictor:
    """A loaded model.

    Attributes:
        task: the family of its task.
        pairs: whether the model was trained on text pairs.
        network, tokenizer, max_length, device: inputs of the prediction.
        confidence: what a classifier knows of its reliability; None if nothing is known.
        similar: training rows of an export that was made with them; None without.
    """

    task: TaskRuntime
    pairs: bool
    network: Any
    tokenizer: Any
    max_length: int
    device: str
    confidence: Confidence | None = None
    similar: TrainingRows | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The C class names; () if the model predicts no classes."""
        return tuple(self.task.facts().get("labels", ()))

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Any]:
        """Return the answer for each text: its most probable label, or a number."""
        return self.task.answers(self.predictions(texts, pairs))

    def probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Predictions:
        """Return the probability of each class: (n, C), columns in the order of `labels`; see `predictions`."""
        if not self.labels:
            raise HarnessError("This model predicts no classes, so there are no probabilities: predict(texts).")
        return self.predictions(texts, pairs)

    def predictions(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Predictions:
        """Return the predictions of the task's family for n rows, such as class probabilities (n, C).

        Args:
            texts: n texts.
            pairs: n second texts, for a model of text pairs.

        Raises:
            HarnessError: there are second texts for a model of single texts, or none for a model of pairs.
        """
        import numpy as np
        import torch

        self._check_inputs(texts, pairs)
        if not len(texts):
            return self.task.predictions(np.zeros((0, self.task.outputs), dtype=np.float32))
        examples = self.examples(texts, pairs)
        return self.task.predict(self.network, examples, 64, torch.device(self.device), "fp32")

    def judged(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Judged:
        """Return the predictions of n > 0 rows with what the model knows of their reliability; see `predictions`."""
        from harness.serving.confidence.judging import judge

        return judge(self, texts, pairs)

    def examples(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Examples:
        """Tokenize n > 0 rows; see `predictions`."""
        from harness.models.input_limits import check_ids

        self._check_inputs(texts, pairs)
        split = self.task.asked(texts, pairs)
        examples = self.task.inputs(split, self.tokenizer, self.network.backbone, self.max_length)
        check_ids(examples.tokens.ids, self.network.backbone, self.tokenizer, "the model")
        return examples

    def _check_inputs(self, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
        if isinstance(texts, str):
            raise HarnessError("predict takes a list of texts, not one text: predict([text]).")
        for each in (texts, *([] if pairs is None else [pairs])):
            if isinstance(each, bytes | Mapping) or not hasattr(each, "__len__"):
                raise HarnessError(f"predict takes lists of rows, not {type(each).__name__}: predict([row]).")
        if self.pairs != (pairs is not None) or (pairs is not None and len(pairs) != len(texts)):
            needs = "two texts a row: predict(texts, pairs)" if self.pairs else "one text a row: predict(texts)"
            raise HarnessError(f"This model takes {needs}.")
        family = family_of(self.task.family)
        if family.tokens or family.reads == "interaction":
            return  # rows may be lists, which the family checks
        from harness.data.images import ReadyImage
        from harness.data.sounds import ArraySound

        files = (str, Path, ReadyImage, ArraySound)
        known = files if family.reads != "text" else (str, list, tuple) if family.writes else (str,)
        for row, value in enumerate([*texts, *(pairs or ())], 1):
            if not isinstance(value, known):
                raise HarnessError(f"predict takes {family.reads}s, and number {row} is {type(value).__name__}.")


def load(directory: str | Path, device: str = "auto", cache_dir: str | Path = CACHE) -> Predictor:
    """Load a saved model.

    Args:
        directory: the `model` directory of a run.
        device: auto | cpu | cuda | mps.
        cache_dir: cache directory for the digests of large files.

    Raises:
        HarnessError: it is not a saved model, or its backbone is not found or not the one that was adapted.
    """
    # The description is read first, so that a wrong directory is reported before torch is imported.
    from harness.serving.saved_model import load_network, read_description

    directory = Path(directory)
    facts = read_description(directory)
    from harness.data.readers.file_formats import expanded

    cache = expanded(str(cache_dir))
    if not next(each for each in (cache, *cache.absolute().parents) if each.exists()).is_dir():
        raise HarnessError(f"The cache directory {cache_dir} is, or lies below, a file: name a directory.")
    from harness.models import ResolvedModel
    from harness.models.image_files.image_processor import load_processor
    from harness.models.network import load_tokenizer
    from harness.serving.confidence.stored import read_confidence
    from harness.serving.exported import WHOLE, load_whole
    from harness.serving.training_rows import read_training_rows
    from harness.system.machine import check_device
    from harness.tasks.runtime import saved_runtime

    where = "cpu" if facts.get("export") == "onnx" else check_device(device)
    if facts.get("export") in WHOLE:
        network = load_whole(directory, facts).to(where)
    else:
        network = load_network(directory, facts, cache_dir).to(where)
    family = family_of(facts.get("family"))
    transcribes = family.writes and family.reads == "sound"
    if family.reads == "image":  # the config.json of an export may be of a module of its own
        tokenizer: Any = load_processor(directory, "saved model", None, {})
    else:
        tokenizer = load_tokenizer(ResolvedModel(directory, facts["digest"], "saved model", transcribes=transcribes))
    return Predictor(
        saved_runtime(facts), facts["pairs"], network, tokenizer, facts["max_length"], where,
        read_confidence(directory, facts), read_training_rows(directory),
    )  # fmt: skip


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.predict", description="Predict for the texts of a file with a saved model."
    )
    parser.add_argument("model", help="directory of a saved model, of the run that saved it, or <study>/<cell>/<run>")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument(
        "file",
        type=Path,
        help="texts: CSV, TSV, JSONL, JSON, Parquet, Arrow or ARFF by the suffix, also compressed; images or "
        "sounds: a folder, one of them, or a file with a column of paths",
    )
    parser.add_argument(
        "--text",
        action="append",
        metavar="COLUMN",
        help="column of the text (default: text), of the paths of images (default: image) or sounds (default: "
        "audio), or of users or histories "
        "(default: user); twice for text pairs",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"where to write: {', '.join(OUTPUTS)} (default: FILE.predictions.csv)",
    )
    parser.add_argument(
        "--format", metavar="FORMAT", help="of the texts' file: as task.format (default: by the suffix)"
    )
    parser.add_argument("--encoding", default="utf-8", help="of the texts' file: as task.encoding (default: utf-8)")
    parser.add_argument("--separator", metavar="CHARACTER", help="between fields: as task.separator; tab for a tab")
    parser.add_argument(
        "--columns", metavar="NAME,NAME", help="names of the columns of a file without a header: as task.columns"
    )
    parser.add_argument(
        "--no-quoting", action="store_true", help="double quotes enclose nothing: as task.quoting=false"
    )
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | mps")
    parser.add_argument("--cache-dir", default=CACHE, help=f"default: {CACHE}")
    options = parser.parse_args(arguments)
    if options.columns is not None and not options.columns.strip():
        raise HarnessError("--columns names no column: --columns text,label, one name for each column of the file.")
    output = options.output or _beside(options.file)
    how = {
        "format": options.format,
        "encoding": options.encoding,
        "separator": options.separator,
        "columns": options.columns.split(",") if options.columns is not None else None,
        "quoting": not options.no_quoting,
    }
    model = find_model(options.model, options.runs_dir)
    count = predict_file(model, options.file, options.text or [], output, options.device, options.cache_dir, how)
    sys.stdout.write(f"{count} rows written to {output}\n")
    return 0


def predict_file(
    directory: Path,
    file: Path,
    columns: list[str],
    output: Path,
    device: str = "auto",
    cache_dir: str | Path = CACHE,
    how: Mapping[str, Any] | None = None,
) -> int:
    """Predict for the rows of a file: write its columns, `prediction`, and what else the task's family adds.

    Classification adds the column `probability: <label>` for each class.

    Rows keep their number and order, and values are written as they were read. In CSV and TSV files, a text that a
    spreadsheet would interpret as a formula is prefixed with an apostrophe; numbers are not.

    Args:
        directory: the saved model.
        file: the texts, in any format that training reads.
        columns: name of the text column, or names of two; [] for the default of `COLUMNS`.
        output: output file; its suffix determines the format.
        device: auto | cpu | cuda | mps.
        cache_dir: cache directory for the digests of large files.
        how: fields of `harness.data.readers.file_formats.FileFormat` that differ from the defaults.

    Returns:
        The number of rows.

    Raises:
        HarnessError: a problem with the model, the file or its columns.
    """
    from harness.data.readers.whole_table import write_table
    from harness.serving.saved_model import read_description

    facts = read_description(directory)
    from harness.tasks.runtime import saved_runtime  # imports torch: after what can be wrong without it

    columns = columns or [COLUMNS[family_of(facts.get("family")).reads]]
    expected = 2 if facts["pairs"] else 1
    if len(columns) != expected or len(set(columns)) != expected:
        given = f"twice {columns[0]!r}" if len(set(columns)) < len(columns) == expected else len(columns)
        how_to = "--text FIRST --text SECOND" if expected > 1 else "--text COLUMN"
        raise HarnessError(f"This model takes {expected} text column{'s' * (expected > 1)}, not {given}: {how_to}.")
    task = saved_runtime(facts)
    suffixes = (*OUTPUTS, *task.own_files)
    if output.suffix.lower() not in suffixes:
        raise HarnessError(f"--output {output} must end in one of {', '.join(suffixes)}, which determines its format.")
    table, texts = task.read_file(file, columns, how or {})
    if output.resolve() == file.resolve():
        raise HarnessError(f"--output {output} would overwrite the texts: name another file.")
    if output.is_dir():
        raise HarnessError(f"--output {output} is a folder: name a file.")
    if not output.parent.is_dir():
        what = "is a file, not a folder" if output.parent.exists() else "does not exist: make it"
        raise HarnessError(f"--output {output}: the folder {output.parent} {what}, or name another file.")
    if not os.access(output.parent, os.W_OK):
        raise HarnessError(f"{output.parent} cannot be written to: name another file with --output.")
    added = task.answer_columns()
    spread = output.suffix.lower() in (".csv", ".tsv")  # for spreadsheets
    if not spread:
        twice = {name for name in table.names if table.names.count(name) > 1}
        if twice:
            raise HarnessError(f"{file.name} has several columns named {sorted(twice)[0]!r}: write to a .csv file.")
    if taken := [name for name in added if name in table.names]:
        raise HarnessError(f"{file.name} has a column {taken[0]!r} already, which the output would repeat: rename it.")
    _tell_empty(texts, columns)
    predictor = load(directory, device, cache_dir)
    predictions = predictor.predictions(texts[0], texts[1] if facts["pairs"] else None)
    if task.write_file(output, predictions):
        return len(predictions)
    answers = [[_written(value, spread) for value in column] for column in predictor.task.answer_values(predictions)]
    write_table(output, [*table.names, *added], [*table.columns, *answers])
    return len(predictions)


def _tell_empty(texts: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
    """Tell of rows without a text: they keep their place, and their prediction is that of an empty text."""
    for values, column in zip(texts, columns, strict=True):
        empty = [row for row, value in enumerate(values, 1) if isinstance(value, str | list) and not _content(value)]
        if empty:
            sys.stderr.write(
                f"Note: {len(empty)} of {len(values)} rows have no text in column {column!r} (row {some(empty)}); what "
                "is predicted for them is what the model makes of an empty text.\n"
            )


def _content(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _written(value: Any, spread: bool) -> Any:
    """Round numbers to six decimals; in a file for spreadsheets they are written with all six."""
    if not isinstance(value, float):
        return value
    return f"{value:.6f}" if spread else round(value, 6)


def _beside(file: Path) -> Path:
    """Return the default output path: `texts.csv.gz` -> `texts.predictions.csv`."""
    from harness.data.readers.containers import SUFFIXES

    file = file.resolve() if file.name in ("", "..") else file  # `.` has no name
    name = file.with_suffix("") if file.suffix.lower() in SUFFIXES else file
    return name.parent / f"{name.stem}.predictions.csv"


if __name__ == "__main__":
    from harness.system.resources import usable_cores

    # Read by torch when it loads; torch itself ignores CPU quotas.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    sys.exit(main())
