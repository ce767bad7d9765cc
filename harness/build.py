"""Objects from configuration: Hydra's `instantiate`, limited to packages that the user trusts.

A `_target_` names code to call. A configuration may come from someone else's run directory, so only harness, peft and
the packages listed in `packages` may be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError

TRUSTED = ("harness", "peft")


def build(node: Mapping[str, Any], packages: Sequence[str] = ()) -> Any:
    """Instantiate a configuration node.

    Args:
        node: holds `_target_`, possibly nested, and the arguments of what it names.
        packages: top-level packages that may be named besides `TRUSTED`.

    Raises:
        HarnessError: a target lies outside the trusted packages, cannot be found, or rejects its arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    trusted = (*TRUSTED, *packages)
    if refused := sorted({target for target in _targets(node) if target.split(".")[0] not in trusted}):
        raise HarnessError(
            *(
                f"_target_ {target} lies outside the trusted packages ({', '.join(trusted)}). If you trust it, add its "
                f"package: packages=[{target.split('.')[0]}]."
                for target in refused
            )
        )
    if "_target_" not in node:
        raise HarnessError(f"A _target_ is missing in {dict(node)}: name the class that this configuration is for.")
    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, HarnessError):
            raise cause from None
        raise HarnessError(f"{node['_target_']} cannot be made from its configuration: {cause}") from error


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)
