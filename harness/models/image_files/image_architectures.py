"""Which architectures read images. Imports no torch: the coordinator judges a model by its files."""

from __future__ import annotations

from pathlib import Path

EFFICIENTNET_LITE = "efficientnet_lite"  # model_type of the program's own module, see `efficientnet_lite`
PROCESSOR = "preprocessor_config.json"  # how a model's images are resized and normalized, as transformers writes it
TWO_TOWERS = ("clip", "siglip")  # a text and an image encoder in one file; the image encoder is used

# By transformers' model_type. Those in the first tuple put a class token, and perhaps registers, before the patches.
CLASS_TOKEN = (
    "beit", "clip", "clip_vision_model", "data2vec-vision", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit",
    "vit", "vit_mae", "vit_msn",
)  # fmt: skip
_OTHERS = (
    "bit", "convnext", "convnextv2", "dinov3_convnext", "efficientnet", "focalnet", "hgnet_v2", "hiera", "ijepa",
    "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "poolformer", "pvt_v2", "regnet", "resnet",
    "siglip", "siglip_vision_model", "swiftformer", "swin", "swinv2", EFFICIENTNET_LITE,
)  # fmt: skip
BOXES = "boxes"  # set as `pooling` by families that find objects: by an own head, or a head on feature maps
# Those that find objects by themselves: transformers has a model of each with a head and a loss for boxes.
DETECTORS = (
    "conditional_detr", "d_fine", "dab-detr", "deformable_detr", "detr", "rt_detr", "rt_detr_v2", "table-transformer",
    "yolos",
)  # fmt: skip
IMAGE_ARCHITECTURES = frozenset((*CLASS_TOKEN, *_OTHERS, *DETECTORS))


def reads_images(architecture: str | None, path: Path) -> bool:
    """Return whether a model reads images.

    Args:
        architecture: the `model_type` of its config.json; None for a directory of a saved model, which has none.
        path: its directory.
    """
    return architecture in IMAGE_ARCHITECTURES or (architecture is None and (path / PROCESSOR).is_file())
