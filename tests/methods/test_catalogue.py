"""The catalogue of methods, its formulas, and the example in docs/adding-a-method.md."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.config.instantiate import build
from harness.errors import HarnessError
from harness.methods.catalogue import LEFT_OUT, catalogue, evaluate, markdown, symbols
from harness.models import PretrainedModel
from harness.models.network import AdaptedModel, load_backbone
from tests.helpers.small_dataset import ROOT

OVERLAYS = catalogue(ROOT / "conf/method")


def test_every_type_of_the_library_is_used_or_left_out_with_a_reason() -> None:
    """A type that PEFT adds is not overlooked, and a reason is not kept for one that is used."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    used = {each["method"]["config"]["peft_type"] for each in OVERLAYS.values() if "config" in each["method"]}
    kinds = {kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert used | set(LEFT_OUT) == kinds
    assert not used & set(LEFT_OUT)


def test_the_catalogue_is_current() -> None:
    """docs/methods.md is what `python -m harness.methods` prints."""
    assert (ROOT / "docs/methods.md").read_text(encoding="utf-8") == markdown(ROOT / "conf/method")


def test_the_example_of_a_new_method_is_one_file_that_works(tmp_path: Path, cache: Path) -> None:
    """The documented YAML adapts MiniLM, trains as many parameters as it says, and its entry is as shown."""
    page = (ROOT / "docs/adding-a-method.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    (tmp_path / "lora_feedforward.yaml").write_text(found[1], encoding="utf-8")
    [method] = [overlay["method"] for overlay in catalogue(tmp_path).values()]
    model: PretrainedModel = build(yaml.safe_load((ROOT / "conf/model/minilm.yaml").read_text(encoding="utf-8")))
    network = AdaptedModel(copy.deepcopy(load_backbone(model.resolve(cache), "mean", 0)), "mean", 2)
    build(method).adapt(network, model, 10)
    trained = {name: p.numel() for name, p in network.trainable().items() if not name.startswith("head.")}
    assert sum(trained.values()) == evaluate(method["about"]["parameters"], symbols(method))
    assert all("dense" in name and "attention" not in name for name in trained)
    entry = re.search(r"```markdown\n(.*?)\n```", page, re.DOTALL)
    assert entry is not None and entry[1] in markdown(tmp_path)


@pytest.mark.parametrize(
    ("expression", "message"),
    [("n * r + q", "'q'"), ("__import__('os')", "__import__"), ("n.real", "n.real"), ("2 *", "is invalid")],
)
def test_formulas_hold_sizes_only(expression: str, message: str) -> None:
    """Anything but arithmetic of known symbols is refused."""
    bad: Callable[[], int] = lambda: evaluate(expression, {"n": 12, "r": 8})  # noqa: E731 -- one call, named for mypy
    with pytest.raises(HarnessError, match=message):
        bad()
    assert evaluate("-(n // 5) * 2 ** 3 + max(r, 1)", {"n": 12, "r": 8}) == -8
