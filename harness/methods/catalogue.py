"""The catalogue docs/methods.md, generated from conf/method so that it cannot become outdated."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.files import load_yaml

# MiniLM's sizes: blocks, hidden, feed-forward, heads, vocabulary, positions. `n` layers are adapted by default (queries
# and values); `N` counts all parameters of full fine-tuning, without the pooler.
MINILM = {"L": 6, "d": 384, "f": 1536, "h": 12, "V": 30522, "P": 512, "n": 12, "N": 22565376}

# PEFT types that no file in conf/method uses, with the reason.
LEFT_OUT = {
    "ADAPTION_PROMPT": "only for Llama and Mistral: PEFT replaces their attention modules by name.",
    "CPT": "only for causal language models: its loss is that of the prompt's tokens.",
    "SHADOW": "only for decoders: it runs beside a stack of decoder layers.",
    "MULTITASK_PROMPT_TUNING": "learns one prompt from several tasks at once (a task id a row); a cell here is one "
    "task, for which it is prompt tuning (prompt_tuning).",
    "POLY": "mixes skills between tasks by a task id a row; with one task it is LoRA (lora).",
    "XLORA": "mixes LoRA adapters that were trained before; here each cell trains its own.",
}

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "int": int}


def evaluate(expression: str, symbols: Mapping[str, float]) -> int:
    """Compute a formula of sizes, such as `n * 2 * d * r`.

    Args:
        expression: numbers, symbols, + - * / // **, parentheses, min, max, int.
        symbols: values by name.

    Raises:
        HarnessError: it contains anything else, or a symbol without a value.
    """

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name) if name in symbols:
                return symbols[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](*map(value, arguments))
        raise HarnessError(
            f"The formula {expression!r} holds {ast.unparse(node)!r}. It may hold numbers, + - * / // **, min, max, "
            f"int and the symbols {', '.join(sorted(symbols))}."
        )

    try:
        total: float = value(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise HarnessError(f"The formula {expression!r} is invalid: {error.msg}.") from error
    return round(total)


def symbols(method: Mapping[str, Any]) -> dict[str, float]:
    """Return the sizes of MiniLM and the method's numbers, by the last part of their keys."""
    own = {**method, **(method.get("config") or {})}
    numbers = {key: v for key, v in own.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {**MINILM, **numbers}


def catalogue(directory: Path) -> dict[str, dict[str, Any]]:
    """Read all conf/method/*.yaml files of a directory, by the method's name."""
    read = (load_yaml(file.read_text(encoding="utf-8")) for file in sorted(directory.rglob("*.yaml")))
    return {overlay["method"]["name"]: overlay for overlay in read}


def markdown(directory: Path) -> str:
    """Return the content of docs/methods.md.

    Args:
        directory: conf/method.

    Raises:
        HarnessError: a method's `about` lacks required entries.
    """
    overlays = catalogue(directory)
    lines = [
        "# Methods",
        "",
        f"The {len(overlays)} ways to adapt a model that come with the program, made from `conf/method` by "
        "`python -m harness.methods`.",
        "A method of your own: [adding-a-method.md](adding-a-method.md). Every method is tuned in the space that is "
        "shown with it, unless you name another.",
        "",
        "Trainable parameters are those of all-MiniLM-L6-v2 at the defaults, without the classification head, by the "
        "formula: `L` blocks, `d` hidden size,",
        "`f` feed-forward size, `V` vocabulary, `n` adapted layers (queries and values of every block), `N` all "
        "parameters of the backbone;",
        "other names are the method's own settings. A test counts them in the real model.",
        "",
        "| method | what it is | trained on MiniLM |",
        "|---|---|---|",
    ]
    for name, overlay in overlays.items():
        about = overlay["method"].get("about") or {}
        missing = [key for key in ("title", "paper", "trains", "parameters") if not about.get(key)]
        if missing:
            raise HarnessError(f"conf/method/{name}.yaml: method.about lacks {', '.join(missing)}.")
        lines.append(f"| [{name}](#{name}) | {about['title']} | {_count(overlay['method'])} |")
    for name, overlay in overlays.items():
        method, about = overlay["method"], overlay["method"]["about"]
        lines += ["", f"## {name}", "", f"{about['title']}. {about['paper']}.", "", f"- Trained: {about['trains']}"]
        lines.append(f"- Parameters: `{about['parameters']}` = {_count(method)}")
        space = ", ".join(f"`{key}={sweep}`" for key, sweep in (method.get("space") or {}).items())
        lines.append(f"- Search space: {space or 'nothing is tuned'}")
        if about.get("quantized"):
            lines.append("- Adapts a base in 8 or 4 bits (`model.quantize`), too")
        if about.get("fusable"):
            lines.append("- Runs can share passes through a frozen base (`launch.fuse`)")
        if about.get("tasks"):
            lines.append(f"- Only for tasks of {', '.join(about['tasks'])}")
        if about.get("inputs"):
            lines.append(f"- Only for {' and '.join(f'{each}s' for each in about['inputs'])}")
        if about.get("limits"):
            lines.append(f"- Limits: {about['limits']}")
    lines += ["", "## Left out", "", "Types of the PEFT library that are not here, and why:", ""]
    lines += [f"- `{kind}`: {reason}" for kind, reason in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"


def _count(method: Mapping[str, Any]) -> str:
    return f"{evaluate(method['about']['parameters'], symbols(method)):,}"
