"""ONNX files by torch's exporter, and their 8-bit form."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.export.formats import Format, Original, Outputs
from harness.models.image_files.image_pooling import PIXELS
from harness.models.language.token_network import TokenNetwork
from harness.models.loading import brief
from harness.models.vision.image_model import ImageModel

FILE, INT8 = "model.onnx", "model.int8.onnx"
OPSET = 20


class OnnxFormat(Format):
    """The whole network in one ONNX file: token ids to outputs, any number of rows and tokens.

    Args:
        int8: whether the weights of linear layers are rounded to 8 bits, and activations while it computes.
    """

    name = "onnx"
    loads = "ONNX Runtime, and what else reads ONNX"

    def __init__(self, int8: bool = False) -> None:
        self.int8 = int8

    def obstacle(self, original: Original) -> str | None:
        """See `Format`."""
        if original.writes:
            return "it writes texts, token by token, which one pass of an ONNX file does not"
        family = original.family
        if family.reads == "sound":
            return "it computes sounds of each length apart, which one file does not"
        if family.locates:
            return "ONNX files are written of models with one vector for each image"
        return "its base is quantized" if original.facts["model"].get("quantize") else None

    def write(self, original: Original, directory: Path) -> None:
        """See `Format`."""
        whole = directory / FILE
        export_onnx(original.predictor, whole)
        if self.int8:
            quantize(whole, directory / INT8)
            whole.unlink()
            whole.with_name(f"{FILE}.data").unlink(missing_ok=True)

    def outputs(self, original: Original, directory: Path) -> Outputs:
        """Load the file with ONNX Runtime."""
        from harness.serving.exported import OnnxNetwork

        return OnnxNetwork(directory / (INT8 if self.int8 else FILE))


class _Logits(nn.Module):
    """A network with named inputs, as an ONNX file has them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Return the outputs (n, m)."""
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            batch["token_type_ids"] = token_type_ids
        outputs: Tensor = self.network(batch)
        return outputs


class _Pixels(nn.Module):
    """A network of images with a named input."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the outputs (n, m)."""
        outputs: Tensor = self.network({PIXELS: pixel_values})
        return outputs


class _TokenLogits(nn.Module):
    """A network that tags tokens: the outputs of all of them."""

    def __init__(self, network: TokenNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the outputs (n, length, m)."""
        hidden = self.network.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.network.apply_head(functional.normalize(hidden[:, -input_ids.shape[1] :], dim=-1))


def export_onnx(predictor: Any, file: Path) -> None:
    """Write a network as ONNX, by torch's exporter, with dynamic numbers of rows and tokens.

    Args:
        predictor: the model; its network is on the CPU.
        file: the file.

    Raises:
        HarnessError: packages are missing, or torch cannot export this architecture.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise HarnessError(f"ONNX files need {error.name}: pip install 'harness[export]'.") from None
    whole, inputs, shapes = _traced(predictor)
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                whole.eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=["outputs"],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None
            program.save(str(file))
    except Exception as error:
        raise HarnessError(
            f"torch cannot write this model as ONNX ({brief(error)[:200]}): export another format, such as merged."
        ) from error
    finally:
        noisy.setLevel(level)


def _traced(predictor: Any) -> tuple[nn.Module, dict[str, Tensor], Any]:
    """Return what is exported, example inputs by name, and which of their axes are dynamic."""
    axis = torch.export.Dim.DYNAMIC
    if isinstance(predictor.network, ImageModel):
        return _Pixels(predictor.network), {PIXELS: torch.zeros(2, *predictor.tokenizer.shape)}, ({0: axis},)
    encoded = predictor.tokenizer(["one text", "another, longer one"], padding=True, return_tensors="pt")
    names = ["input_ids", "attention_mask"]
    if predictor.pairs and "token_type_ids" in predictor.tokenizer.model_input_names:
        names.append("token_type_ids")
    tags = isinstance(predictor.network, TokenNetwork)
    whole = _TokenLogits(predictor.network) if tags else _Logits(predictor.network)
    return whole, {name: encoded[name] for name in names}, tuple({0: axis, 1: axis} for _ in names)


def quantize(source: Path, target: Path) -> None:
    """Round the weights of an ONNX file's matrix products to 8 bits, each output channel with a scale of its own."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            source, target, weight_type=QuantType.QInt8, per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"], extra_options={"DefaultTensorType": 1},
        )  # fmt: skip
    finally:
        logging.getLogger().setLevel(quiet)
