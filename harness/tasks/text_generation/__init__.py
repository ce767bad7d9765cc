"""Text generation: a text for each prompt, such as an answer, a description of data or a translation."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="text_generation",
    kinds={
        "text_generation": TaskKind("harness.tasks.text_generation.task.TextGeneration"),
        "demo_replies": TaskKind("harness.tasks.text_generation.sources.demo_replies.DemoReplies"),
        "crosswoz": TaskKind("harness.tasks.text_generation.sources.crosswoz.CrossWoz"),
    },
    metrics="harness.tasks.text_generation.metrics.METRICS",
    runtime="harness.tasks.text_generation.runtime.TextGenerationRuntime",
    report="harness.tasks.text_generation.report.REPORT",
    inapplicable={
        "train.r_drop": (0.0, "it compares two predictions of a class"),
    },
    unused=("train.head_lr", "train.head_init", "train.head_probe_c", "model.pooling"),
    writes=True,
    texts=("prompt", "prediction", "label"),
)
