"""Paraphrases by a sequence-to-sequence model, or back-translations by two."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.augment.base import Augmentation, AugmentationContext, Generator
from harness.errors import HarnessError, Problems
from harness.models.files.digests import settings_digest
from harness.models.pretrained import PretrainedModel, ResolvedModel
from harness.records.files import write_json
from harness.records.signature import digest

FORMAT = 1  # of the cache files; increased when they or the generation change
CHUNK = 32  # texts generated and cached together; the most that is lost when a process is killed


@dataclass(kw_only=True)
class Paraphrase(Augmentation):
    """Paraphrases by any sequence-to-sequence model from the hub or disk; with a `back` model, back-translations.

    Back-translation as in Sennrich, Haddow and Birch 2016 (arXiv:1511.06709), sampled as Edunov et al. 2018
    (arXiv:1808.09381) recommend. `pool` versions of each text are generated once and cached; each run draws its copies
    from them by its seed.

    Attributes:
        hub, revision: of the model.
        path: a directory that holds it; takes precedence over `hub`.
        back_hub, back_revision, back_path: of the model that translates back; not set for paraphrases.
        prefix, back_prefix: prepended to each text, as many models require ("paraphrase: ").
        pool: versions of each text, at least `copies`.
        temperature, top_p: sampling parameters.
        max_new_tokens: longest version.
        generation_seed: sampling seed; independent of the run's, so that all runs share the versions.
    """

    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    back_hub: str | None = None
    back_revision: str | None = None
    back_path: str | None = None
    prefix: str = ""
    back_prefix: str = ""
    pool: int = 3
    temperature: float = 1.0
    top_p: float = 0.95
    max_new_tokens: int = 128
    generation_seed: int = 0
    _known: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)
    _models: list[str] = field(default_factory=list, init=False, repr=False)

    def check(self, problems: Problems) -> None:
        """Add a problem for every invalid field."""
        super().check(problems)
        at = f"augment.{self.name}"
        problems.check(
            bool(self.hub or self.path),
            f"{at} names no model: set {at}.hub=<owner/name of a sequence-to-sequence model> or {at}.path=<directory>.",
        )
        problems.check(
            self.pool >= self.copies,
            f"{at}.pool={self.pool} versions of a text cannot give {at}.copies={self.copies}: raise the pool.",
        )
        problems.check(self.temperature > 0, f"{at}.temperature must be above 0, not {self.temperature}.")
        problems.check(0 < self.top_p <= 1, f"{at}.top_p must lie in (0, 1], not {self.top_p}.")
        problems.check(self.max_new_tokens >= 1, f"{at}.max_new_tokens must be 1 or more, not {self.max_new_tokens}.")

    def ready(self, cache_dir: Path) -> list[str]:
        """Find the models and return their digests.

        Raises:
            HarnessError: a model is not reachable.
        """
        return [model.digest for model in self._resolve(cache_dir)]

    def prepare(self, texts: Sequence[str], around: AugmentationContext) -> Callable[[str, Generator], list[str]]:
        """Generate the versions that are neither in memory nor in the cache."""
        wanted = sorted({text for text in texts if text.strip()} - self._known.keys())
        if wanted:
            self._know(wanted, around)

        def draw(text: str, generator: Generator) -> list[str]:
            versions = self._known.get(text, [])
            return [versions[place] for place in generator.permutation(len(versions))[: self.copies]]

        return draw

    def facts(self) -> dict[str, Any]:
        """Return which models generated the versions."""
        return {"models": self._models}

    def _resolve(self, cache_dir: Path) -> list[ResolvedModel]:
        wanted = [("", self.hub, self.revision, self.path)]
        if self.back_hub or self.back_path:
            wanted.append(("back_", self.back_hub, self.back_revision, self.back_path))
        found = []
        for kind, hub, revision, path in wanted:
            try:
                model = PretrainedModel(name=self.name, hub=hub, revision=revision, path=path).resolve(cache_dir)
                found.append(replace(model, digest=settings_digest(model.digest, model.path)))
            except HarnessError as error:
                keys = f"augment.{self.name}.{kind}"
                raise HarnessError(f"{error} (For model.hub and model.path read {keys}hub and {keys}path.)") from None
        return found

    def _know(self, texts: list[str], around: AugmentationContext) -> None:
        from filelock import FileLock

        models = self._resolve(around.cache_dir)
        self._models = [model.source for model in models]
        settings = [self.prefix, self.back_prefix, self.pool, self.temperature, self.top_p, self.max_new_tokens]
        settings += [self.generation_seed, *(model.digest for model in models)]
        folder = around.cache_dir.expanduser() / "augment"
        loaded: list[Any] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Runs of a study start together: one generates, the others wait for its result instead of generating the
            # same.
            with FileLock(folder / f"{digest(settings)[:32]}.lock"):
                for start in range(0, len(texts), CHUNK):
                    chunk = texts[start : start + CHUNK]
                    key = digest([FORMAT, settings, chunk])
                    entry = folder / f"{key[:32]}.json"
                    versions, seconds = _read(entry, len(chunk))
                    if versions is None:
                        if not loaded:
                            around.say(f"Paraphrasing {len(texts)} texts with {', '.join(self._models)}, once.")
                        started = time.perf_counter()
                        loaded = loaded or [_load(model, around.device) for model in models]
                        versions = self._generate(chunk, loaded, int(key[:15], 16))
                        write_json(entry, {"seconds": time.perf_counter() - started, "versions": versions})
                    else:
                        around.charge(seconds)
                    self._known.update(zip(chunk, versions, strict=True))
        except OSError as error:
            raise HarnessError(
                f"Paraphrases cannot be cached in {folder}: {error.strerror or error}. Free space there, or "
                "set cache_dir=FOLDER."
            ) from error

    def _generate(self, texts: list[str], loaded: list[Any], seed: int) -> list[list[str]]:
        """Return `pool` versions of each text."""
        import torch

        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            said = self._say(loaded[0], [self.prefix + text for text in texts], self.pool)
            if len(loaded) > 1:
                said = self._say(loaded[1], [self.back_prefix + text for text in said], 1)
        return [said[start : start + self.pool] for start in range(0, len(said), self.pool)]

    def _say(self, loaded: Any, texts: list[str], each: int) -> list[str]:
        tokenizer, network = loaded
        inputs = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, return_token_type_ids=False)
        tokens = network.generate(
            **inputs.to(network.device),
            do_sample=True,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0,
            max_new_tokens=self.max_new_tokens,
            num_return_sequences=each,
        )
        return [" ".join(text.split()) for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def _load(resolved: ResolvedModel, device: str) -> Any:
    """Load tokenizer and network of a sequence-to-sequence model; weights are never unpickled."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers gives it no types
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(resolved.path), **options)
        network: Any = AutoModelForSeq2SeqLM.from_pretrained(str(resolved.path), use_safetensors=True, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise HarnessError(
            f"{resolved.source} cannot be loaded as a sequence-to-sequence model: {error} Models such as T5, BART, "
            "Pegasus and Marian are."
        ) from error
    return tokenizer, network.to(device).eval()


def _read(entry: Path, texts: int) -> tuple[list[list[str]] | None, float]:
    try:
        content = json.loads(entry.read_text(encoding="utf-8"))
        versions, seconds = content["versions"], float(content["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0.0
    return (versions, seconds) if len(versions) == texts else (None, 0.0)
