"""Opening the user's catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lorakit.catalog import Catalog
from lorakit.cli.output import warn
from lorakit.errors import UnwritableCatalog


@contextmanager
def open_catalog() -> Iterator[Catalog]:
    """The user's catalog, in LORAKIT_HOME or the platform's data folder, closed at the end.

    That it can only be read is a warning at the end, and none where an error says it.
    """
    tell_held = show_warnings()
    try:
        with Catalog.open() as catalog:
            yield catalog
    except UnwritableCatalog:
        raise
    except BaseException:
        tell_held()
        raise
    tell_held()


def show_warnings() -> Callable[[], None]:
    """Send what the rooms below log to stderr, each text once, in the words of the command line.

    What is logged as `read_only` is held back until the function that is returned is called.
    """
    # Only verbs that open the catalog pay for this import; reading a file logs nothing.
    import logging

    class ToOutput(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.said: set[str] = set()
            self.held: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text in self.said:
                return
            self.said.add(text)
            if getattr(record, "read_only", False):
                self.held.append(text)
            else:
                warn(text)

        def tell_held(self) -> None:
            for text in self.held:
                warn(text)
            self.held.clear()

    logger = logging.getLogger("lorakit")
    for handler in list(logger.handlers):
        if type(handler).__name__ == ToOutput.__name__:
            logger.removeHandler(handler)
    shown = ToOutput()
    logger.addHandler(shown)
    return shown.tell_held
