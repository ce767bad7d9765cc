"""The roles of layers in each architecture, such as `attention`, by which an adapter can select them.

The names are those of transformers' implementations, matched as in PEFT: a layer's full name ends in `.` and the name.
An architecture that is not listed can still be adapted by the names of its layers (method.config.target_modules).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, nearest

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Layers:
    """Suffixes of module names by role.

    A role is empty where an architecture has no such layers.

    Attributes:
        query_value: the projections that LoRA's paper adapts; the fused projection if the architecture has one.
        key_value: keys and values, or the fused projection.
        value: values, or the fused projection.
        attention: all projections of the attention block, including its output.
        feedforward: all linear layers of the feed-forward block.
        feedforward_output: the last linear layer of the feed-forward block.
        norms: normalization layers inside the blocks.
        blocks: path of the list of blocks in the backbone.
        embedding: path of the token embedding.
    """

    query_value: tuple[str, ...]
    key_value: tuple[str, ...]
    value: tuple[str, ...]
    attention: tuple[str, ...]
    feedforward: tuple[str, ...]
    feedforward_output: tuple[str, ...]
    norms: tuple[str, ...]
    blocks: str
    embedding: str

    @property
    def all_linear(self) -> tuple[str, ...]:
        """All linear layers of a block."""
        return self.attention + self.feedforward


_BERT = Layers(
    query_value=("query", "value"),
    key_value=("key", "value"),
    value=("value",),
    attention=("query", "key", "value", "attention.output.dense"),
    feedforward=("intermediate.dense", "output.dense"),
    feedforward_output=("output.dense",),
    norms=("LayerNorm",),
    blocks="encoder.layer",
    embedding="embeddings.word_embeddings",
)
_DECODER = Layers(
    query_value=("q_proj", "v_proj"),
    key_value=("k_proj", "v_proj"),
    value=("v_proj",),
    attention=("q_proj", "k_proj", "v_proj", "o_proj"),
    feedforward=("gate_proj", "up_proj", "down_proj"),
    feedforward_output=("down_proj",),
    norms=("input_layernorm", "post_attention_layernorm"),
    blocks="layers",
    embedding="embed_tokens",
)
_DEBERTA = replace(
    _BERT,
    query_value=("query_proj", "value_proj"),
    key_value=("key_proj", "value_proj"),
    value=("value_proj",),
    attention=("query_proj", "key_proj", "value_proj", "attention.output.dense"),
)
_GEMMA = replace(
    _DECODER,
    norms=("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
)
_T5 = Layers(
    query_value=("SelfAttention.q", "SelfAttention.v"),
    key_value=("SelfAttention.k", "SelfAttention.v"),
    value=("SelfAttention.v",),
    attention=("SelfAttention.q", "SelfAttention.k", "SelfAttention.v", "SelfAttention.o"),
    feedforward=("wi", "wi_0", "wi_1", "wo"),
    feedforward_output=("wo",),
    norms=("layer_norm",),
    blocks="encoder.block",
    embedding="shared",
)
_BART = Layers(
    query_value=("q_proj", "v_proj"),
    key_value=("k_proj", "v_proj"),
    value=("v_proj",),
    attention=("q_proj", "k_proj", "v_proj", "out_proj"),
    feedforward=("fc1", "fc2"),
    feedforward_output=("fc2",),
    norms=("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
    blocks="decoder.layers",
    embedding="shared",
)

_VIT = Layers(
    query_value=("q_proj", "v_proj"),
    key_value=("k_proj", "v_proj"),
    value=("v_proj",),
    attention=("q_proj", "k_proj", "v_proj", "o_proj"),
    feedforward=("fc1", "fc2"),
    feedforward_output=("fc2",),
    norms=("layernorm_before", "layernorm_after"),
    blocks="layers",
    embedding="embeddings.patch_embeddings",
)
_DINO = replace(_VIT, norms=("norm1", "norm2"), blocks="encoder.layer")
_TOWER = replace(
    _VIT,
    # In full, because the pooling of SigLIP has an attention of its own.
    query_value=("self_attn.q_proj", "self_attn.v_proj"),
    key_value=("self_attn.k_proj", "self_attn.v_proj"),
    value=("self_attn.v_proj",),
    attention=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"),
    norms=("layer_norm1", "layer_norm2"),
    blocks="encoder.layers",
    embedding="embeddings.patch_embedding",
)
_WAVEFORM = replace(
    _TOWER,
    query_value=("attention.q_proj", "attention.v_proj"),
    key_value=("attention.k_proj", "attention.v_proj"),
    value=("attention.v_proj",),
    attention=("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj"),
    feedforward=("intermediate_dense", "output_dense"),
    feedforward_output=("output_dense",),
    norms=("layer_norm", "final_layer_norm"),
    embedding="feature_projection.projection",
)
# Convolutional networks have no attention; what mixes channels takes the part of the feed-forward layers.
_CONVOLUTIONS = Layers(
    query_value=(),
    key_value=(),
    value=(),
    attention=(),
    feedforward=("pwconv1", "pwconv2"),
    feedforward_output=("pwconv2",),
    norms=("layernorm",),
    blocks="encoder.stages",
    embedding="embeddings.patch_embeddings",
)

ARCHITECTURES: dict[str, Layers] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "camembert": _BERT,
    "deberta": replace(
        _DEBERTA,
        query_value=("in_proj",),
        key_value=("in_proj",),
        value=("in_proj",),
        attention=("in_proj", "attention.output.dense"),
    ),
    "deberta-v2": _DEBERTA,
    "mpnet": replace(
        _BERT,
        query_value=("attn.q", "attn.v"),
        key_value=("attn.k", "attn.v"),
        value=("attn.v",),
        attention=("attn.q", "attn.k", "attn.v", "attn.o"),
    ),
    "distilbert": Layers(
        query_value=("q_lin", "v_lin"),
        key_value=("k_lin", "v_lin"),
        value=("v_lin",),
        attention=("q_lin", "k_lin", "v_lin", "out_lin"),
        feedforward=("lin1", "lin2"),
        feedforward_output=("lin2",),
        norms=("sa_layer_norm", "output_layer_norm"),
        blocks="transformer.layer",
        embedding="embeddings.word_embeddings",
    ),
    "albert": Layers(
        query_value=("query", "value"),
        key_value=("key", "value"),
        value=("value",),
        attention=("query", "key", "value", "attention.dense"),
        feedforward=("ffn", "ffn_output"),
        feedforward_output=("ffn_output",),
        norms=("LayerNorm", "full_layer_layer_norm"),
        blocks="encoder.albert_layer_groups",
        embedding="embeddings.word_embeddings",
    ),
    "modernbert": Layers(
        query_value=("Wqkv",),
        key_value=("Wqkv",),
        value=("Wqkv",),
        attention=("Wqkv", "attn.Wo"),
        feedforward=("mlp.Wi", "mlp.Wo"),
        feedforward_output=("mlp.Wo",),
        norms=("attn_norm", "mlp_norm"),
        blocks="layers",
        embedding="embeddings.tok_embeddings",
    ),
    "gpt2": Layers(
        query_value=("c_attn",),
        key_value=("c_attn",),
        value=("c_attn",),
        attention=("c_attn", "attn.c_proj"),
        feedforward=("c_fc", "mlp.c_proj"),
        feedforward_output=("mlp.c_proj",),
        norms=("ln_1", "ln_2"),
        blocks="h",
        embedding="wte",
    ),
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "gemma": _DECODER,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi3": replace(
        _DECODER,
        query_value=("qkv_proj",),
        key_value=("qkv_proj",),
        value=("qkv_proj",),
        attention=("qkv_proj", "o_proj"),
        feedforward=("gate_up_proj", "down_proj"),
    ),
    "t5": _T5,
    "mt5": _T5,
    "bart": _BART,
    "marian": _BART,
    "vit": _VIT,
    "dinov2": _DINO,
    "dinov2_with_registers": _DINO,
    "dinov3_vit": replace(
        _DINO,
        feedforward=("up_proj", "down_proj"),
        feedforward_output=("down_proj",),
        blocks="layer",  # its `base_model` is the encoder
    ),
    "siglip_vision_model": _TOWER,
    "clip_vision_model": _TOWER,
    "whisper": replace(_BART, blocks="layers", embedding="conv1"),  # its encoder alone, or with the decoder
    "audio-spectrogram-transformer": _VIT,
    "data2vec-audio": _WAVEFORM,
    "hubert": _WAVEFORM,
    "unispeech": _WAVEFORM,
    "unispeech-sat": _WAVEFORM,
    "wav2vec2": _WAVEFORM,
    "wavlm": replace(_WAVEFORM, query_value=(), key_value=(), value=(), attention=()),  # see `WEIGHTS_ALONE`
    "convnext": _CONVOLUTIONS,
    "convnextv2": _CONVOLUTIONS,
    "resnet": replace(
        _CONVOLUTIONS, feedforward=("convolution",), feedforward_output=("convolution",), norms=("normalization",),
        embedding="embedder.embedder.convolution",
    ),
    "efficientnet_lite": replace(
        _CONVOLUTIONS, feedforward=("expand_conv", "project_conv"), feedforward_output=("project_conv",),
        norms=("bn0", "bn1", "bn2"), blocks="blocks", embedding="conv_stem",
    ),
}  # fmt: skip

ROLES = (*(field.name for field in fields(Layers) if field.name != "blocks"), "all_linear")
# Roles whose suffixes an architecture's attention may have, too, and whose layers are those outside of it.
BESIDE_ATTENTION = tuple(role for role in ROLES if role.startswith("feedforward"))


# Decoders that keep the rows of a packed sequence apart, by positions that begin anew; each is tested for equal losses.
PACKED = ("gemma", "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "phi3", "qwen2", "qwen3")


def layers_of(backbone: Any) -> Layers | None:
    """Return the roles of a backbone's layers; None if its architecture is not listed."""
    return ARCHITECTURES.get(str(getattr(backbone.config, "model_type", "")))


def ends(name: str, suffixes: Sequence[str]) -> bool:
    """Return whether a layer's full name is, or ends in, a dotted name: `0.output.dense` ends in `output.dense`."""
    return any(f".{name}".endswith(f".{suffix}") for suffix in suffixes)


def modules_of(backbone: Any, role: str, model: str) -> list[str]:
    """Return the names of the layers that have a role.

    Args:
        backbone: a transformers model.
        role: one of `ROLES`.
        model: name of the backbone in an error message.

    Raises:
        HarnessError: the role is unknown, or the architecture is not listed.
    """
    if role not in ROLES:
        raise HarnessError(f"There are no layers in the role {role}. {nearest(role, ROLES)}")
    layers = layers_of(backbone)
    if layers is None:
        kind = getattr(backbone.config, "model_type", type(backbone).__name__)
        raise HarnessError(
            f"model={model} is of an architecture ({kind}) whose layers have no known roles, so {role} names none. "
            f"Known: {', '.join(sorted(ARCHITECTURES))}. A method of PEFT takes names of layers, too "
            "(method.config.target_modules=[...]); method=full needs none."
        )
    names: tuple[str, ...] | str = getattr(layers, role)
    return [names] if isinstance(names, str) else list(names)


def blocks_of(backbone: Any, model: str) -> list[nn.Module]:
    """Return the blocks of a backbone, first to last.

    Raises:
        HarnessError: the architecture is not listed.
    """
    modules_of(backbone, "attention", model)  # raises if the architecture is not listed
    layers = layers_of(backbone)
    assert layers is not None
    # Under an architecture's own head (model.pooling=model) the encoder lies one level deeper.
    base, path = backbone.base_model, layers.blocks
    # Of an encoder with a decoder, the last blocks are the decoder's.
    if hasattr(base, "decoder"):
        path = f"decoder.{path.removeprefix('decoder.').removeprefix('encoder.')}"
    return list(base.get_submodule(path))


# Layers whose weights an architecture multiplies by itself, without calling the layer: an adapter beside it has no
# effect and gets no gradient.
WEIGHTS_ALONE = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}


# Architectures for fused training: apart from attention, which they look up in transformers' registry, their blocks act
# on each token alone. The value is the position index of a text's first token (RoBERTa's positions start after its
# padding index).
FIRST_POSITION: dict[str, Callable[[Any], int]] = {
    "bert": lambda config: 0,
    "electra": lambda config: 0,
    "roberta": lambda config: int(config.pad_token_id) + 1,
    "distilbert": lambda config: 0,
    "gpt2": lambda config: 0,
    "llama": lambda config: 0,
    "mistral": lambda config: 0,
    "qwen2": lambda config: 0,
    "qwen3": lambda config: 0,
    "gemma": lambda config: 0,
    "gemma3_text": lambda config: 0,
}
