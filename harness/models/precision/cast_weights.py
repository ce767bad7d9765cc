"""Casts of frozen weights that autocast would repeat at each use.

Autocast keeps the bfloat16 cast of a weight only if the weight is trained; it casts a frozen one at each product. Here
the cast of a frozen float32 weight of the CPU is kept beside it. Products are those of autocast, bit for bit, and the
float32 weight stays what adapters, files and other runs read. The casts take half the memory of the weights, once a
process: networks that share a weight share its cast.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Functions that autocast computes in bfloat16, and the places of weights and biases among their arguments.
_PLACES: dict[Any, tuple[int, ...]] = {functional.linear: (1, 2), functional.conv2d: (1, 2), torch.addmm: (0, 2)}
_Casts = MutableMapping[torch.UntypedStorage, dict[tuple[Any, ...], Tensor]]
_casts: _Casts = WeakKeyDictionary()  # by the storage of the weight, with which they go


class KeptCasts(TorchFunctionMode):
    """Within the block, products under autocast read the kept casts of frozen weights."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, a frozen weight being replaced by its cast."""
        places = _PLACES.get(func)
        if places is not None and torch.is_autocast_enabled("cpu"):
            args = tuple(_cast(each) if place in places else each for place, each in enumerate(args))
        return func(*args, **(kwargs or {}))


def _cast(weight: Any) -> Any:
    """Return the kept cast of a frozen weight; anything else as it is."""
    frozen = type(weight) is nn.Parameter and not weight.requires_grad and weight.dtype == torch.float32
    if not frozen or weight.device.type != "cpu":
        return weight
    kind = torch.get_autocast_dtype("cpu")
    # The version tells whether the weight was changed since; views of one storage differ in the rest.
    key = (weight._version, weight.storage_offset(), weight.shape, weight.stride(), kind)
    known = _casts.setdefault(weight.untyped_storage(), {})
    if key not in known:
        for stale in [other for other in known if other[1:] == key[1:]]:
            del known[stale]
        known[key] = weight.detach().to(kind)
    return known[key]
