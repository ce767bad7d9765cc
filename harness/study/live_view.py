"""The display of a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.formatting.values import duration, plural, score, stopwatch
from harness.records.states import CellState


def tell(console: Console, kind: str, line: str) -> None:
    """Print a tracker's line, with its kind (`Note: ` or `Warning: `) highlighted."""
    console.print(f"[yellow]{kind.strip()}[/yellow] {escape(line)}", soft_wrap=True)


REDRAW_SECONDS = 0.25  # between two drawings of the live table


@dataclass(frozen=True)
class CellView:
    """One line of the live table."""

    id: str
    state: CellState
    tuned: int
    trials: int | None  # None: as many as the seconds allow
    confirmed: int
    seeds: int
    running: int
    failed: int
    best: float | None  # validation score
    metric: str


class LiveView:
    """Shows the progress of a running study.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=1 / REDRAW_SECONDS, transient=True)
            if console.is_terminal
            else None
        )
        self._began = time.monotonic()
        self._shown = 0.0

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print one line above the live table."""
        text = Text(f"[{stopwatch(time.monotonic() - self._began):>6}] ", style="dim")
        self._console.print(text.append(Text(line, style=style)), soft_wrap=True)

    @property
    def due(self) -> bool:
        """True if there is a live table that should be redrawn by now."""
        return self._live is not None and time.monotonic() - self._shown >= REDRAW_SECONDS

    def show(self, cells: Sequence[CellView], left: float | None) -> None:
        """Redraw the live table."""
        if self._live is None:
            return
        self._shown = time.monotonic()
        self._live.update(Group(_table(cells), _footer(cells, time.monotonic() - self._began, left)))


def _table(cells: Sequence[CellView]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cell", "tuned", "confirmed", "running", "failed", "best val", ""):
        table.add_column(name, justify="left" if name in ("cell", "") else "right", no_wrap=True)
    for cell in cells:
        style = {CellState.DONE: "green", CellState.FAILED: "red", CellState.WAITING: "dim"}.get(cell.state, "")
        table.add_row(
            cell.id,
            f"{cell.tuned}/{cell.trials}" if cell.trials is not None else str(cell.tuned),
            f"{cell.confirmed}/{cell.seeds}",
            str(cell.running or ""),
            Text(str(cell.failed or ""), style="red"),
            score(cell.best, cell.metric, unit=True),
            Text(cell.state, style=style),
        )
    return table


def _footer(cells: Sequence[CellView], elapsed: float, left: float | None) -> Text:
    done = sum(cell.tuned + cell.confirmed for cell in cells)
    text = f"{plural(done, 'run')} done, {duration(elapsed)} elapsed"
    return Text(text + (f", about {duration(left)} left" if left is not None else ""), style="dim")
