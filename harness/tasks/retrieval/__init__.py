"""Retrieval: the passages of a collection that answer a query, such as help articles for a question."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="retrieval",
    kinds={
        "retrieval": TaskKind("harness.tasks.retrieval.task.Retrieval"),
        "demo_retrieval": TaskKind("harness.tasks.retrieval.demo.DemoRetrieval"),
    },
    metrics="harness.tasks.retrieval.metrics.METRICS",
    runtime="harness.tasks.retrieval.runtime.RetrievalRuntime",
    report="harness.tasks.retrieval.report.REPORT",
    inapplicable={
        "train.accumulate": (
            1,
            "the passages of a batch are each other's negatives, so several small batches have another loss than a "
            "large one (train.batch_size)",
        ),
        "train.label_smoothing": (0.0, "it moves probability between classes"),
        "train.fgm": (0.0, "it perturbs one text a row, and a loss here is of queries and passages"),
        "train.packing": (False, "a score is of the pooled vectors of two texts"),
    },
    unused=("train.head_lr", "train.head_init", "train.head_probe_c"),
    train_keys=("train.temperature",),
    texts=("query", "relevant", "first", "label"),
    retrieves=True,
)
