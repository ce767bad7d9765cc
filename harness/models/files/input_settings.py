"""What a model's configuration says about its inputs other than texts: valid values."""

from __future__ import annotations

from typing import Any

from harness.errors import Problems


def check_inputs(model: Any, problems: Problems) -> None:
    """Report every invalid one of a `PretrainedModel`'s fields about images, sounds and its blocks."""
    size = model.image_size
    problems.check(
        size is None or (isinstance(size, int) and not isinstance(size, bool) and 8 <= size <= 4096),
        f"model.image_size is a number of pixels from 8 to 4096, not {size}; null takes the model's own.",
    )
    rate = model.sampling_rate
    problems.check(
        rate is None or (isinstance(rate, int) and not isinstance(rate, bool) and 1000 <= rate <= 384_000),
        f"model.sampling_rate is a number of Hz from 1000 to 384000, not {rate}; null: as the model's files say.",
    )
    problems.check(
        model.layer is None or (isinstance(model.layer, int) and not isinstance(model.layer, bool) and model.layer > 0),
        f"model.layer is the number of a block, 1 or more, not {model.layer}; null takes the last.",
    )
    problems.check(
        model.layer is None or model.pooling not in ("pooler", "model"),
        f"model.layer={model.layer} takes vectors before the end of the model, and model.pooling={model.pooling} is "
        "of its end: set model.pooling to mean or flatten, or leave model.layer null.",
    )
    for name in ("image_mean", "image_std"):
        value: Any = getattr(model, name)
        numbers = isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)
        positive = name != "image_std" or not numbers or all(each > 0 for each in value)
        problems.check(
            value is None or (numbers and len(value) == 3 and positive),
            f"model.{name} is three numbers, one a channel{', above 0' * (name == 'image_std')}, such as "
            f"[0.5,0.5,0.5], not {value}; null takes the model's own.",
        )
