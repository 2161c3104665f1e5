"""Which algorithms this version applies, told from a report alone (no torch needed)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType

from lorakit.errors import BadFile, NotFusable
from lorakit.formats.inspection import AdapterReport, ModuleReport

# Algorithm -> the parts its file in this room makes use of. Any other part would be dropped silently,
# so a module that carries one is refused.
APPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {"lora": frozenset({"down", "up", "alpha"})}
)


def check_fusable(report: AdapterReport) -> None:
    """Raise when the adapter cannot be applied.

    `BadFile`: no Anima module, halves without their other half, factors that do not multiply, an
    alpha that is no number. `NotFusable`: an algorithm or part that this version does not apply.
    """
    if not report.modules:
        raise BadFile(
            f"{report.path} holds no Anima adapter: none of its tensors patches a known module.",
            hint=f"`lorakit inspect {report.path}` lists its keys.",
        )
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise BadFile(f"{report.path} is damaged: {report.problems[0]}{more}.")
    for module in report.modules:
        _check_module(report, module)


def _check_module(report: AdapterReport, module: ModuleReport) -> None:
    if module.algo not in APPLIED:
        raise NotFusable(
            f"{report.path} uses {module.algo} on {module.name}, which this version of lorakit can "
            "read but not apply.",
            hint=f"Leave it out of the stack. Applied are: {', '.join(sorted(APPLIED))}.",
        )
    strange = [part for part in module.parts if part not in APPLIED[module.algo]]
    if strange:
        raise NotFusable(
            f"{report.path} carries {strange[0]} on {module.name}, which this version of lorakit can "
            "read but not apply.",
            hint="Leave it out of the stack.",
        )
    if not isfinite(module.scale):
        raise BadFile(f"{report.path} states an alpha of {module.alpha} for {module.name}.")
