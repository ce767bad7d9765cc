"""Packages that carry models are found by name, and never imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.models.packaged.packages import package_directory

Main = Callable[..., tuple[int, str]]


def test_a_name_with_dots_is_a_folder_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first part is not imported, which would run its code."""
    inner = tmp_path / "carrier" / "models" / "model"
    inner.mkdir(parents=True)
    (tmp_path / "carrier" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert package_directory("carrier.models", ["config.json"]) == inner
    assert package_directory("carrier.others", ["config.json"]) is None
    assert package_directory("carrier", ["config.json"]) is None


@pytest.mark.parametrize("name", ["not.there", "json.nothing", "a..b", ".a", "..", "a/b", "os.path", "__main__", ""])
def test_a_name_that_is_no_package_is_told(main: Main, name: str) -> None:
    """In one sentence, with the command that would install it."""
    arguments = ("model=own", "model.name=mine", f"+model.bundled={name}", "+model.digests={config.json: abc}")
    code, printed = main("method=nearest_mean", *arguments, "plan=true")
    assert code == 2 and "Traceback" not in printed, printed
    assert f"the package {name} is not installed" in printed or "names no source" in printed, printed


def test_a_dotted_name_in_a_study(main: Main) -> None:
    """As in a single run."""
    code, printed = main("-m", "method=nearest_mean", "model.bundled=not.there", "model.hub=null", "plan=true")
    assert code == 2 and "the package not.there is not installed" in printed, printed
