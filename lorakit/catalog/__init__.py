"""The catalog: which adapters and bases there are, where, and what is in them.

The names below are imported when they are first used: `home_folder` alone must cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog as Catalog
    from lorakit.catalog.home import home_folder as home_folder
    from lorakit.catalog.records import AdapterRecord as AdapterRecord
    from lorakit.catalog.records import AddedFile as AddedFile
    from lorakit.catalog.records import AddResult as AddResult
    from lorakit.catalog.records import AuditCheck as AuditCheck
    from lorakit.catalog.records import BaseRecord as BaseRecord
    from lorakit.catalog.records import DecisionRecord as DecisionRecord
    from lorakit.catalog.records import RejectedFile as RejectedFile
    from lorakit.catalog.records import SketchRecord as SketchRecord

_HOMES = {
    "AdapterRecord": "records",
    "AddResult": "records",
    "AddedFile": "records",
    "AuditCheck": "records",
    "BaseRecord": "records",
    "Catalog": "catalog",
    "DecisionRecord": "records",
    "RejectedFile": "records",
    "SketchRecord": "records",
    "home_folder": "home",
}

__all__ = [
    "AdapterRecord",
    "AddResult",
    "AddedFile",
    "AuditCheck",
    "BaseRecord",
    "Catalog",
    "DecisionRecord",
    "RejectedFile",
    "SketchRecord",
    "home_folder",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module that holds it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lorakit.catalog' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"lorakit.catalog.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
