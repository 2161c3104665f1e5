"""Where lorakit keeps its data."""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "LORAKIT_HOME"
CATALOG_NAME = "catalog.db"


def home_folder() -> Path:
    """The folder of all of lorakit's data: `LORAKIT_HOME`, else the platform's data folder.

    It need not exist yet.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        # A setting from a file, unlike one from a shell, may still begin with `~`.
        return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111 (never raises)
    import platformdirs

    return platformdirs.user_data_path("lorakit", appauthor=False)


def default_catalog() -> Path:
    """The catalog's file where none is named."""
    return home_folder() / CATALOG_NAME
