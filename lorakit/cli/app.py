"""The Typer application. A verb's module is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from lorakit import __version__
from lorakit.cli.output import write_line
from lorakit.cli.overview import ABOUT, VERBS, Verb, overview
from lorakit.cli.plain_errors import PlainGroup


def _register(app: typer.Typer, verb: Verb) -> None:
    """Import a verb's module and register what it holds."""
    module = import_module(f"lorakit.cli.{verb.module}")
    if hasattr(module, "app"):
        app.add_typer(module.app, name=verb.name)
        return
    app.command(
        verb.name,
        cls=getattr(module, "COMMAND", None),
        epilog=f"Example: `{module.EXAMPLE}`",
        context_settings=getattr(module, "CONTEXT_SETTINGS", None),
        options_metavar=getattr(module, "USAGE", "[OPTIONS]"),
    )(getattr(module, f"{verb.module}_verb"))


def build_app(called: str | None = None) -> typer.Typer:
    """The command line; with only the verb `called` when it names one, which starts faster."""
    app = typer.Typer(
        name="lorakit",
        cls=PlainGroup,
        help=ABOUT,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "default_map": _defaults()},
    )
    app.callback(invoke_without_command=True)(_root)
    wanted = [verb for verb in VERBS if verb.name == called] or VERBS
    for verb in wanted:
        _register(app, verb)
    return app


def _defaults() -> dict[str, Any]:
    """False, where Typer's own flags would be None and converted with pydantic: an import saved."""
    flags: dict[str, Any] = {"help": False, "install_completion": False, "show_completion": False}
    return flags | {verb.name: {"help": False} for verb in VERBS}


def _show_version(wanted: bool) -> None:
    if wanted:
        write_line(f"lorakit {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        write_line(overview())
