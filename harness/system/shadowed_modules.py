"""Detection of files in the current directory that shadow modules: `python -m` searches it before all others.

This check runs before all other imports, so it imports only modules that Python itself has loaded.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

# Standard library modules that nothing imports, and that people may name files after.
_HARMLESS = {
    "aifc", "antigravity", "audioop", "cgi", "cgitb", "chunk", "crypt", "ensurepip", "idlelib", "imghdr", "lib2to3",
    "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "test",
    "this", "tkinter", "turtle", "turtledemo", "uu", "venv", "wave", "xdrlib",
}  # fmt: skip
_OWN = {"harness", "hydra_plugins", "conf", "tests"}


def hidden(directory: str | None = None) -> list[str]:
    """Return a message for each file in a directory that shadows a module which this program needs.

    Args:
        directory: None: the current directory.
    """
    try:
        directory = os.path.realpath(directory or os.getcwd())  # noqa: PTH109 - pathlib may be what is hidden
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if _is_module(entry))
    except OSError:
        return []
    return [
        f"{os.path.join(directory, name)} hides the module {stem}, which this program needs: Python looks into the "  # noqa: PTH118
        "current directory first. Give it another name, or start in another directory."
        for name in names
        if (stem := name.removesuffix(".py")) not in _OWN and _is_needed(stem, directory)
    ]


def refuse() -> None:
    """Exit with code 2 if a file shadows a module, unless Python does not search the current directory."""
    if sys.flags.safe_path:
        return
    if found := hidden():
        sys.stderr.write("".join(f"Error: {line}\n" for line in found))
        sys.exit(2)


def _is_module(entry: os.DirEntry[str]) -> bool:
    if entry.name.endswith(".py"):
        return entry.name[:-3].isidentifier()
    return entry.name.isidentifier() and os.path.isfile(os.path.join(entry.path, "__init__.py"))  # noqa: PTH113, PTH118


def _is_needed(name: str, directory: str) -> bool:
    """Return whether a module of this name belongs to Python or to the dependencies of this program."""
    if name in sys.stdlib_module_names:
        return name not in _HARMLESS and name not in sys.builtin_module_names
    elsewhere = [path for path in sys.path if path and os.path.realpath(path) != directory]
    return PathFinder.find_spec(name, elsewhere) is not None and name in _dependencies(directory)


def _dependencies(directory: str) -> set[str]:
    """Return the top-level modules of the direct and indirect dependencies of this program."""
    at_first = sys.path[:]
    sys.path[:] = [path for path in sys.path if path and os.path.realpath(path) != directory]
    try:
        import re
        from importlib.metadata import PackageNotFoundError, packages_distributions, requires

        needed, todo = set[str](), ["harness"]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                try:
                    lines = requires(name) or []
                except PackageNotFoundError:
                    continue
                lines = [line for line in lines if name == "harness" or "extra ==" not in line]
                todo += [re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines]
        return {
            module
            for module, owners in packages_distributions().items()
            if any(owner.lower().replace("_", "-") in needed for owner in owners)
        }
    finally:
        sys.path[:] = at_first
