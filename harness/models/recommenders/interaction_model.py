"""The model of recommenders in a configuration: none that is pretrained. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.models.pretrained import CONFIG, INTERACTIONS, PretrainedModel, ResolvedModel
from harness.records.signature import digest


@dataclass(kw_only=True)
class InteractionModel(PretrainedModel):
    """Stands where other tasks have a pretrained model; all that is learned is in the method's parameters."""

    def __post_init__(self) -> None:
        """Refuse sources of weights."""
        self.digests = self.digests or {}
        if given := [key for key in ("hub", "path", "bundled", "quantize") if getattr(self, key)]:
            raise HarnessError(
                f"model={self.name} reads no weights, so model.{given[0]} has no meaning for it: leave it null."
            )

    def _find(self, cache_dir: str | Path) -> ResolvedModel:
        """Return a directory that says only what it is; see `PretrainedModel`."""
        directory = Path(cache_dir).expanduser() / INTERACTIONS
        file, text = directory / CONFIG, json.dumps({"model_type": INTERACTIONS}) + "\n"
        if not file.is_file():
            try:
                directory.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            except OSError as error:
                raise HarnessError(
                    f"{directory} cannot be written ({error.strerror or error}): set cache_dir=FOLDER."
                ) from error
        return ResolvedModel(directory, digest([INTERACTIONS, 1]), "no pretrained weights")
