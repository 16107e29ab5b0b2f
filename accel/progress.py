"""Says on the terminal what is being done, once that takes longer than two seconds."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["progress"]

DELAY_SECONDS = 2.0


class _Reporter:
    """Counts work done; shows it once `show` was called.

    Parameters
    ----------
    text : str
    total : int or None
        Units of work, None when unknown.
    """

    def __init__(self, text: str, total: int | None) -> None:
        self._lock = threading.Lock()
        console = Console(file=sys.stderr)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}" if total else ""),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._plain = not console.is_terminal
        self._console = console
        self._text = text
        self._task = self._bar.add_task(text, total=total)
        self._open = True
        self._started = False
        self._timer = threading.Timer(DELAY_SECONDS, self.show)
        self._timer.daemon = True
        self._timer.start()

    def show(self) -> None:
        """Show the bar; on a stream that is no terminal print one line."""
        with self._lock:
            if not self._open:
                return
            if self._plain:
                self._console.print(f"{self._text} ...", highlight=False)
            else:
                self._bar.start()
                self._started = True

    def advance(self, units: int = 1) -> None:
        """Count `units` of work as done."""
        with self._lock:
            self._bar.advance(self._task, units)

    def close(self) -> None:
        """Take the bar away."""
        self._timer.cancel()
        with self._lock:
            self._open = False
            if self._started:
                self._bar.stop()


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[_Reporter]:
    """Show `text` and a bar on stderr while the block runs, if it runs for over two seconds.

    Parameters
    ----------
    text : str
        What is being done: "building the simulator of small".
    total : int or None
        Units that the block reports by `advance`.
    """
    reporter = _Reporter(text, total)
    try:
        yield reporter
    finally:
        reporter.close()
