"""Image classification: a class for each image, from folders, tables of paths, arrays or a hub data set."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="image_classification",
    kinds={
        "image_classification": TaskKind("harness.tasks.image_classification.task.ImageClassification"),
        "cropped_objects": TaskKind("harness.tasks.image_classification.cropped_objects.CroppedObjects"),
        "demo_images": TaskKind("harness.tasks.image_classification.demo.DemoImages"),
        "digits": TaskKind("harness.tasks.image_classification.digits.Digits"),
    },
    metrics="harness.tasks.text_classification.metrics.METRICS",
    runtime="harness.tasks.image_classification.runtime.ImageClassificationRuntime",
    report="harness.tasks.image_classification.report.REPORT",
    inapplicable={"train.fgm": (0.0, "it perturbs the embeddings of tokens")},
    texts=("image", "thumbnail"),
    reads="image",
    example="harness.tasks.image_classification.serving.example_image",
)
