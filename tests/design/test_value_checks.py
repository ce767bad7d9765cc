"""Every key of the schema and of every YAML: a wrong value is told before anything starts, a right one passes.

However it is given: to a single run, fixed in a study, as a choice, as an interval's end, as an axis, in a YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import FloatDistribution

from harness.api.family import families
from harness.cli import main as app
from harness.config.error_messages import explain
from harness.config.key_types import leaves, options
from harness.config.schema import Config
from harness.design.cells import Cell
from harness.design.search_space import Parameter
from harness.design.tunable_keys import refusal
from harness.design.value_checks import Checks, changed, whole_numbers
from tests.helpers.small_dataset import ROOT

Main = Callable[..., tuple[int, str]]
PLAN = ("plan=true", "calibrate=false")
KEYS = sorted(set(leaves()) - {"task", "model", "method", "augment", "tracker", "sweep.params"})
TUNABLE = [key for key in KEYS if refusal(key, "a,b") is None]
NUMBERS = [key for key in TUNABLE if {int, float} & {*options(leaves()[key])}]


def wrong(key: str) -> str:
    """A value that is not of a key's type."""
    kinds = {*options(leaves()[key])}
    return "[1,2]" if str in kinds else "maybe" if bool in kinds else "fast"


def other(key: str) -> str:
    """Another such value."""
    return wrong(key).replace("1", "3").replace("a", "e")


@cache
def base() -> DictConfig:
    """The default run, composed once."""
    app._register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config")


@cache
def cell(method: str = "lora") -> Cell:
    """A cell of a method, with nothing to tune."""
    yaml: Any = OmegaConf.load(ROOT / "conf/method" / f"{method}.yaml")
    config = base().copy()
    OmegaConf.set_struct(config, False)
    config.method = yaml.method
    for key, value in (yaml.get("train") or {}).items():
        config.train[key] = value
    return Cell("cell", "demo", "minilm", method, {}, config)


def nothing_is_written(place: Path) -> bool:
    """Whether no study, run or report was begun."""
    return not [path for name in ("runs", "reports") for path in (place / name).rglob("*")]


def assert_told(main: Main, place: Path, *arguments: str) -> str:
    """The command ends with 2 and sentences, and leaves nothing; return what it says."""
    code, printed = main(*arguments)
    assert code == 2, printed
    lines = [line for line in printed.splitlines() if line.strip()]
    assert lines, printed
    assert all(line.startswith("Error: ") and line.endswith((".", ")")) for line in lines), printed
    assert "Traceback" not in printed
    assert nothing_is_written(place)
    return printed


def told(printed: str, key: str) -> bool:
    """Whether exactly one sentence is about a key."""
    return len(re.findall(rf"^Error: {re.escape(key)}[ =:\[]", printed, re.MULTILINE)) == 1


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_of_any_key_is_no_configuration(key: str) -> None:
    """What composing and tuning refuse alike, in one sentence that begins with the key."""
    with pytest.raises(OmegaConfBaseException) as caught:
        changed(
            cell(), {key: OmegaConf.create({"value": wrong(key)}).value if str not in options(leaves()[key]) else [1]}
        )
    (message,) = explain(caught.value, cell().config)
    assert key in message


def test_wrong_choices_of_all_keys_are_told_at_once(main: Main, place: Path) -> None:
    """One of two is wrong, or the key has one value in a study."""
    # The fixture itself gives cache_dir.
    lines = [f"{key}={wrong(key)},{other(key)}" for key in KEYS if key not in ("seed", "plan", "cache_dir")]
    printed = assert_told(main, place, "-m", "method=lora", "plan=true", *lines)
    missing = [key for key in KEYS if key not in (*TUNABLE, "seed", "plan", "cache_dir") and not told(printed, key)]
    assert not missing, printed
    lines = [f"{key}={wrong(key)},{default(key)}" for key in TUNABLE]
    printed = assert_told(main, place, "-m", "method=lora", *PLAN, *lines)
    assert not [key for key in TUNABLE if not told(printed, key)], printed


def default(key: str) -> str:
    """The schema's own value."""
    value = OmegaConf.select(OmegaConf.structured(Config), key)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_ends_of_intervals_are_told_at_once(main: Main, place: Path) -> None:
    """Whichever end breaks the rule: below for the lower, above for the upper one."""
    printed = assert_told(main, place, "-m", "method=lora", *PLAN, *(f"{key}=interval(-2,1)" for key in NUMBERS))
    assert not [key for key in NUMBERS if f"{key} must" not in printed], printed
    printed = assert_told(
        main, place, "-m", "method=lora", *PLAN, "train.ema=interval(0.5,1.5)", "train.epochs=range(0,3)"
    )
    assert "train.ema must lie in [0, 1), not 1.5 (of train.ema=interval(0.5,1.5))" in printed
    assert "train.epochs must be above 0, not 0 (of train.epochs=range(0,3))" in printed


def test_right_values_of_all_keys_pass(main: Main, place: Path) -> None:
    """The schema's own values, to a run, to a study, as choices and as intervals."""
    fixed = [
        f"{key}={default(key)}" for key in KEYS
        if default(key) not in ("", "~") and key not in ("plan", "calibrate", "cache_dir") and "{" not in default(key)
    ]  # fmt: skip
    code, printed = main("method=nearest_mean", "plan=true", *fixed)
    assert code == 0, printed
    code, printed = main("-m", "method=nearest_mean", *fixed, *PLAN)
    assert code == 0, printed
    choices = [f"{key}=choice({default(key)})" for key in TUNABLE if key not in NUMBERS and default(key) != "null"]
    elsewhere = {key for family in families().values() for key in family.train_keys}  # other families'
    numbers = [key for key in NUMBERS if key not in elsewhere]
    ends = [f"{key}=interval({'0.25,0.5' if float in options(leaves()[key]) else '1,2'})" for key in numbers]
    code, printed = main("-m", "method=lora", *choices, *ends, *PLAN)
    assert code == 0, printed


WAYS = ("run", "fixed", "axis", "params", "yaml")


@settings(max_examples=10, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(key=st.sampled_from(KEYS), way=st.sampled_from(WAYS))
def test_a_wrong_value_is_told_however_it_is_given(main: Main, place: Path, key: str, way: str) -> None:
    """The command line, sweeps/*.yaml and a YAML of one's own compose alike."""
    value = wrong(key)
    (place / "own/sweeps").mkdir(parents=True, exist_ok=True)
    body = {"sweep": {"params": {"method": "lora"} | ({key: value} if way == "params" else {})}}
    yaml = OmegaConf.create(body)
    if way == "yaml":
        OmegaConf.update(yaml, key, OmegaConf.create(f"value: {value}").value, force_add=True)
    path = place / "own/sweeps/own.yaml"
    path.write_text("# @package _global_\n" + OmegaConf.to_yaml(yaml), encoding="utf-8")
    given_ = {
        "run": (f"{key}={value}",),
        "fixed": ("-m", f"{key}={value}"),
        "axis": ("-m", f"axes=[{key}]", f"{key}={value},{other(key)}"),
    }.get(way, ("-m", "--config-dir", "own", "sweeps=own"))
    more = () if key == "plan" else ("plan=true",)
    assert key in assert_told(main, place, *given_, *more)


def fields(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The keys of a node that a class checks, nested ones included, with their values."""
    for name, value in node.items():
        key = f"{prefix}.{name}"
        if name in ("_target_", "name", "about", "space", "ignores", "resources"):
            continue
        if isinstance(value, dict) and {"_target_", "kind", "peft_type"} & {*value}:
            yield from fields(value, key)
        else:
            yield key, value


METHODS = sorted(path.stem for path in (ROOT / "conf/method").glob("*.yaml"))


@pytest.mark.parametrize("method", METHODS)
def test_every_key_of_every_method_is_checked(method: str) -> None:
    """A value of another kind is one sentence that names the key; what ships is right, its search space included."""
    found = cell(method)
    checks = Checks()
    node: dict[str, Any] = OmegaConf.to_container(found.config, resolve=True)  # type: ignore[assignment] # a mapping
    assert checks.of_section("method", node) == ()
    for key, value in fields(node["method"], "method"):
        (message,) = checks.of_values(found, {key: 3 if isinstance(value, dict) else {"wrong": 1}}, key)
        assert message.startswith(f"{key}="), message
        assert checks.of_values(found, {key: value}, key) == ()


def test_spaces_that_ship_hold_what_their_methods_take(main: Main, place: Path) -> None:
    """A study trusts them, since to hold them against their classes takes the import of torch."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from harness.design.method_space import held
    from harness.design.search_space import parameter

    checks = Checks()
    for method in METHODS:
        found = cell(method)
        for key, entry in (found.config.method.get("space") or {}).items():
            sweep = entry if isinstance(entry, str) else entry.sweep
            override = OverridesParser.create().parse_override(f"{key}={sweep}")
            read = parameter(override, *held(found.config, key))
            for value in read.extremes:
                assert checks.of_values(found, {key: value}, key) == ()


@settings(max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data(), way=st.sampled_from(("run", "fixed", "choice", "axis", "yaml")))
def test_a_wrong_value_of_a_method_is_told_however_it_is_given(main: Main, place: Path, data: Any, way: str) -> None:
    """In a YAML of one's own, too, which no test of ours has seen."""
    method = data.draw(st.sampled_from(METHODS))
    node: dict[str, Any] = OmegaConf.to_container(cell(method).config.method)  # type: ignore[assignment] # a mapping
    keys = [key for key, value in fields(node, "method") if not isinstance(value, dict)]
    if not keys:
        return
    key = data.draw(st.sampled_from(keys))
    (place / "own/method").mkdir(parents=True, exist_ok=True)
    own = OmegaConf.create({"method": node})
    OmegaConf.update(own, key, {"wrong": 1})
    (place / "own/method/own.yaml").write_text("# @package _global_\n" + OmegaConf.to_yaml(own), encoding="utf-8")
    given_ = {
        "run": (f"method={method}", f"{key}=[[1]]"),
        "fixed": ("-m", f"method={method}", f"{key}=[[1]]"),
        "choice": ("-m", f"method={method}", f"{key}=[[1]],[[2]]"),
        "axis": ("-m", f"method={method}", f"{key}=[[1]],[[2]]", f"axes=[{key}]"),
        "yaml": ("-m", "--config-dir", "own", "method=own"),
    }[way]
    assert key in assert_told(main, place, *given_, *PLAN)


TASKS = sorted(path.stem for path in (ROOT / "conf/task").glob("*.yaml"))
WRONG = {  # keys of a task that take more than one type
    "text": "[a,b,c]", "columns": "7", "files": "7", "label_names": "7", "hub": "7", "descriptions": "7",
    "generate": "7",
}  # fmt: skip


def of_task(task: str) -> dict[str, Any]:
    """The keys of a task with their values, without its name and kind; those it inherits included."""
    app._register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        node: Any = OmegaConf.to_container(compose("config", [f"task={task}"]).task)
    return {key: value for key, value in node.items() if key not in ("kind", "name", "_target_")}


@pytest.mark.parametrize("task", TASKS)
def test_wrong_values_of_all_keys_of_a_task_are_told_at_once(main: Main, place: Path, task: str) -> None:
    """A mapping where a value is wanted, a number where a mapping is: one sentence each, as in a study, so in a run."""
    keys = of_task(task)
    assert keys
    lines = [f"task.{key}={WRONG.get(key, '[[1]]')}" for key in keys]
    for study in (("-m",), ()) if task == "csv" else (("-m",),):
        printed = assert_told(main, place, *study, f"task={task}", "method=nearest_mean", *PLAN, *lines)
        assert not [key for key in keys if f"task.{key}" not in printed], printed


MODEL = [
    ("model.pooling", "[1]"), ("model.max_tokens", "many"), ("model.quantize", "16bit"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), MODEL, ids=[key for key, _ in MODEL])
def test_a_wrong_value_of_a_model_is_told_as_a_choice(main: Main, place: Path, key: str, value: str) -> None:
    """Its class checks it, for each choice."""
    axes = (f"axes=[{key}]",) if refusal(key, "a,b") else ()
    printed = assert_told(main, place, "-m", "method=nearest_mean", f"{key}=null,{value}", *axes, *PLAN)
    assert value.strip("[]") in printed


def test_more_blocks_than_the_model_has_are_told(main: Main, place: Path) -> None:
    """As a choice and fixed, before anything starts."""
    for line in ("method.layers=1,99", "method.layers=99"):
        printed = assert_told(main, place, "-m", "method=last_layers", line, *PLAN)
        assert "method.layers=99: model=minilm has 6 blocks" in printed


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[query,valeu]", "model=minilm has no layer valeu. Did you mean value?"),
        ("[query],[nope]", "model=minilm has no layer nope. Known: "),
        ("[]", "target_modules=[] names no layer."),
        ("5", "method.config.target_modules=5"),
    ],
)
def test_layers_that_the_model_lacks_are_told(main: Main, place: Path, value: str, says: str) -> None:
    """PEFT ignores a name that fits nothing beside one that does."""
    assert says in assert_told(main, place, "-m", "method=lora", f"method.config.target_modules={value}", *PLAN)


def test_layers_that_the_model_has_pass(main: Main, place: Path) -> None:
    """By their ends, as an expression, by role, or all."""
    for value in (
        "norms",
        "[query,value]",
        "[bert.encoder.layer.0.attention.self.query]",
        "[LayerNorm]",
        r'".*\.(query|key)"',
        "all-linear",
    ):
        code, printed = main("-m", "method=lora", f"method.config.target_modules={value}", *PLAN)
        assert code == 0, printed


def test_the_layers_of_every_method_of_the_catalogue_are_there(main: Main, place: Path) -> None:
    """Roles are no names of layers, and every YAML names its own."""
    methods = sorted(path.stem for path in (ROOT / "conf/method").glob("*.yaml"))
    others = ("few_shot", "popularity", "item_knn", "ease", "sasrec", "bm25", "head_only")  # for other families
    code, printed = main("-m", f"method={','.join(name for name in methods if name not in others)}", *PLAN)
    assert code == 0, printed


def test_an_interval_of_whole_numbers_is_a_range() -> None:
    """As for a key that is null by default, whose type an interval does not tell."""
    entry = Parameter("model.layer", "interval(1,9)", FloatDistribution(1, 9))
    assert whole_numbers(entry, "model.layer=1.0: this key takes a whole number") == (
        " For whole numbers: 'model.layer=range(1,10)'."
    )
    assert whole_numbers(entry, "train.lr must be above 0") == ""
