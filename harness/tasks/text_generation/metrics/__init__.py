"""The metrics of text generation. Imports no torch.

A metric is a function of targets (n,), tuples of reference texts, and predictions (n,), records with fields:

References may also hold the `prompt` and the `slots` of their row (`harness.tasks.text_generation.data.References`).

- text: what the model wrote; None for a row for which it wrote nothing.
- nll, tokens: sum of the negative log likelihoods of the reference's tokens, in nats, and their number.
- choices, only for multiple choice: pairs (text of the choice, its log likelihood).

A metric without its fields, or with None in them, is undefined for the rows.
"""

from __future__ import annotations

from harness.api.metric import Direction, Metric
from harness.tasks.text_generation.metrics import answers, likelihoods, overlap, slots
from harness.tasks.text_generation.metrics.corpus import CorpusMetric

CORPUS: dict[str, CorpusMetric] = {
    **{name: overlap.bleu(name) for name in overlap.BLEU_OPTIONS},
    "chrf": overlap.chrf(),
    "ter": overlap.ter(),
    **{kind: overlap.rouge(kind) for kind in overlap.ROUGE},
    "exact_match": answers.exact_match(),
    "exact_match_number": answers.exact_match(answers.number, answers.last_number),
    "exact_match_flexible": answers.exact_match(answers.last_number),
    "token_f1": answers.token_f1(),
    "slot_accuracy": slots.slot_accuracy(),
    "joint_slot_accuracy": slots.joint_slot_accuracy(),
    "acc": likelihoods.accuracy(normalized=False),
    "acc_norm": likelihoods.accuracy(normalized=True),
    "perplexity": likelihoods.perplexity(),
    # What training minimizes; as in every family it breaks ties.
    "loss": likelihoods.loss(),
}
COSTLY = ("ter",)  # a tenth of a second a row with seven references: to be computed only where a task asks for them
LIKELIHOODS = ("loss", "perplexity", "acc", "acc_norm")  # metrics that need no written texts


def metric(name: str, corpus: CorpusMetric) -> Metric:
    """Return a metric of the table's form, with the scale of its kind."""
    value, per_row = corpus.value, corpus.per_row
    if name in ("loss", "perplexity"):
        low, form = (0.0, "{:.3f}") if name == "loss" else (1.0, "{:.3g}")
        return Metric(name, name, value, per_row, Direction.MINIMIZE, form, low)
    if name == "ter":
        return Metric(name, name, value, per_row, Direction.MINIMIZE, "{:.1f}", 0.0)
    if name in (*overlap.BLEU_OPTIONS, "chrf"):
        return Metric(name, name, value, per_row, Direction.MAXIMIZE, "{:.1f}", 0.0, 100.0)
    label = name.replace("_", " ")
    return Metric(name, label, value, per_row, Direction.MAXIMIZE, "{:.1%}", 0.0, 1.0, score_interval=True)


METRICS: dict[str, Metric] = {name: metric(name, corpus) for name, corpus in CORPUS.items()}
