"""Recommendation: the items that a user turns to next, from interactions of users with items."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="recommendation",
    kinds={
        "recommendation": TaskKind("harness.tasks.recommendation.task.Recommendation"),
        "demo_ratings": TaskKind("harness.tasks.recommendation.demo.DemoRatings"),
    },
    metrics="harness.tasks.recommendation.metrics.METRICS",
    runtime="harness.tasks.recommendation.runtime.RecommendationRuntime",
    report="harness.tasks.recommendation.report.REPORT",
    inapplicable={
        "train.fgm": (0.0, "it perturbs the embeddings of tokens"),
        "train.neftune": (0.0, "it perturbs the embeddings of tokens"),
        "train.mixout": (0.0, "it mixes trained with pretrained weights, and there are none"),
        "train.packing": (False, "histories are one sequence a row"),
    },
    unused=("train.lr",),
    texts=("user", "history", "target", "top"),
    reads="interaction",
    example="harness.tasks.recommendation.serving.example_history",
)
