"""Making objects from configuration: Hydra's `instantiate`, limited to packages that the user trusts.

A `kind` names a class that comes with the program (`harness.config.kinds`), a `_target_` any other callable. A
configuration may come from someone else's run directory, so only harness, peft and the packages listed in `packages`
are allowed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from harness.config.kinds import KIND, KINDS, TARGET, kind_of, unknown_peft_types, with_target
from harness.config.synonyms import NOT_IN_A_SECTION
from harness.errors import HarnessError, nearest, typed

TRUSTED = ("harness", "peft")


def build(node: Mapping[str, Any], packages: Sequence[str] = ()) -> Any:
    """Instantiate a configuration node.

    Args:
        node: holds `kind` or `_target_`, the latter possibly nested, and the arguments of the class.
        packages: top-level packages that are allowed besides `TRUSTED`.

    Raises:
        HarnessError: there is no such kind; a target lies outside the trusted packages, cannot be found, or rejects its
            arguments.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if KIND in node and TARGET not in node and str(node[KIND]) not in KINDS:
        raise HarnessError(f"kind={node[KIND]}: there is no such kind. {nearest(str(node[KIND]), KINDS)}")
    if problems := unknown_peft_types(node):
        raise HarnessError(*problems)
    trusted = (*TRUSTED, *packages)
    if refused := sorted({target for target in _targets(node) if target.split(".")[0] not in trusted}):
        raise HarnessError(
            *(
                f"_target_ {target} lies outside the trusted packages ({', '.join(trusted)}). If you trust it, add its "
                f"package: {typed('packages', [*packages, target.split('.')[0]])}"
                for target in refused
            )
        )
    if kind_of(node) is None:
        raise HarnessError(
            f"A kind is missing in {dict(node)}: name what this configuration is for, by kind ({', '.join(KINDS)}) or, "
            "for a class of your own, by _target_: <package>.<module>.<class>."
        )
    try:
        return instantiate(with_target(node), _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, HarnessError):
            raise cause from None
        raise HarnessError(
            f"{kind_of(node)} cannot be made from its configuration: {_reason(with_target(node), cause)}"
        ) from error


def _reason(node: Mapping[str, Any], cause: BaseException) -> str:
    """Return the error of a class; if it is about an unknown argument, with the nearest names that exist."""
    match = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if not match:
        return str(cause)
    if match[1] == "hydra":
        return NOT_IN_A_SECTION
    with suppress(Exception):  # a target whose signature cannot be read keeps its own message
        from hydra.utils import get_object

        for target in _targets(node):
            taken = [name for name in inspect.signature(get_object(target)).parameters if name != "kwargs"]
            if match[1] not in taken and target.rpartition(".")[2] in str(cause):
                return f"it takes no {match[1]}. {nearest(match[1], taken)}"
    return str(cause)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if TARGET in node:
            yield str(node[TARGET])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)
