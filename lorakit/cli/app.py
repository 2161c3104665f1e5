"""The verbs by task. A verb's module is imported when it is called or when help lists them all."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lorakit import __version__
from lorakit.cli.output import write_line


@dataclass(frozen=True)
class Verb:
    """A verb, the task it belongs to, and the module of this room that holds it.

    The module has a function `<name>_verb` and an `EXAMPLE`, or an `app` of sub-verbs.
    """

    task: str
    name: str

    def add_to(self, app: typer.Typer) -> None:
        """Import the module and register what it holds."""
        module = import_module(f"lorakit.cli.{self.name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=self.name, rich_help_panel=self.task)
            return
        function = getattr(module, f"{self.name}_verb")
        app.command(self.name, rich_help_panel=self.task, epilog=f"Example: `{module.EXAMPLE}`")(
            function
        )


# The order here is the order on the help page: by task, not by alphabet.
VERBS: tuple[Verb, ...] = (
    Verb("Collect", "add"),
    Verb("Collect", "ls"),
    Verb("Look", "inspect"),
    Verb("Stack", "base"),
    Verb("Stack", "stack"),
    Verb("Stack", "preview"),
    Verb("Share", "export"),
    Verb("Learn", "demo"),
)


class ByTask(TyperGroup):
    """The verbs in the order of `VERBS`; Typer itself would list those with sub-verbs last."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 (Click's context is private)
        """The names of the verbs that are registered."""
        order = [verb.name for verb in VERBS]
        return sorted(self.commands, key=order.index)


def build_app(called: str | None = None) -> typer.Typer:
    """The command line; with only the verb `called` when it names one, which starts faster."""
    app = typer.Typer(
        name="lorakit",
        cls=ByTask,
        help="Collect style LoRAs for the Anima image model, stack them on a base, preview, and keep "
        "to the licences.",
        epilog="`lorakit VERB --help` shows a verb's options and an example.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(invoke_without_command=True)(_root)
    wanted = [verb for verb in VERBS if verb.name == called] or VERBS
    for verb in wanted:
        verb.add_to(app)
    return app


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
        write_line(context.get_help())
