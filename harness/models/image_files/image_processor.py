"""How a model's images are resized and normalized: PIL-based image processors of transformers, without torchvision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.models.image_files.image_architectures import PROCESSOR

Pixels = npt.NDArray[np.uint8]
FALLBACK = "ViTImageProcessorPil"  # for architectures without a processor of their own: resize, rescale, normalize


class ImageProcessor:
    """A processor of transformers, in two steps: bytes that are cached, and their normalization in each batch.

    It stands where a model for texts has its tokenizer.

    Args:
        settings: as in preprocessor_config.json.
        architecture: model_type that selects the class if the settings name none.
    """

    pad_token_id: int | None = None
    model_max_length = 1  # one image a row

    def __init__(self, settings: Mapping[str, Any], architecture: str | None) -> None:
        self._processor = _class_of(settings, architecture)(**_without_type(settings))

    @property
    def key(self) -> str:
        """What the bytes depend on besides the images: all settings, as JSON."""
        return json.dumps(self._settings(), sort_keys=True, default=str)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image for the model: (3, height, width)."""
        return tuple(int(size) for size in self.pixels([_probe()]).shape[1:])

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of what it makes of a square image."""
        from PIL import Image

        made = self.pixels([Image.new("RGB", (64, 64))])
        return int(made.shape[2]), int(made.shape[3])

    @property
    def mean(self) -> tuple[float, ...]:
        """Subtracted from each channel, of values in [0, 1]."""
        return self._statistics("image_mean", 0.0)

    @property
    def std(self) -> tuple[float, ...]:
        """What each channel is divided by."""
        return self._statistics("image_std", 1.0)

    def pixels(self, images: Sequence[Any]) -> Pixels:
        """Resize and crop n RGB images of PIL: (n, 3, height, width)."""
        made = self._processor(
            images=list(images), do_normalize=False, do_rescale=False, return_tensors="np", input_data_format=None
        )
        values = np.asarray(made["pixel_values"])
        return np.clip(np.rint(values), 0, 255).astype(np.uint8) if values.dtype != np.uint8 else values

    def save_pretrained(self, directory: str) -> None:
        """Write preprocessor_config.json."""
        text = json.dumps(self._settings(), indent=2, sort_keys=True, default=str) + "\n"
        (Path(directory) / PROCESSOR).write_text(text, encoding="utf-8")

    def _settings(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._processor.to_json_string())
        return found

    def _statistics(self, name: str, default: float) -> tuple[float, ...]:
        if not getattr(self._processor, "do_normalize", True):
            return (default,) * 3
        given = getattr(self._processor, name, None)
        return (default,) * 3 if given is None else tuple(map(float, given))


def load_processor(path: Path, source: str, architecture: str | None, own: Mapping[str, Any]) -> ImageProcessor:
    """Load the image processor of a model.

    Args:
        path: the model's directory.
        source: of the model, for messages.
        architecture: its model_type.
        own: what the model's YAML says in place of its files: image_size, image_mean, image_std.

    Raises:
        HarnessError: neither the files nor the YAML say how images are resized, or the settings do not fit.
    """
    file = path / PROCESSOR
    try:
        settings = dict[str, Any](json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"{file} cannot be read ({error}): fetch or save the model again.") from None
    if not settings and not own.get("image_size"):
        raise HarnessError(
            f"The model at {path} ({source}) has no {PROCESSOR}, which says how its images are resized and normalized. "
            "Fetch it with the model, or set model.image_size=224 (and model.image_mean, model.image_std) as it was "
            "trained."
        )
    if not settings:  # resized to a square, whatever the architecture's usual processor crops
        settings = {"image_processor_type": FALLBACK.removesuffix("Pil")}
    settings |= _resized(settings, own)
    try:
        processor = ImageProcessor(settings, architecture)
        probe = processor.pixels([_probe()])
    except Exception as error:  # noqa: BLE001 -- processors raise errors of several kinds for settings that do not fit
        raise HarnessError(
            f"The image processor of the model at {path} ({source}) does not work: {error}. Correct {PROCESSOR}, or "
            "model.image_size, image_mean and image_std."
        ) from None
    if probe.ndim != 4 or probe.shape[1] != 3:
        raise HarnessError(
            f"The image processor of the model at {path} ({source}) gives arrays of shape {probe.shape[1:]}, and "
            "(3, height, width) is needed: it is of a model that reads more than one picture a row."
        )
    return processor


def _resized(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the YAML changes."""
    changed: dict[str, Any] = {name: list(own[name]) for name in ("image_mean", "image_std") if own.get(name)}
    if changed:
        changed["do_normalize"] = True
    if size := own.get("image_size"):
        square = {"height": int(size), "width": int(size)}
        short = {"shortest_edge": int(size)}
        kept = settings.get("size")
        changed["size"] = short if isinstance(kept, dict) and "shortest_edge" in kept else square
        if settings.get("crop_size") or settings.get("do_center_crop"):
            changed["crop_size"] = square
    return changed


def _class_of(settings: Mapping[str, Any], architecture: str | None) -> Any:
    """Return the PIL-based class of transformers that the settings, or else the architecture, name."""
    import transformers
    from transformers.models.auto import image_processing_auto

    named = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    table: Any = getattr(image_processing_auto, "IMAGE_PROCESSOR_MAPPING_NAMES", {})  # no public name, may go
    listed: Any = table.get(str(architecture))
    wanted = str(named or (listed or {}).get("pil") or FALLBACK)
    base = wanted.removesuffix("Pil").removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    # By the name of the class, so that nothing asks for torchvision; some classes exist only with it.
    return getattr(transformers, f"{base}Pil", None) or getattr(transformers, FALLBACK)


def _without_type(settings: Mapping[str, Any]) -> dict[str, Any]:
    left = ("image_processor_type", "feature_extractor_type", "processor_class", "_processor_class", "data_format")
    return {key: value for key, value in settings.items() if key not in left}


def _probe() -> Any:
    from PIL import Image

    return Image.new("RGB", (37, 29), (120, 60, 30))
