"""The gate: everything that would put weights of others into a file goes through `write_derived`."""

from lorakit.gate.checkpoint import export_checkpoint as export_checkpoint
from lorakit.gate.derived import Derived as Derived
from lorakit.gate.derived import LazyTensor as LazyTensor
from lorakit.gate.derived import Written as Written
from lorakit.gate.judging import judge_derived as judge_derived
from lorakit.gate.judging import judge_stack as judge_stack
from lorakit.gate.writing import write_derived as write_derived
