"""The model card of an export: README.md with the metadata that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import harness
from harness.api.family import FIRST
from harness.errors import HarnessError
from harness.export.formats import Format, Original
from harness.export.proof import CONFIDENCE, LEVEL, Proof
from harness.export.winner import Winner
from harness.formatting.values import cost, cost_name, metric_name, score
from harness.records.record import Record, metric_of
from harness.records.study_files import SCORE
from harness.serving.confidence.abstaining import rule_for
from harness.statistics import interval, scale_of

LIBRARIES = {"peft": "peft", "merged": "transformers", "onnx": "onnx", "sentence-transformers": "sentence-transformers"}
# As model hubs call a task, where that is not the name of the family.
PIPELINES = {"token_tagging": "token-classification", "speech_recognition": "automatic-speech-recognition"}
_NAME_ONE = " Name it with --license when exporting; base model and data may restrict it."
PRECISIONS = (0.99, 0.95, 0.9, 0.8)  # the highest that validation rows show is told
COSTS = ("total_seconds", "dollars", "latency_p50_seconds", "saved_bytes", "trainable_parameters")


def card(original: Original, winner: Winner, form: Format, proof: Proof, told: str, licence: str, title: str) -> str:
    """Return the text of README.md.

    Args:
        original, winner, form: what was exported, and as what.
        proof: how it compares with the model.
        told: what the proof says, in sentences.
        licence: an SPDX identifier, or `unknown`.
        title: name of the model.
    """
    facts = original.facts
    record = Record.read(winner.run.record) if winner.run is not None else None
    measured = _measured(winner, record)
    metadata = _metadata(facts, form, measured, licence, title)
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---",
        f"# {title}",
        f"{facts['model']['name']} adapted to the task {facts['task']} by {facts['method']}, exported as {form.name} "
        f"(loads with {form.loads}). {told}",
        "## Use\n\n" + _usage(original, form),
        "## Evaluation\n\n" + _evaluation(winner, measured),
        *([_cost(winner, record)] if record is not None else []),
        "## Limits\n\n" + _limits(original, record, licence),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(winner: Winner, record: Record | None) -> dict[str, Any]:
    """Return the test score: {metric, value, low, high, seeds, rows, scope}; {} if nothing is known."""
    if winner.cell is not None and winner.cell.test_mean is not None and winner.found is not None:
        interval = winner.found.of(winner.cell).interval
        known: dict[str, Any] = {
            "metric": winner.cell.cell.metric, "value": winner.cell.test_mean, "seeds": list(winner.cell.seeds),
        }  # fmt: skip
        if interval is not None:
            known |= {"low": interval.low, "high": interval.high, "rows": interval.examples}
        return known
    if record is None or winner.run is None:
        return {}
    name = str((winner.run.read_config().get("task") or {}).get("metric", ""))
    value = metric_of(record, "test", name)
    if value is None:
        return {}
    return {
        "metric": name,
        "value": value,
        "seeds": [record.seed],
        **_rows_interval(winner.run.predictions, name),
    }


def _rows_interval(predictions: Path, metric: str) -> dict[str, Any]:
    """Return the interval of one run's score that its test rows give; {} without predictions."""
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(predictions, columns=["split", f"{SCORE}{metric}"]).to_pydict()
    except (OSError, ArrowException, KeyError):
        return {}
    rows = [
        score for split, score in zip(table["split"], table[f"{SCORE}{metric}"], strict=True)
        if split == "test" and score is not None
    ]  # fmt: skip
    if len(rows) < 2:
        return {"rows": len(rows)}
    found = interval(np.array([rows], dtype=np.float64), confidence=CONFIDENCE, scale=scale_of(metric))
    return {"low": found.low, "high": found.high, "rows": len(rows)}


def _metadata(
    facts: Mapping[str, Any], form: Format, measured: Mapping[str, Any], licence: str, title: str
) -> dict[str, Any]:
    kind = PIPELINES.get(str(facts.get("family", FIRST)), str(facts.get("family", FIRST)).replace("_", "-"))
    stored = facts["model"]
    content: dict[str, Any] = {
        "license": licence,
        "library_name": LIBRARIES[form.name],
        "pipeline_tag": kind,
        "tags": ["harness", str(facts["method"])],
    }
    if stored.get("hub"):
        content["base_model"] = stored["hub"]
    if measured:
        spread = f", {LEVEL} interval {measured['low']:.4f} to {measured['high']:.4f}" if "low" in measured else ""
        seeds = len(measured["seeds"])
        content["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": kind},
                        "dataset": {"name": str(facts["task"]), "type": str(facts["task"]), "split": "test"},
                        "metrics": [
                            {
                                "type": measured["metric"],
                                "value": round(float(measured["value"]), 6),
                                "name": f"test {measured['metric']}, {seeds} seed{'s' * (seeds > 1)}{spread}",
                            }
                        ],
                    }
                ],
            }
        ]
    return content


def _usage(original: Original, form: Format) -> str:
    call = original.family.example_call(original.facts)
    code = {
        "peft": _peft_usage(original),
        "merged": _merged_usage(original),
        "onnx": _ONNX_IMAGES.format(name=_onnx_name(form))
        if original.family.reads == "image"
        else "import onnxruntime\nfrom transformers import AutoTokenizer\n\n"
        "inputs = AutoTokenizer.from_pretrained('.')(['...'], return_tensors='np', truncation=True)\n"
        f"session = onnxruntime.InferenceSession('{_onnx_name(form)}')\n"
        "names = [each.name for each in session.get_inputs()]\n"
        "outputs = session.run(None, {name: inputs[name] for name in names})[0]  # labels: harness.json",
        "sentence-transformers": "from sentence_transformers import SentenceTransformer\n\n"
        "vectors = SentenceTransformer('.').encode(['...'])  # head.safetensors applies to 20 x these",
    }[form.name]
    return (
        f"As a service, with a page to try it: `harness serve .`, or `docker compose up --build`. From Python:\n\n"
        f"```python\nfrom harness.predict import load\n\nload('.').{call}\n```\n\n"
        f"Without this program:\n\n```python\n{code}\n```"
    )


_ONNX_IMAGES = """\
import onnxruntime
from PIL import Image
from transformers import AutoImageProcessor

pixels = AutoImageProcessor.from_pretrained('.')(Image.open('photo.jpg'), return_tensors='np')['pixel_values']
outputs = onnxruntime.InferenceSession('{name}').run(None, {{'pixel_values': pixels}})[0]  # labels: harness.json"""


def _onnx_name(form: Format) -> str:
    return "model.int8.onnx" if getattr(form, "int8", False) else "model.onnx"


def _peft_usage(original: Original) -> str:
    if original.family.reads == "sound" or original.finds:
        return (
            "from peft import PeftModel\n\n"
            f"# On {original.facts['model'].get('hub') or original.facts['model']['name']}, loaded by transformers:\n"
            "adapted = PeftModel.from_pretrained(base, '.')  # a head, if there is one: head.safetensors"
        )
    if original.writes:
        return (
            "from peft import AutoPeftModelForCausalLM\n\nmodel = AutoPeftModelForCausalLM.from_pretrained('.')\n"
            "# vLLM: vllm serve <base model> --enable-lora --lora-modules tuned=."
        )
    name = original.facts["model"].get("hub") or original.facts["model"]["name"]
    return (
        "from peft import PeftModel\nfrom transformers import AutoModel\n\n"
        f"encoder = PeftModel.from_pretrained(AutoModel.from_pretrained('{name}'), '.')\n"
        f"# Then {original.facts['model']['pooling']} pooling, L2 norm, times 20, and the layer in head.safetensors."
    )


def _merged_usage(original: Original) -> str:
    family, trust = original.family, "" if original.own_head else ", trust_remote_code=True"
    if family.reads != "text" or family.tokens:
        task = PIPELINES.get(family.name, family.name.replace("_", "-"))
        row = {"image": "'photo.jpg'", "sound": "'speech.wav'"}.get(family.reads, "'...'")
        more = ", aggregation_strategy='first'" if family.tokens else ""
        return f"from transformers import pipeline\n\npipeline('{task}', '.'{trust}{more})({row})"
    if original.writes:
        return "from transformers import pipeline\n\npipeline('text-generation', '.')('...')"
    asked = "{'text': '...', 'text_pair': '...'}" if original.predictor.pairs else "'...'"
    plain = "" if original.predictor.labels else ", function_to_apply='none'"
    call = f"pipeline('text-classification', '.'{trust})({asked}, truncation=True{plain})"
    code = f"from transformers import pipeline\n\n{call}"
    if not original.predictor.labels:
        code += "\n# The number is center + scale * score, both in harness.json."
    return code


def _evaluation(winner: Winner, measured: Mapping[str, Any]) -> str:
    if not measured:
        return "No test score is known: this model was exported without the run that trained it."
    metric = measured["metric"]
    text = f"Test {metric_name(metric)} {score(measured['value'], metric, unit=True)}"
    if "low" in measured:
        text += f" ({LEVEL} interval {score(measured['low'], metric)} to {score(measured['high'], metric)})"
    seeds = measured["seeds"]
    text += f", mean of {len(seeds)} seeds" if len(seeds) > 1 else f", one seed ({seeds[0]})"
    text += f", {measured['rows']} test rows. " if measured.get("rows") else ". "
    text += (
        "The interval counts test rows only: another seed may score otherwise."
        if len(seeds) < 2
        else "The exported weights are those of one of these seeds."
    )
    if winner.group is None or winner.cell is None or len(winner.group.rows) < 2:
        return f"{text}\n\nIt was compared with nothing."
    lines = [
        f"{text}\n\nChosen because it is {winner.why}. Compared with:\n",
        "| cell | test score | seeds |",
        "|---|---|---|",
    ]
    for row in winner.group.rows:
        shown = "not tested" if row.test_mean is None else score(row.test_mean, row.cell.metric, unit=True)
        chosen = " (this one)" if row is winner.cell else ""
        lines.append(f"| {row.cell.id}{chosen} | {shown} | {len(row.seeds)} |")
    return "\n".join(lines)


def _detects(original: Original) -> bool:
    known = original.predictor.confidence
    return known is not None and bool(known.detectors)


def _abstention(original: Original) -> str:
    """Say how many rows go unanswered for a precision, as far as validation rows show it."""
    always = "It always answers one of them."
    if (known := original.predictor.confidence) is None:
        return always
    for precision in PRECISIONS:
        with suppress(HarnessError):
            found = rule_for(known, precision, False)
            return f"{always[:-1]}, unless served with `--precision {precision:g}`. {found.sentence()}"
    return always


def _cost(winner: Winner, record: Record) -> str:
    costs = winner.cell.costs if winner.cell is not None else record.cost
    known = [
        f"| {cost_name(name)} | {cost(name, float(costs[name]))} |"
        for name in COSTS
        if isinstance(costs.get(name), int | float)
    ]
    return "\n".join(["## Cost\n", "| | |", "|---|---|", *known]) if known else "## Cost\n\nNot recorded."


def _limits(original: Original, record: Record | None, licence: str) -> str:
    facts = original.facts
    read = original.family.reads == "text"
    cut = "Texts are cut after {} tokens." if not original.writes else "Trained on sequences of up to {} tokens."
    lines = [
        *([f"- {cut.format(facts['max_length'])}"] if read else []),
        "- Trained and tested on one data set: scores on other data may be lower"
        + (", and nothing tells when a row is of another kind." if not _detects(original) else "."),
        f"- Backbone: {facts['model']['name']}, digest {facts['digest'][:16]}; its own limits and licence hold, too.",
        f"- Licence of this folder: {licence}.{_NAME_ONE if licence == 'unknown' else ''}",
        f"- Made by harness {harness.__version__}.",
    ]
    if original.predictor.labels:
        lines.insert(1, f"- It knows {len(original.predictor.labels)} classes. {_abstention(original)}")
    if record is not None and (fingerprint := record.data.get("fingerprint")):
        lines.insert(1, f"- Data: fingerprint {str(fingerprint)[:16]}.")
    return "\n".join(lines)
