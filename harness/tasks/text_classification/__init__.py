"""Text classification: binary or multi-class, single texts or text pairs."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="text_classification",
    kinds={
        "text_classification": TaskKind(
            "harness.tasks.text_classification.task.TextClassification", signed="harness.tasks.text.TextClassification"
        ),
        "demo": TaskKind("harness.tasks.text_classification.demo.DemoTask", signed="harness.tasks.demo.DemoTask"),
    },
    metrics="harness.tasks.text_classification.metrics.METRICS",
    runtime="harness.tasks.text_classification.runtime.TextClassificationRuntime",
    report="harness.tasks.text_classification.report.REPORT",
    inapplicable={"train.packing": (False, "a class is of a row's own pooled vector")},
)
