"""Studies of texts on a tiny Llama, as processes that can be killed."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import tiny_writers
from tests.helpers.tiny_writers import WORDS


def overrides(directory: Path) -> list[str]:
    """Write rows and a model into a directory; return the overrides that name them."""
    rows = directory / "texts.csv"
    lines = [f"{one} {other},{other}" for one in WORDS for other in WORDS[:4]]
    rows.write_text("\n".join(["prompt,completion", *lines]), encoding="utf-8")
    model = tiny_writers.saved(directory / "tiny", tiny_writers.decoder)
    return [
        "task=text_generation", f"task.path={rows}", "task.prompt=prompt", "task.completion=completion",
        "task.name=texts", "task.generate.max_new_tokens=4", "model=own", "model.name=tiny", f"model.path={model}",
        "device=cpu", "train.batch_size=4",
    ]  # fmt: skip


def write_texts(command: list[str], directory: Path) -> list[str]:
    """Return the command of a study of classes (`Study`) as that of a study of texts."""
    kept = [each for each in command if not each.startswith(("task", "model"))]
    place = kept.index("-m", kept.index("harness")) + 1
    return [*kept[:place], *overrides(directory), *kept[place:]]
