"""Audio classification: a class for each sound, from folders, tables of paths or a hub data set."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="audio_classification",
    kinds={
        "audio_classification": TaskKind("harness.tasks.audio_classification.task.AudioClassification"),
        "demo_sounds": TaskKind("harness.tasks.audio_classification.demo.DemoSounds"),
        "spoken_digits": TaskKind("harness.tasks.audio_classification.spoken_digits.SpokenDigits"),
    },
    metrics="harness.tasks.text_classification.metrics.METRICS",
    runtime="harness.tasks.audio_classification.runtime.AudioClassificationRuntime",
    report="harness.tasks.audio_classification.report.REPORT",
    inapplicable={
        "train.fgm": (0.0, "it perturbs the embeddings of tokens"),
        "train.neftune": (0.0, "it perturbs the embeddings of tokens"),
    },
    texts=("audio", "clip"),
    reads="sound",
    example="harness.tasks.audio_classification.serving.example_sound",
)
