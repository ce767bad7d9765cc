"""The built-in demo of retrieval: customers' questions and the help article that answers each; needs no download.

Questions are the messages of the text classification demo without wrong labels, and every intent has one article, in
other words than the customers'. Some articles answer no question.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from harness.data.readers.rows import SPLITS
from harness.errors import Problems
from harness.tasks.retrieval.task import Found, RetrievalTask
from harness.tasks.text_classification.demo import DemoTask


@dataclass(kw_only=True)
class DemoRetrieval(RetrievalTask):
    """Generated questions. The same fields give the same rows on every machine and Python version."""

    train_per_article: int = 20  # questions of an article
    validation_per_article: int = 8
    test_per_article: int = 20
    data_seed: int = 0

    def check(self, problems: Problems) -> None:
        """Report every invalid field."""
        super().check(problems)
        for split in SPLITS:
            value = getattr(self, f"{split}_per_article")
            holds = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2000
            problems.check(holds, f"task.{split}_per_article must be a whole number from 1 to 2000, not {value!r}.")
        problems.check(
            isinstance(self.data_seed, int) and not isinstance(self.data_seed, bool),
            f"task.data_seed must be a whole number, not {self.data_seed!r}.",
        )

    def read(self) -> Found:
        """Generate the three splits."""
        material = yaml.safe_load(Path(__file__).with_name("help_articles.yaml").read_text(encoding="utf-8"))
        sizes = {f"{split}_per_class": getattr(self, f"{split}_per_article") for split in SPLITS}
        messages = DemoTask(
            name=self.name, data_seed=self.data_seed, train_label_noise=0.0, test_label_noise=0.0, **sizes
        )
        frames, source = messages.read()
        collection = dict(material["articles"])
        collection |= {f"other_{number}": text for number, text in enumerate(material["others"], 1)}
        return {split: _rows(frame) for split, frame in frames.items()}, collection, source


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    passages = pd.Series([(label,) for label in frame["label"]], index=frame.index, dtype="object")
    nothing = pd.Series([()] * len(frame), index=frame.index, dtype="object")
    return pd.DataFrame(
        {"text": frame["text"], "passages": passages, "negatives": nothing, "gain": 1.0, "id": frame["id"]}
    )
