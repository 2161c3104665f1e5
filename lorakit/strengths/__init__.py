"""The strengths of stack entries: one number, or one refined by block, kind, component, name or step."""

from lorakit.strengths.presets import PRESETS, Preset
from lorakit.strengths.strength import MAX_STRENGTH, Strength, as_strength, refuse_scheduled

__all__ = ["MAX_STRENGTH", "PRESETS", "Preset", "Strength", "as_strength", "refuse_scheduled"]
