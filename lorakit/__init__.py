"""Collect style LoRAs for the Anima image model, stack them on a base in memory, preview them.

The names below are imported when they are first used, so `import lorakit` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lorakit.adapters.adapter import Adapter as Adapter
    from lorakit.adapters.loading import load_adapter as load_adapter
    from lorakit.catalog import Catalog as Catalog
    from lorakit.formats.inspection import AdapterReport as AdapterReport
    from lorakit.formats.inspection import inspect as inspect
    from lorakit.fusion.engine import FusedWeights as FusedWeights
    from lorakit.fusion.engine import fuse as fuse
    from lorakit.fusion.live import LiveFusion as LiveFusion
    from lorakit.merging.merge import merge as merge
    from lorakit.stack import Stack as Stack
    from lorakit.strengths import Strength as Strength
    from lorakit.tracing.files import trace as trace
    from lorakit.tracing.report import TraceReport as TraceReport

_HOMES = {
    "Adapter": "lorakit.adapters.adapter",
    "AdapterReport": "lorakit.formats.inspection",
    "Catalog": "lorakit.catalog",
    "FusedWeights": "lorakit.fusion.engine",
    "LiveFusion": "lorakit.fusion.live",
    "Stack": "lorakit.stack",
    "Strength": "lorakit.strengths",
    "TraceReport": "lorakit.tracing.report",
    "fuse": "lorakit.fusion.engine",
    "inspect": "lorakit.formats.inspection",
    "load_adapter": "lorakit.adapters.loading",
    "merge": "lorakit.merging.merge",
    "trace": "lorakit.tracing.files",
}

__all__ = [
    "Adapter",
    "AdapterReport",
    "Catalog",
    "FusedWeights",
    "LiveFusion",
    "Stack",
    "Strength",
    "TraceReport",
    "fuse",
    "inspect",
    "load_adapter",
    "merge",
    "trace",
]


def __getattr__(name: str) -> object:
    """Import a public name from the room that holds it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lorakit' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
