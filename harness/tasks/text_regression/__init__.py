"""Text regression: a number for each text or pair of texts, such as the similarity of two sentences."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="text_regression",
    kinds={
        "text_regression": TaskKind("harness.tasks.text_regression.task.TextRegression"),
        "demo_similarity": TaskKind("harness.tasks.text_regression.demo.DemoSimilarity"),
    },
    metrics="harness.tasks.text_regression.metrics.METRICS",
    runtime="harness.tasks.text_regression.runtime.TextRegressionRuntime",
    report="harness.tasks.text_regression.report.REPORT",
    inapplicable={
        "train.label_smoothing": (0.0, "it moves probability between classes"),
        "train.packing": (False, "a number is of a row's own pooled vector"),
    },
)
