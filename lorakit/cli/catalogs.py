"""Opening the user's catalog."""

from __future__ import annotations

from lorakit.catalog import Catalog
from lorakit.cli.output import warn


def open_catalog() -> Catalog:
    """The user's catalog, in LORAKIT_HOME or the platform's data folder."""
    show_warnings()
    return Catalog.open()


def show_warnings() -> None:
    """Send what the rooms below log to stderr, each text once, in the words of the command line."""
    # Only verbs that open the catalog pay for this import; reading a file logs nothing.
    import logging

    class ToOutput(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.said: set[str] = set()

        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text not in self.said:
                self.said.add(text)
                warn(text)

    logger = logging.getLogger("lorakit")
    for handler in list(logger.handlers):
        if type(handler).__name__ == ToOutput.__name__:
            logger.removeHandler(handler)
    logger.addHandler(ToOutput())
