"""The entry point: start quickly, and turn errors into exit codes in one place."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line on the words it was called with, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line on `arguments`; the result is its exit code.

    0 ok, 1 known failure, 2 usage, 3 refused by a licence, 4 file invalid or unreadable, 130 Ctrl-C.
    """
    from lorakit import __version__

    if arguments == ["--version"]:
        # Before anything else is imported: scripts ask for the version often.
        sys.stdout.write(f"lorakit {__version__}\n")
        return 0
    # Typer converts arguments with pydantic, whose plugins lorakit does not use; looking for them
    # reads the metadata of every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    from lorakit.cli.app import build_app
    from lorakit.cli.output import report_error
    from lorakit.errors import LorakitError

    app = build_app(arguments[0] if arguments else None)
    try:
        app(arguments)
    except LorakitError as error:
        if os.environ.get("LORAKIT_DEBUG"):
            raise
        report_error(error)
        return error.exit_code
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0
