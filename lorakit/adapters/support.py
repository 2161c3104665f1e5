"""Which algorithms this version applies, told from a report alone (no torch needed)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from shlex import quote
from types import MappingProxyType

from lorakit.errors import BadFile, NotFusable
from lorakit.formats.inspection import AdapterReport, ModuleReport
from lorakit.formats.other_models import strange_layers
from lorakit.formats.parts import algos_of

# Algorithm -> the parts its file in this room makes use of. Any other part would be dropped silently,
# so a module that carries one is refused.
APPLIED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(parts.split())
        for name, parts in {
            "lora": "down up mid inv_scale up_bias alpha dora_scale",
            "loha": "hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2 alpha dora_scale",
            "lokr": "lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b lokr_t2 alpha dora_scale",
            "glora": "glora_a1 glora_a2 glora_b1 glora_b2 alpha",
            "tlora": "tlora_q tlora_p tlora_lambda alpha",
            "oft": "oft_blocks rescale alpha",
            "oftv2": "oft_r alpha",
            "ia3": "weight on_input",
            "full": "diff diff_b",
            "norm": "w_norm b_norm",
            "set": "set_weight",
        }.items()
    }
)

# Keys of adapters that are more than a change of weights: mixtures of experts with a router, learnt
# tokens, orthogonal forms whose start is not in the file. Dropping them would change the adapter.
_MORE_THAN_WEIGHTS = re.compile(
    r"\.lora_ups\.|\.lora_up_weight|(^|[._])(routers?|experts?)[._]|(^|\.)(prefix|postfix)[._]|"
    r"register_tokens|"
    r"\.(S_p|S_q|P_init)$"
)


def check_fusable(report: AdapterReport) -> None:
    """Raise when the adapter cannot be applied.

    `BadFile`: no Anima module, halves without their other half, factors that do not multiply, an
    alpha that is no number. `NotFusable`: an algorithm or part that this version does not apply.
    """
    strange = next((key for key in report.unused_keys if _MORE_THAN_WEIGHTS.search(key)), None)
    if strange is not None:
        raise NotFusable(
            f"{report.path} is more than a change of weights: it holds {strange}.",
            hint="Routers, experts and learnt tokens cannot be fused; leave it out of the stack.",
        )
    if report.other_model is not None:
        raise BadFile(
            f"{report.path} holds no Anima adapter. {report.other_model.sentence}",
            hint="Use it with that model.",
        )
    if not report.modules:
        called = strange_layers(report.unused_keys)
        raise BadFile(
            f"{report.path} holds no Anima adapter: none of its tensors patches a known module"
            + (f"; they are of {called}." if called else "."),
            hint=f"`lorakit inspect {quote(str(report.path))}` lists its keys.",
        )
    if report.problems:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise BadFile(f"{report.path} is damaged: {report.problems[0]}{more}.")
    for module in report.modules:
        _check_module(report, module)


def _check_module(report: AdapterReport, module: ModuleReport) -> None:
    known = frozenset[str]().union(*(APPLIED[algo.name] for algo in algos_of(module.parts)))
    strange = [part for part in module.parts if part not in known]
    if strange:
        raise NotFusable(
            f"{report.path} carries {strange[0]} on {module.name}, which this version of lorakit can "
            "read but not apply.",
            hint="Leave it out of the stack.",
        )
    if not isfinite(module.scale):
        raise BadFile(f"{report.path} states an alpha of {module.alpha} for {module.name}.")
