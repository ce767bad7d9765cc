"""Write a model in a format, prove it, and leave the folder only then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.api.family import family_of
from harness.data.dataset import Dataset, Split
from harness.errors import HarnessError, is_disk_full
from harness.export.card import card
from harness.export.container import write_container
from harness.export.formats import (
    Format,
    MergedFormat,
    Original,
    Outputs,
    PeftFormat,
    SentenceTransformersFormat,
    description,
    stretch,
)
from harness.export.onnx_format import OnnxFormat
from harness.export.proof import (
    QUANTIZED_ROWS,
    ROWS,
    data_of_run,
    original_predictions,
    prove,
    rows_to_compare,
    split_of_file,
)
from harness.export.quantized_confidence import with_quantized_confidence
from harness.export.training_rows import training_rows
from harness.export.winner import Winner, serve_argument
from harness.models.loading import brief
from harness.tasks.runtime import runtime_of


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        to: the folder to write; it must not exist, or be empty.
        form: name of the format.
        int8: whether an ONNX file is quantized.
        texts: file of texts for the proof; None: test rows of the run.
        licence: an SPDX identifier, or `unknown`.
        examples: whether training rows go along, which the service shows as similar ones.
    """

    to: Path
    form: str = "merged"
    int8: bool = False
    texts: Path | None = None
    licence: str = "unknown"
    examples: bool = False

    def check(self) -> None:
        """Check what can be checked before a model is loaded.

        Raises:
            HarnessError: the folder is in use or cannot be made, or options contradict one another.
        """
        if self.int8 and self.form != "onnx":
            raise HarnessError(f"--int8 is for --format onnx, not {self.form}: leave it out, or set --format onnx.")
        if self.examples and self.form == "onnx":
            raise HarnessError(
                "--examples is for formats with features to compare rows by, and an ONNX file has none: leave it out, "
                "or set another --format."
            )
        if self.to.exists() and (not self.to.is_dir() or any(self.to.iterdir())):
            raise HarnessError(f"--to {self.to} exists already: name a new folder, or remove it first.")
        parent = next(each for each in self.to.absolute().parents if each.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise HarnessError(f"--to {self.to} cannot be made: {parent} cannot be written to. Name another folder.")


def export(winner: Winner, request: Request, cache_dir: str | Path) -> str:
    """Export a model; return what its proof says.

    Raises:
        HarnessError: the model cannot be loaded or has no such format, or the export fails its proof. No folder is
            left.
    """
    request.check()
    original = _load(winner.model, cache_dir)
    had_confidence = original.predictor.confidence is not None
    form = _format(original, request)
    training = training_rows(original, winner) if request.examples else None
    original, split, data, metric = _rows_of_proof(original, winner, request)
    before = original_predictions(original, split)
    request.to.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = request.to.absolute().with_name(f".{request.to.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _write(form, original, temporary)
        if request.int8:
            original = with_quantized_confidence(original, _by_its_tool(form, original, temporary), data)
        tokenizer = original.predictor.tokenizer
        if not original.writes and original.family.reads == "text":
            tokenizer.model_max_length = original.predictor.max_length  # other tools cut where this program does
        tokenizer.save_pretrained(str(temporary))
        if original.family.locates:
            stretch(temporary, original)
        if (known := original.predictor.confidence) is not None:
            (known if request.examples else known.without_rows()).write(temporary)
        if training is not None:
            training.write(temporary)
        description(original, form.name, temporary)
        for outputs in (_by_its_tool(form, original, temporary), _reloaded(temporary, cache_dir)):
            proof = prove(original, split, before, outputs, metric, request.int8)
        told = proof.sentence(request.int8)
        if request.int8 and had_confidence and original.predictor.confidence is None:
            told += (
                " It knows nothing of its reliability, so --precision cannot be asked of it: without --texts, on the "
                "rows of its run, that is fitted to the 8-bit outputs."
            )
        title = f"{original.facts['model']['name']}-{original.facts['method']}-{original.facts['task']}"
        text = card(original, winner, form, proof, told, request.licence, title)
        (temporary / "README.md").write_text(text, encoding="utf-8")
        extras = [
            *(["export"] if form.name == "onnx" else []),
            *(["speech"] if original.family.reads == "sound" else []),
        ]
        write_container(temporary, ["serve", *extras], form.name != "peft")
        _leave(temporary, request.to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return told


def _rows_of_proof(
    original: Original, winner: Winner, request: Request
) -> tuple[Original, Split, Dataset | None, str | None]:
    """Return the rows of the proof, the data they are of, and its metric; and the model, which knows where they lie.

    Raises:
        HarnessError: there are none.
    """
    rows = QUANTIZED_ROWS if request.int8 else ROWS
    if request.texts is not None:
        if original.family.reads != "text":
            raise HarnessError(
                f"--texts is for models of texts, and this one reads {original.family.reads}s: export it from the "
                "run's directory, whose test rows prove it."
            )
        return original, split_of_file(request.texts, original, rows), None, None
    if winner.run is None or not (config := winner.run.read_config()):
        way = " name a file with a column text: --texts FILE." if original.family.reads == "text" else " copy its run."
        raise HarnessError(
            f"{winner.model} lies in no run's directory, so there are no test rows to prove an export on:{way}"
        )
    data = data_of_run(config)
    if original.family.reads != "text":  # its rows are files, which the data know
        original = replace(original, predictor=replace(original.predictor, task=runtime_of(data)))
    return original, rows_to_compare(data, rows), data, str(config["task"]["metric"])


def _write(form: Format, original: Original, directory: Path) -> None:
    try:
        form.write(original, directory)
    except (HarnessError, OSError):
        raise
    except Exception as error:  # of several libraries
        raise HarnessError(_failed(form, "written", error)) from error


def _by_its_tool(form: Format, original: Original, directory: Path) -> Outputs:
    try:
        return form.outputs(original, directory)
    except HarnessError:
        raise
    except Exception as error:  # of several libraries
        raise HarnessError(_failed(form, "loaded by its own tool", error)) from error


def _failed(form: Format, what: str, error: Exception) -> str:
    if isinstance(error, ImportError) and error.name:
        return f"--format {form.name} needs {error.name}: pip install {error.name.replace('_', '-')}."
    return (
        f"The {form.name} export of this model cannot be {what} ({type(error).__name__}: {brief(error)[:200]}). "
        "Nothing was written. Choose another --format."
    )


def _leave(temporary: Path, to: Path) -> None:
    try:
        if to.exists():
            to.rmdir()  # empty, as `Request.check` saw
        temporary.rename(to)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise HarnessError(f"--to {to} was made by somebody else meanwhile: name another folder.") from error


def _load(directory: Path, cache_dir: str | Path) -> Original:
    from harness.models import PretrainedModel
    from harness.serving.predict import load
    from harness.serving.saved_model import backbone_of, read_description

    facts: Mapping[str, Any] = read_description(directory)
    _check_family(directory, facts)
    if facts.get("export") not in (None, "peft"):
        raise HarnessError(f"{directory} is an export itself: export the run's model instead.")
    predictor = load(directory, "cpu", cache_dir)
    model: PretrainedModel = backbone_of(facts)
    return Original(directory, facts, predictor, model.resolve(cache_dir))


def _check_family(directory: Path, facts: Mapping[str, Any]) -> None:
    family = family_of(facts.get("family"))
    what = "its collection" if family.retrieves else "the items and users" if family.reads == "interaction" else None
    if what is not None:
        raise HarnessError(
            f"{directory} is a model of {family.name}, whose answers need {what}, and no format of harness export has "
            f"them. Serve the model itself: harness serve {serve_argument(directory)}."
        )


def _format(original: Original, request: Request) -> Format:
    """Return the format that is asked for.

    Raises:
        HarnessError: the model cannot have it; the message names those that it can have.
    """
    known: dict[str, Format] = {
        "merged": MergedFormat(),
        "peft": PeftFormat(),
        "onnx": OnnxFormat(request.int8),
        "sentence-transformers": SentenceTransformersFormat(),
    }
    if (reason := known[request.form].obstacle(original)) is None:
        return known[request.form]
    others = [name for name, each in known.items() if each.obstacle(original) is None]
    serve = f"Serve the model itself: harness serve {serve_argument(original.directory)}."
    way = f"Set --format {' or '.join(others)}." if others else serve
    raise HarnessError(f"This model cannot be exported as {request.form}: {reason}. {way}")


def _reloaded(directory: Path, cache_dir: str | Path) -> Any:
    """Load an export as `harness serve` does."""
    from harness.serving.predict import load

    return load(directory, "cpu", cache_dir).network
