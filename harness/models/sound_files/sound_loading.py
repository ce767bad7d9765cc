"""Which class of transformers loads a model that reads sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.sound_files.sound_architectures import TRANSCRIBES, WHISPER


def sound_kind(path: Path, pooling: str, what: str) -> Any:
    """Return the class that loads a model's encoder, or the whole model if it transcribes.

    Args:
        path: the model's directory.
        pooling: `language` if it transcribes; all others, see `PretrainedModel`, use the same class.
        what: name of the model in messages.

    Raises:
        HarnessError: it is to transcribe, and its architecture does not.
    """
    from transformers import MODEL_FOR_CTC_MAPPING, AutoConfig, AutoModel, AutoModelForCTC

    from harness.models.sound_files.whisper_encoder import WhisperSoundEncoder
    from harness.models.sound_files.whisper_recognizer import WhisperRecognizer

    config = AutoConfig.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
    if pooling == TRANSCRIBES:
        if config.model_type == WHISPER:
            return WhisperRecognizer
        if type(config) in MODEL_FOR_CTC_MAPPING:
            return AutoModelForCTC
        raise HarnessError(
            f"{what} writes no texts: transformers has no recognizer of speech of {config.model_type}. Name Whisper, "
            "or a model tuned by CTC such as facebook/wav2vec2-base-960h."
        )
    return WhisperSoundEncoder if config.model_type == WHISPER else AutoModel


def sound_options(kind: Any) -> dict[str, Any]:
    """Return further arguments of `from_pretrained` for a class that `sound_kind` returned."""
    from harness.models.sound_files.whisper_encoder import KEYS, WhisperSoundEncoder

    return {"key_mapping": KEYS} if kind is WhisperSoundEncoder else {}


def without_decoder(info: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' report of a load without the tensors of a decoder, which is not loaded on purpose."""
    from harness.models.sound_files.whisper_encoder import DECODER

    unused = [name for name in info["unexpected_keys"] if not str(name).startswith(DECODER)]
    return {**info, "unexpected_keys": unused}


def without_masking(backbone: Any) -> None:
    """Turn off what the architectures change at random in training besides dropout: masked spans and skipped blocks.

    Masks are drawn by NumPy's global generator, which a run does not seed, so results would not repeat. Dropout, and
    the regularization of `train`, are the same for all methods.
    """
    for name in ("apply_spec_augment",):
        if hasattr(backbone.config, name):
            setattr(backbone.config, name, False)
    for module in backbone.modules():
        if isinstance(getattr(module, "layerdrop", None), float):
            module.layerdrop = 0.0
    for name in ("layerdrop", "encoder_layerdrop"):
        if hasattr(backbone.config, name):
            setattr(backbone.config, name, 0.0)
