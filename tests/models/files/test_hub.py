"""What generation reads besides weights is part of a language model's digest, and is not missed in silence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.api.family import families
from harness.errors import HarnessError
from harness.models import pretrained
from harness.models.files.hub import not_fetched
from harness.models.pretrained import PretrainedModel
from tests.helpers import tiny_writers

Edit = Callable[[Path], Any]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny decoder."""
    return tiny_writers.saved(tmp_path_factory.mktemp("writer"), tiny_writers.decoder)


def digests(directory: Path, cache: Path, **fields: Any) -> tuple[str, str]:
    """The digests of a model as a classifier and as a writer."""
    model = PretrainedModel(name="mine", path=str(directory), **fields)
    return model.resolve(cache).digest, model.for_family(families()["text_generation"]).resolve(cache).digest


def setting(name: str, **values: Any) -> Edit:
    """Change a JSON file."""

    def edit(directory: Path) -> None:
        file = directory / name
        held = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(held | values))

    return edit


def text(name: str) -> Edit:
    """Write a template."""

    def edit(directory: Path) -> None:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("{{ messages[0]['content'] }}")

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        text("chat_template.jinja"), text("chat_template.json"), text("additional_chat_templates/tool_use.jinja"),
        setting("generation_config.json", eos_token_id=[1, 5]), setting("generation_config.json", suppress_tokens=[7]),
        setting("tokenizer_config.json", chat_template="{{ messages }}"),
        setting("tokenizer_config.json", pad_token="x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_writer_reads_is_in_its_digest(edit: Edit, pinned: bool, writer: Path, tmp_path: Path) -> None:
    """An edited template or setting is another model, also beside pinned weights."""
    directory = tmp_path / "model"
    directory.mkdir()
    for file in writer.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    pins = {"digests": {"config.json": "0" * 64}} if pinned else {}
    before = digests(directory, tmp_path, **pins)
    edit(directory)
    after = digests(directory, tmp_path, **pins)
    assert before[1] != after[1] and before[0] != before[1]
    setting("generation_config.json", transformers_version="9.9.9")(directory)
    assert digests(directory, tmp_path, **pins) == after


def test_a_snapshot_that_was_fetched_in_part(writer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hub a note names what a snapshot may lack; with one it is fetched, and what is not there is noted."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--me--writer"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    for file in writer.iterdir():
        if file.name not in ("generation_config.json", "chat_template.jinja"):
            (snapshot / file.name).write_bytes(file.read_bytes())
    model = PretrainedModel(name="mine", hub="me/writer").for_family(families()["text_generation"])
    assert not PretrainedModel(name="mine", hub="me/writer").resolve(tmp_path).notes
    (note,) = model.resolve(tmp_path).notes
    assert "has no generation_config.json and no chat_template.jinja" in note
    assert f"`hf download me/writer generation_config.json --revision {'a' * 40}`" in note

    def fetch(hub: str, revision: str | None, cached: str) -> Path:
        assert (hub, revision) == ("me/writer", "a" * 40)
        (snapshot / "generation_config.json").write_bytes((writer / "generation_config.json").read_bytes())
        return snapshot

    before = model.resolve(tmp_path).digest
    monkeypatch.setattr(pretrained, "from_hub", fetch)
    found = model.resolve(tmp_path)
    assert not found.notes and found.digest != before and not_fetched(snapshot) == []
    monkeypatch.setattr(pretrained, "from_hub", lambda *_: pytest.fail("asked again"))
    assert model.resolve(tmp_path).digest == found.digest


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 5\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("generation_config.json", LFS, "generation_config.json is a Git LFS pointer"),
        ("generation_config.json", "{broken", "generation_config.json is not JSON"),
        ("generation_config.json", "[1]", "holds no mapping of settings"),
        ("generation_config.json", '{"eos_token_id": [1, 99999]}', "eos_token_id 99999, which is no token"),
        ("generation_config.json", '{"eos_token_id": "end"}', "eos_token_id end, which is no token"),
        ("chat_template.jinja", LFS, "chat_template.jinja is a Git LFS pointer"),
    ],
)
def test_broken_files_that_generation_reads_are_told(
    name: str, content: str, says: str, writer: Path, tmp_path: Path
) -> None:
    """They would be passed over in silence, and the model write other texts; a classifier does not read them."""
    directory = tmp_path / "model"
    shutil.copytree(writer, directory)
    (directory / name).write_text(content)
    model = PretrainedModel(name="mine", path=str(directory))
    model.resolve(tmp_path)
    with pytest.raises(HarnessError, match=re.escape(says)):
        model.for_family(families()["text_generation"]).resolve(tmp_path)
