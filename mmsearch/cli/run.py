"""Running a command: its errors as sentences, its exit status."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

import typer

from mmsearch.cli.app import app
from mmsearch.cli.printable import escape, printable
from mmsearch.errors import MMSearchError

# Recent versions of Typer bundle Click, older ones import it. The base class of usage errors is
# reached through an error that Typer exports in both.
UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]

INTERRUPTED = 130


def leave_at_once(status: int) -> NoReturn:
    """Exit without waiting for threads: a long transcription may be running.

    The command has closed its library and files by now.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Errors become one sentence and an exit status."""
    if arguments is None:
        # The model libraries create a million objects at import that are never freed. Garbage
        # collection of them took a third of the time of a short command.
        gc.set_threshold(100_000, 50, 100)
    _run(arguments)


def _run(arguments: list[str] | None) -> None:
    from mmsearch.cli import output

    try:
        status = app(arguments, standalone_mode=False)
    except UsageProblem as error:
        error.message = printable(error.message)  # type: ignore[attr-defined]  # see UsageProblem
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except MMSearchError as error:
        output.err.print(f"[red]mmsearch:[/] {escape(error.message)}")
        words = arguments if arguments is not None else sys.argv
        if "--json" in words:
            output.print_json(
                {"error": {"code": error.code, "message": error.message, "param": error.param}}
            )
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        sys.exit(0)
    if status == INTERRUPTED:  # newer versions of Typer turn Ctrl-C into this status themselves
        output.err.print("Interrupted. Finished files are kept. Run the command again to continue.")
        leave_at_once(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
