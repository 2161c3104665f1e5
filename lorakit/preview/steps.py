"""Following the denoising loop from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lorakit.preview.unsound import require_finite

if TYPE_CHECKING:
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler

    from lorakit.preview.settings import RenderSettings

OnStep = Callable[[int, int], None]
BeforeStep = Callable[[int], None]


def make_scheduler(
    config: Mapping[str, Any],
    settings: RenderSettings,
    before_step: BeforeStep,
    on_step: OnStep | None,
) -> FlowMatchEulerDiscreteScheduler:
    """A scheduler for one picture that tells of its steps and breaks off at NaN or infinity.

    Waiting for each step's numbers costs a GPU next to nothing, and keeps the progress true.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    # The Anima pipeline passes no size to shift by, so a dynamic shift could only fail.
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(
        config, shift=settings.shift, use_dynamic_shifting=False
    )
    # The modular pipeline has no callback. The scheduler steps once a step whatever the guidance.
    advance = scheduler.step
    step = settings.first_step

    def watched(*args: object, **kwargs: object) -> tuple[torch.Tensor]:
        nonlocal step
        result: tuple[torch.Tensor] = advance(*args, **kwargs)
        require_finite(result[0], "step", step)
        step += 1
        if on_step is not None:
            on_step(step - settings.first_step, settings.steps_run)
        if step < settings.steps:
            before_step(step)
        return result

    scheduler.step = watched
    return scheduler
