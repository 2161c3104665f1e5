"""The adapters that the demo model comes with."""

from __future__ import annotations

from training.adapters import MOST, Plan
from training.fitting import Course

STYLE_COURSE = Course(steps=450, rate=3e-3, warm_up=20, weight_decay=0.0)

STYLE_PLANS = (
    Plan("ink", "lora", 16, 8.0, MOST, 0, STYLE_COURSE),
    Plan("wash", "lora", 16, 16.0, MOST, 0, STYLE_COURSE),
    Plan("neon", "lora", 8, 16.0, (*MOST, "adaln"), 0, STYLE_COURSE),
    Plan("mosaic", "lokr", 8, 8.0, MOST, 0, STYLE_COURSE),
)

# As RDBT's own LoRA is trained: rank and alpha 24, blocks 0-2 and the adaln linears left out.
DISTILLED = Plan(
    "distilled",
    "lora",
    24,
    24.0,
    MOST,
    3,
    Course(steps=500, rate=2e-3, warm_up=20, weight_decay=0.0),
)
GUIDANCE = 4.0
"""The CFG that the distilled base gives in one pass."""
