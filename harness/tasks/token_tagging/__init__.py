"""Token tagging: a tag for each word of a text, which mark entities such as names, products or diseases."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="token_tagging",
    kinds={
        "token_tagging": TaskKind("harness.tasks.token_tagging.task.TokenTagging"),
        "demo_tags": TaskKind("harness.tasks.token_tagging.demo.DemoTags"),
    },
    metrics="harness.tasks.token_tagging.metrics.METRICS",
    runtime="harness.tasks.token_tagging.runtime.TokenTaggingRuntime",
    report="harness.tasks.token_tagging.report.REPORT",
    tokens=True,
    texts=("tokens",),
)
