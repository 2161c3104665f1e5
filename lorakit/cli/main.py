"""The entry point: start quickly, and turn errors into exit codes in one place."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorakit.errors import LorakitError

INTERRUPTED = 130
# Set by the script of `--show-completion` when a shell wants to complete a word.
_COMPLETING = "_LORAKIT_COMPLETE"


def main() -> None:
    """Run the command line on the words it was called with, and exit."""
    # Most commands are over before collecting garbage could pay: it is a tenth of their time.
    gc.set_threshold(100_000, 20, 100)
    _open_closed_streams()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        code = 1
        # Python's own attempt to write the rest at the end would fail and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A closed pipe is no news: `| head` has what it wanted.
        if not isinstance(error, BrokenPipeError):
            print(f"Error: the output cannot be written: {error.strerror}.", file=sys.stderr)  # noqa: T201
    with suppress(OSError):
        sys.stderr.flush()
    # Every file, database and thread is closed by now. Taking down the interpreter module by module
    # would take another tenth of the time.
    os._exit(code)


def _open_closed_streams() -> None:
    """Give a process that was started without some of its streams (`>&-`) empty ones."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def run(arguments: list[str]) -> int:
    """Run the command line on `arguments`; the result is its exit code.

    0 ok, 1 known failure, 2 usage, 3 refused by a licence, 4 file invalid or unreadable, 130 Ctrl-C.
    """
    from lorakit import __version__

    if arguments == ["--version"]:
        # Before anything else is imported: scripts ask for the version often.
        sys.stdout.write(f"lorakit {__version__}\n")
        return 0
    if _COMPLETING in os.environ:
        from lorakit.cli.complete import answer

        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
        return answer()
    if arguments in ([], ["--help"], ["-h"]):
        from lorakit.cli.overview import overview

        sys.stdout.write(overview() + "\n")
        return 0
    # Typer converts arguments with pydantic, whose plugins lorakit does not use; looking for them
    # reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    try:
        return _run_verb(arguments)
    except KeyboardInterrupt:
        # Typer catches it in a verb; this is for the imports before.
        return INTERRUPTED


def _run_verb(arguments: list[str]) -> int:
    from lorakit.cli.app import build_app
    from lorakit.cli.output import prepare_streams, trimmed_help
    from lorakit.errors import LorakitError

    prepare_streams()
    app = build_app(arguments[0] if arguments else None)
    try:
        with trimmed_help(arguments):
            app(arguments)
    except LorakitError as error:
        return _report(error)
    except OSError as error:
        # A full disk or a lost permission can strike anywhere.
        where = f"{error.filename}: " if error.filename is not None else ""
        return _report(LorakitError(f"{where}{error.strerror or error}."))
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def _report(error: LorakitError) -> int:
    from lorakit.cli.output import report_error

    if os.environ.get("LORAKIT_DEBUG"):
        import traceback

        traceback.print_exc()
    report_error(error)
    return error.exit_code
