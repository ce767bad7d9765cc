"""Object detection: boxes with a class around the objects of an image, from COCO JSON or Pascal VOC XML."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="object_detection",
    kinds={
        "object_detection": TaskKind("harness.tasks.object_detection.task.ObjectDetection"),
        "demo_detection": TaskKind("harness.tasks.object_detection.demo.DemoDetection"),
    },
    metrics="harness.tasks.object_detection.metrics.METRICS",
    runtime="harness.tasks.object_detection.runtime.ObjectDetectionRuntime",
    report="harness.tasks.object_detection.report.REPORT",
    inapplicable={
        "train.fgm": (0.0, "it perturbs the embeddings of tokens"),
        "train.neftune": (0.0, "it perturbs the embeddings of tokens"),
        "train.label_smoothing": (0.0, "it moves probability between the classes of a row, and an image has many"),
        "train.r_drop": (0.0, "it compares the distributions of two passes, and boxes have none"),
        "train.packing": (False, "it joins texts"),
    },
    unused=("train.head_init", "train.head_probe_c"),
    texts=("image", "thumbnail"),
    reads="image",
    locates=True,
    example="harness.tasks.object_detection.serving.example_image",
)
