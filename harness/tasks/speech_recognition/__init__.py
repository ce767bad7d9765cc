"""Speech recognition: the text of what is said in each sound, by Whisper or by models of CTC."""

from harness.api.family import TaskFamily, TaskKind

FAMILY = TaskFamily(
    name="speech_recognition",
    kinds={
        "speech_recognition": TaskKind("harness.tasks.speech_recognition.task.SpeechRecognition"),
        "demo_speech": TaskKind("harness.tasks.speech_recognition.demo.DemoSpeech"),
        "digit_strings": TaskKind("harness.tasks.speech_recognition.digit_strings.DigitStrings"),
    },
    metrics="harness.tasks.speech_recognition.metrics.METRICS",
    runtime="harness.tasks.speech_recognition.runtime.SpeechRecognitionRuntime",
    report="harness.tasks.speech_recognition.report.REPORT",
    inapplicable={
        "train.r_drop": (0.0, "it compares two predictions of a class"),
        "train.fgm": (0.0, "it perturbs the embeddings of tokens"),
        "train.neftune": (0.0, "it perturbs the embeddings of tokens"),
        "train.label_smoothing": (0.0, "the loss of CTC sums over alignments and has no target to smooth"),
    },
    unused=("train.head_lr", "train.head_init", "train.head_probe_c", "model.pooling", "model.layer"),
    writes=True,
    texts=("audio", "clip", "prediction", "label", "alignment"),
    reads="sound",
    example="harness.tasks.audio_classification.serving.example_sound",
)
