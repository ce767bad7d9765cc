"""Another winner takes a model's place while requests are answered; what cannot take it is told, and it stays."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.serve.live.reloading import Reloader
from harness.serve.loaded import Loaded
from harness.serve.loading import Source
from tests.serve.conftest import Serve


@dataclass(frozen=True)
class Answering:
    """A predictor whose answers tell which one it is: one class has all probability."""

    inner: Any
    place: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def predictions(self, texts: list[str], pairs: list[str] | None = None) -> Any:
        found = self.inner.predictions(texts, pairs)
        found[:] = 0
        found[:, self.place] = 1
        return found


@pytest.mark.parametrize(("family", "key"), [("token_tagging", "tags"), ("object_detection", "classes")])
def test_other_tags_and_objects_are_other_classes(family: str, key: str, tmp_path: Path) -> None:
    """Models that find something have no labels; what they find must stay the same."""
    predictor: Any = SimpleNamespace(labels=(), pairs=False)
    one, other = (Loaded(predictor, "torch", {"family": family, key: names}) for names in (["A", "B"], ["A", "C"]))
    assert one.output_names == ("A", "B")
    service: Any = SimpleNamespace(models={"m": one}, precision=None)
    reloader = Reloader(service, [], lambda _: tmp_path, lambda _: other, lambda _: None)
    with pytest.raises(HarnessError, match="other classes"):
        reloader._loaded("m", tmp_path)


def test_winner_is_replaced(serve: Serve, loaded: Loaded, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Under load every answer is of the old or of the new model; then only of the new one."""
    caplog.set_level("WARNING", "harness.serve")
    folders = {name: tmp_path / name for name in ("old", "new", "other classes", "broken", "unsure")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "harness.json").write_text("{}")
    old, new = (replace(loaded, predictor=Answering(loaded.predictor, place)) for place in (0, 1))
    other = replace(loaded, predictor=Answering(loaded.predictor, 2))
    object.__setattr__(other.predictor, "labels", ("x", "y", "z"))
    now, said = ["old"], list[str]()

    def load(folder: Path) -> Loaded:
        if folder.name == "broken":
            raise HarnessError("It is incomplete.")
        if folder.name == "unsure":
            raise RuntimeError("a secret")
        return {"new": new, "other classes": other}[folder.name]

    with serve({"m": old}) as running:
        reloader = Reloader(
            running.service, [Source("m", "study", folders["old"])], lambda _: folders[now[0]], load, said.append
        )

        def answer(_: int = 0) -> str:
            (found,) = running.post("/predict", {"text": "my parcel is late"}).json()["predictions"]
            return str(found["prediction"])

        asyncio.run(reloader.look())
        assert answer() == loaded.labels[0] and not said
        now[0] = "new"
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(answer, range(60))
            asyncio.run(reloader.look())
            assert set(answers) <= set(loaded.labels[:2])
        assert answer() == loaded.labels[1]
        assert len(said) == 1 and said[0].startswith("m: now linear_probe on minilm")
        for name, message in (
            ("other classes", "other classes or inputs"),
            ("broken", "It is incomplete."),
            ("unsure", "RuntimeError"),
        ):
            now[0] = name
            asyncio.run(reloader.look())
            asyncio.run(reloader.look())  # told once
            assert answer() == loaded.labels[1]
            assert caplog.text.count(message) == 1, caplog.text
        assert "a secret" not in caplog.text and len(said) == 1
        now[0] = "new"  # a folder that was written again counts as another
        shutil.copy(folders["old"] / "harness.json", folders["new"] / "harness.json")
        asyncio.run(reloader.look())
        assert len(said) == 2
