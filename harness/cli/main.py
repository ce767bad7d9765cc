"""Entry point of the command line: Hydra's main, single runs, and readable errors."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, _utils
from omegaconf.errors import OmegaConfBaseException

from harness.cli.arguments import CommandLine, read, restore_arguments
from harness.command import INTERRUPTED, disk_full, misplaced, print_problems, quiet_when_closed
from harness.config.overrides import GROUPS, parse, without_a_cluster
from harness.config.schema import Config
from harness.errors import HarnessError, is_disk_full, quoted


def config_root() -> Path:
    """Return the directory that contains conf/, sweeps/ and slurm/: the package of a wheel, else the repository."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "conf").is_dir() else package.parent


def main() -> None:
    """Run the command line; on a user's mistake, print a readable message and exit with code 2."""
    with quiet_when_closed():
        _main()


def _main() -> None:
    _register()
    if len(sys.argv) > 1 and sys.argv[1] in ("--version", "-V"):
        from harness import __version__

        print(f"harness {__version__}")  # noqa: T201 - the answer to --version
        return
    # Without this Hydra prints its errors itself; with it they are raised, and explained in terms of the configuration.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    given = None
    try:
        given = read(sys.argv[1:], config_root())
        for note in given.notes:
            _say(f"Note: {note}")
        given.pass_to_hydra()
        hydra_main(version_base="1.3", config_path=str(config_root() / "conf"), config_name="config")(_single)()
    except HarnessError as error:
        _fail(error.problems)
    except (HydraException, OmegaConfBaseException) as error:
        _fail(tuple(_all_problems(error, given)))
    except yaml.YAMLError as error:
        _fail((_no_yaml(error),))
    except UnicodeDecodeError as error:  # of a YAML that is composed; data is decoded elsewhere
        _fail((f"A YAML is not UTF-8 ({error.reason} at byte {error.start}): save those of --config-dir as UTF-8.",))
    except ValueError as error:
        if found := re.search(r"Invalid defaults list in '([^']+)'", str(error)):
            _fail((f"{found[1]}.yaml: defaults is a list of mappings, one a line: - override /method: lora",))
        if "Config group override must be" not in str(error):  # Hydra's answer to <group>=null
            raise
        _fail(_without_choice(sys.argv[1:]))
    except OSError as error:
        if not is_disk_full(error) and (what := misplaced(error)) is None:
            raise
        _fail((disk_full(error) if is_disk_full(error) else str(what),))
    except KeyboardInterrupt:
        _say("Interrupted.")
        sys.exit(INTERRUPTED)


def _no_yaml(error: yaml.YAMLError) -> str:
    """Where a file is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark else "A YAML"
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    hint = " Indent with spaces." if "\\t" in what else ""
    return f"{where}: this is not valid YAML: {what}.{hint}"


# OmegaConf takes no loader: it makes one with this function of its own for each text. To replace that changes what
# OmegaConf and Hydra read, and not `yaml.safe_load` of other libraries in this process, which a constructor of
# `yaml.SafeLoader` would.
_loader_of_omegaconf = _utils.get_yaml_loader


def _yaml_loader() -> Any:
    loader = _loader_of_omegaconf()
    for kind in ("int", "float"):
        loader.add_constructor(f"tag:yaml.org,2002:{kind}", _as_written)
    return loader


def _as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float | str:
    """Read a number, but leave 4:00:00 and 010 texts, as the command line does: YAML 1.1 takes them for 14400 and 8."""
    if ":" in node.value or re.match(r"[-+]?0[0-9_]", node.value):
        return str(node.value)
    kind = node.tag.rpartition(":")[2]
    number: int | float = getattr(loader, f"construct_yaml_{kind}")(node)
    return number


def _register() -> None:
    _utils.get_yaml_loader = _yaml_loader
    store = ConfigStore.instance()
    store.store(name="schema", node=Config, provider="harness")
    OmegaConf.register_new_resolver("harness.root", lambda: config_root().as_posix(), replace=True)
    OmegaConf.register_new_resolver("harness.choices", _choices, replace=True)


def _choices() -> str:
    return "\n".join(f"  {group:10} {', '.join(_names(group))}" for group in GROUPS)


def _names(group: str) -> list[str]:
    parent = config_root() / ("" if group in ("sweeps", "slurm") else "conf")
    return sorted(path.stem for path in (parent / group).glob("*.yaml"))


def _without_choice(arguments: list[str]) -> tuple[str, ...]:
    """Return what to write instead of <group>=null; if no argument is that, it is in sweeps/*.yaml."""
    groups = [match[1] for each in arguments if (match := re.fullmatch(r"\+*([\w/]+)=null", each, re.IGNORECASE))]
    return tuple(
        f"{group}=null: this key takes a name: {', '.join(_names(group)) or 'that of a file in its directory'}. "
        + (f"For none of them: {group}=none." if "none" in _names(group) else f"Leave {group}= out for its default.")
        for group in [each for each in groups if each in GROUPS] or ["<group>"]
    )


def _single(config: DictConfig) -> None:
    """Execute a single run in this process."""
    restore_arguments([])
    for note in without_a_cluster(sys.argv[1:], config.launch.kind):
        _say(f"Note: {note}")
    from harness.study.run_single import run_single

    try:
        code = run_single(config)
    except HarnessError as error:
        _fail(error.problems)  # handled here, because Hydra adds a line of its own to an exception that leaves a job
    if code:
        sys.exit(code)


def _all_problems(error: Exception, given: CommandLine | None) -> list[str]:
    """Return all problems that prevent composing a configuration, by repeatedly composing without the ones found."""
    from harness.config.error_messages import explain, faulty_override

    errors, config = [error], None
    rest = [line for line in (given.overrides if given else ()) if not parse(line).is_sweep_override()]
    own = [config_root(), *([Path(given.config_dir)] if given and given.config_dir else [])]
    places = ",".join(quoted(f"file://{place.resolve().as_posix()}") for place in own)
    for _ in range(len(rest) + 1):
        bad = faulty_override(errors[-1], rest)
        rest = [line for line in rest if line != bad]
        try:
            with initialize_config_dir(str(config_root() / "conf"), version_base="1.3"):
                config = compose("config", [*rest, f"hydra.searchpath=[{places}]"])
        except (HydraException, OmegaConfBaseException) as another:
            if bad is None or faulty_override(another, rest) is None:
                break
            errors.append(another)
        else:
            break
    return list(dict.fromkeys(message for each in errors for message in explain(each, config)))


def _fail(problems: tuple[str, ...]) -> NoReturn:
    sys.exit(print_problems(problems))


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - output of the command line
