"""What is written over a grid and beside its pictures."""

from __future__ import annotations

import shlex

from lorakit.preview.grid.cells import short_stack
from lorakit.preview.grid.grid import GridPlan
from lorakit.preview.grid.jobs import Job
from lorakit.preview.grid.sheet import SheetText
from lorakit.stack import Entry, Stack
from lorakit.strengths.text import number


def title(plan: GridPlan) -> str:
    """The stack and the base, where there is one."""
    stack = str(short_stack(plan.request.asked.stack))
    bases = list(dict.fromkeys(job.base.name for job in plan.jobs))
    on = bases[0] if len(bases) == 1 else f"{len(bases)} bases"
    return f"{stack} on {on}" if stack else on


def remarks(plan: GridPlan) -> str:
    """The axes, and what all pictures have in common."""
    axes = " × ".join(axis.title for axis in plan.layout.axes)
    settings = [shown_settings(job) for job in plan.jobs]
    common = {
        name: value
        for name, value in settings[0].items()
        if name != "base" and all(one.get(name) == value for one in settings)
    }
    prompt = common.pop("prompt", "")
    named = [value if name == "size" else f"{name} {value}" for name, value in common.items()]
    return " · ".join(filter(None, [axes, prompt, *named]))


def sheet_text(plan: GridPlan) -> SheetText:
    """Title and labels of the sheet."""
    layout = plan.layout
    columns, rows, pages = (
        [place.label for place in places] for places in (layout.columns, layout.rows, layout.pages)
    )
    return SheetText(title(plan), remarks(plan), columns, rows, pages)


def stack_of(job: Job) -> Stack:
    """The job's stack, by the names of its adapters."""
    return Stack(tuple(Entry(entry.name, entry.strength) for entry in job.entries))


def shown_settings(job: Job) -> dict[str, str]:
    """Base and settings as a person reads them; what does nothing is left out."""
    settings = job.settings
    found = {
        "prompt": settings.prompt,
        "negative prompt": settings.negative_prompt if settings.cfg > 1.0 else "",
        "base": job.base.name,
        "seed": str(settings.seed),
        "CFG": number(settings.cfg),
        "steps": str(settings.steps),
        "size": f"{settings.width} × {settings.height}",
        "shift": number(settings.shift),
        "image": settings.image.name if settings.image else "",
        "denoise": number(settings.denoise) if settings.image else "",
    }
    return {name: value for name, value in found.items() if value}


def preview_command(job: Job) -> str:
    """The command line that renders the same picture by itself, for a POSIX shell."""
    settings = job.settings
    words = ["lorakit", "preview", *filter(None, [str(stack_of(job))]), "--base", job.base.name]
    words += ["-p", settings.prompt]
    words += ["--negative", settings.negative_prompt] if settings.negative_prompt else []
    words += ["--size", f"{settings.width}x{settings.height}", "--steps", str(settings.steps)]
    words += ["--cfg", number(settings.cfg), "--seed", str(settings.seed)]
    words += ["--shift", number(settings.shift)] if settings.shift != job.recipe.shift else []
    if settings.image is not None:
        words += ["--image", settings.image.name, "--denoise", number(settings.denoise)]
    return shlex.join(words)
