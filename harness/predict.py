"""Label texts with a saved model: `python -m harness.predict <model dir> file.csv`, or `load(dir).predict(texts)`."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, nearest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CACHE = "~/.cache/harness"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula at the start of a cell


@dataclass(frozen=True)
class Predictor:
    """A saved model, ready to use.

    Attributes:
        labels: the C class names.
        pairs: whether it was trained on pairs of texts.
        classifier, tokenizer, max_length, device: what it computes with.
    """

    labels: tuple[str, ...]
    pairs: bool
    classifier: Any
    tokenizer: Any
    max_length: int
    device: str

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[str]:
        """Give the most probable label of each text."""
        return [self.labels[index] for index in self.probabilities(texts, pairs).argmax(axis=1)]

    def probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> npt.NDArray[np.float32]:
        """Give the probability of each class: (n, C), columns in the order of `labels`.

        Args:
            texts: n texts.
            pairs: n second texts, for a model of text pairs.

        Raises:
            HarnessError: there are second texts for a model of single texts, or none for a model of pairs.
        """
        import numpy as np
        import torch

        from harness.batches import Examples, over_all, softmax
        from harness.tasks import Split
        from harness.tasks.tokens import encode

        if self.pairs != (pairs is not None) or (pairs is not None and len(pairs) != len(texts)):
            needs = "two texts a row: predict(texts, pairs)" if self.pairs else "one text a row: predict(texts)"
            raise HarnessError(f"This model takes {needs}.")
        if isinstance(texts, str):
            raise HarnessError("predict takes a list of texts, not one text: predict([text]).")
        if not len(texts):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        rows = np.arange(len(texts))
        split = Split("predict", list(texts), None if pairs is None else list(pairs), rows, rows)
        examples = Examples(
            encode(split, self.tokenizer, self.max_length),
            np.zeros(len(texts), dtype=np.int64),
            self.tokenizer.pad_token_id or 0,
        )
        return softmax(over_all(self.classifier, examples, 64, torch.device(self.device), "fp32"))


def load(directory: str | Path, device: str = "auto", cache_dir: str | Path = CACHE) -> Predictor:
    """Load a saved model.

    Args:
        directory: the folder `model` of a run.
        device: auto | cpu | cuda | mps.
        cache_dir: where digests of large files are remembered.

    Raises:
        HarnessError: it is not a saved model, or its backbone is not found or not the one that was adapted.
    """
    # Descriptions are read first: a wrong directory is told before torch is imported.
    from harness.saved import load_classifier, read_description

    directory = Path(directory)
    facts = read_description(directory)
    from harness.machine import check_device
    from harness.models import ResolvedModel
    from harness.models.classifier import load_tokenizer

    where = check_device(device)
    classifier = load_classifier(directory, facts, cache_dir).to(where)
    tokenizer = load_tokenizer(ResolvedModel(directory, facts["digest"], "saved model"))
    return Predictor(tuple(facts["labels"]), facts["pairs"], classifier, tokenizer, facts["max_length"], where)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.predict", description="Label the texts of a CSV file with a saved model."
    )
    parser.add_argument("model", type=Path, help="directory of a saved model: the folder `model` of a run")
    parser.add_argument("file", type=Path, help="CSV file with a header line, UTF-8")
    parser.add_argument(
        "--text", action="append", metavar="COLUMN", help="column of the text (default: text); twice for text pairs"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: FILE.predictions.csv)")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | mps")
    parser.add_argument("--cache-dir", default=CACHE, help=f"default: {CACHE}")
    options = parser.parse_args(arguments)
    output = options.output or options.file.with_name(f"{options.file.stem}.predictions.csv")
    try:
        count = predict_file(
            options.model, options.file, options.text or ["text"], output, options.device, options.cache_dir
        )
    except HarnessError as error:
        sys.stderr.write("".join(f"Error: {problem}\n" for problem in error.problems))
        return 2
    sys.stdout.write(f"{count} rows written to {output}\n")
    return 0


def predict_file(
    directory: Path, file: Path, columns: list[str], output: Path, device: str = "auto", cache_dir: str | Path = CACHE
) -> int:
    """Label the rows of a CSV file: its columns, then `prediction` and a `probability: <label>` column a class.

    A cell of the output that a spreadsheet would take for a formula begins with an apostrophe.

    Returns:
        The number of rows.

    Raises:
        HarnessError: anything about the model, the file or its columns.
    """
    from harness.record import atomic
    from harness.saved import read_description

    facts = read_description(directory)
    names, rows = _read(file)
    expected = 2 if facts["pairs"] else 1
    if len(columns) != expected:
        raise HarnessError(
            f"This model takes {expected} text column{'s' * (expected > 1)}, not {len(columns)}: --text COLUMN."
        )
    if unknown := [name for name in columns if name not in names]:
        raise HarnessError(
            *(f"{file} has no column {name}. {nearest(name, names)} Choose with --text." for name in unknown)
        )
    if output.resolve() == file.resolve():
        raise HarnessError(f"--output {output} would overwrite the texts: name another file.")
    if not os.access(output.parent, os.W_OK):
        raise HarnessError(f"{output.parent} cannot be written to: name another file with --output.")
    texts = [[row[names.index(name)] for row in rows] for name in columns]
    predictor = load(directory, device, cache_dir)
    probabilities = predictor.probabilities(texts[0], texts[1] if facts["pairs"] else None)
    labels = [predictor.labels[index] for index in probabilities.argmax(axis=1)]
    with atomic(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        header = [*names, "prediction", *(f"probability: {label}" for label in predictor.labels)]
        writer.writerow(map(_harmless, header))
        for row, label, values in zip(rows, labels, probabilities, strict=True):
            writer.writerow([*map(_harmless, [*row, label]), *(f"{value:.6f}" for value in values)])
    return len(rows)


def _read(file: Path) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of a CSV file."""
    if not file.is_file():
        here = [path.name for path in file.parent.glob("*.csv")] if file.parent.is_dir() else []
        raise HarnessError(f"{file} does not exist. {nearest(file.name, here)}")
    csv.field_size_limit(2**31 - 1)
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            lines = list(csv.reader(source, strict=True))
    except UnicodeDecodeError as error:
        raise HarnessError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except (csv.Error, OSError) as error:
        raise HarnessError(f"{file} cannot be read as CSV: {error}.") from None
    numbered = [(number, row) for number, row in enumerate(lines, 1) if row]
    if len(numbered) < 2:
        raise HarnessError(f"{file} has no rows: a header line and at least one row are needed.")
    names, *rows = [row for _, row in numbered]
    if uneven := [number for number, row in numbered if len(row) != len(names)]:
        shown = ", ".join(map(str, uneven[:5]))
        raise HarnessError(
            f"{file} has {len(names)} columns, but {len(uneven)} rows have another number (rows {shown})."
        )
    return names, rows


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


if __name__ == "__main__":
    from harness.capacity import usable_cores

    # Read by torch when it loads, which by itself sees no CPU quota.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    sys.exit(main())
