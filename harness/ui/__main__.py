"""`harness ui`: a page over the directory of studies, at an address of this machine."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from harness.command import command
from harness.errors import HarnessError
from harness.ui.server import HOST, PORT


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C or SIGTERM; return 0, or 2 if it cannot start."""
    parser = argparse.ArgumentParser(
        prog="harness ui",
        description="Studies in a browser: how far they are, their reports and logs, two compared. It only reads.",
    )
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="directory of studies (default: runs)")
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default: {HOST}, this machine only)")
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0: any free one")
    options = parser.parse_args(arguments)

    from harness.ui.content import Studies
    from harness.ui.reports import Reports
    from harness.ui.server import Server

    if options.runs_dir.exists() and not options.runs_dir.is_dir():
        raise HarnessError(f"--runs-dir {options.runs_dir} is a file: name the directory of studies.")
    studies = Studies(options.runs_dir)
    with tempfile.TemporaryDirectory(prefix="harness-ui-", ignore_cleanup_errors=True) as folder:
        server = Server((options.host, options.port), studies, Reports(studies, Path(folder)))

        def stop(*_: object) -> None:
            server.over = True
            threading.Thread(target=server.shutdown).start()  # it waits for the loop below

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        sys.stdout.write(f"Studies of {options.runs_dir}: {server.url} (stop: Ctrl-C)\n")
        if not server.local:
            sys.stderr.write("Warning: everyone who reaches this address may read all studies.\n")
        sys.stdout.flush()
        with server:
            server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
