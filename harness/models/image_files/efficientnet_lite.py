"""EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite variant of 2020): no squeeze-excitation, ReLU6.

transformers has EfficientNet without the Lite variant. The module is registered with transformers, so it is loaded,
saved and adapted as its models are.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndNoAttention

from harness.models.image_files.image_architectures import EFFICIENTNET_LITE

# (repeats, kernel, stride of the first, expansion, channels) of each stage of Lite0.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
EPSILON = 1e-3  # of the batch normalizations, as in the original


class EfficientNetLiteConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # transformers gives no types
    """Widths of the network; the defaults are those of Lite0.

    Args:
        stem: channels after the first convolution.
        stages: see `STAGES`.
        hidden_size: channels of the last feature map, the size of the pooled vector.
    """

    model_type = EFFICIENTNET_LITE

    def __init__(self, stem: int = 32, stages: Any = STAGES, hidden_size: int = 1280, **others: Any) -> None:
        self.stem = stem
        self.stages = [list(stage) for stage in stages]
        self.hidden_size = hidden_size
        self.num_hidden_layers = sum(stage[0] for stage in self.stages)
        super().__init__(**{key: value for key, value in others.items() if key != "num_hidden_layers"})


class InvertedResidual(nn.Module):
    """An inverted residual block (MBConv): expansion, depthwise convolution, projection.

    Args:
        inputs, outputs: channels.
        kernel, stride: of the depthwise convolution.
        expansion: factor of the channels within.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.stride, self.residual = stride, stride == 1 and inputs == outputs
        if expansion != 1:
            self.expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(inner, eps=EPSILON)
        self.depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self.bn1 = nn.BatchNorm2d(inner, eps=EPSILON)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = images
        if hasattr(self, "expand_conv"):
            inner = functional.relu6(self.bn0(self.expand_conv(inner)))
        kernel = self.depthwise_conv.kernel_size[0]
        inner = functional.relu6(self.bn1(self.depthwise_conv(padded(inner, int(kernel), self.stride))))
        made: Tensor = self.bn2(self.project_conv(inner))
        return made + images if self.residual else made


class EfficientNetLiteModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # as above
    """The network up to its last feature map, and the mean over that."""

    config_class = EfficientNetLiteConfig
    base_model_prefix = "efficientnet"
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.conv_stem = nn.Conv2d(3, config.stem, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(config.stem, eps=EPSILON)
        blocks, inputs = [], config.stem
        for repeats, kernel, stride, expansion, outputs in config.stages:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv_head: nn.Module | None = nn.Conv2d(inputs, config.hidden_size, 1, bias=False)
        self.bn1: Any = nn.BatchNorm2d(config.hidden_size, eps=EPSILON)
        self.post_init()  # type: ignore[no-untyped-call]  # as above

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = False, **others: Any
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """Return the last feature map (n, d, h, w) and its mean over positions (n, d), of images (n, 3, H, W).

        With `output_hidden_states` also the map before the first block, and those after each block.
        """
        hidden = functional.relu6(self.bn0(self.conv_stem(padded(pixel_values, 3, 2))))
        states = [hidden]
        for block in self.blocks:
            hidden = block(hidden)
            states.append(hidden)
        if self.conv_head is not None:
            hidden = functional.relu6(self.bn1(self.conv_head(hidden)))
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=hidden, pooler_output=hidden.mean((2, 3)),
            hidden_states=tuple(states) if output_hidden_states else None,
        )  # fmt: skip

    def end_after(self, block: int) -> None:
        """Remove the layers after a block, counted from 1: neither computed, nor trained, nor counted."""
        self.blocks = self.blocks[:block]
        self.conv_head, self.bn1 = None, None


def padded(images: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad images (n, c, h, w) as TensorFlow's SAME does: a stride divides their sides, rounded up."""
    sides = []
    for size in (images.shape[-1], images.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return functional.pad(images, sides) if any(sides) else images


AutoConfig.register(EFFICIENTNET_LITE, EfficientNetLiteConfig, exist_ok=True)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
