"""What the fidelity page says around its figures."""

from __future__ import annotations

SUMS_TEXT = """\
What every adapter changes in the pristine base, times its strength, summed: this is computed in float64 from the
numbers in the files, by the trainers' formulas, without lorakit. Beside it stands what each tool makes of the
same adapters: error ‖made - exact‖ / ‖exact‖, gain ⟨made, exact⟩ / ‖exact‖² (1 is right, 0.5 is half the effect)
and cosine, over both modules together. An adapter's factors are multiplied out in float64, fused weights less the
base likewise. Where a tool wants to know a rank, it is told the sum of the ranks, which holds the whole of it.
kohya's scripts were not run: their formulas were written down from what they publish."""

STATED_TEXT = """\
The change of a DoRA has full rank, so no factors hold it. What `lorakit merge` says of its own result, without
looking at the exact sum (0 where nothing but rounding is lost):"""

CAUSES = """\
What is behind the larger figures:

- **Fusing** rounds the weights, of which a change is 2 % here. In bfloat16 that costs a tenth of it: the last row
  is what no tool can go below. Adapters that are added one after another round as often.
- **PEFT, rsLoRA**: the merged adapter is marked as rsLoRA, too, and multiplied by the root of its rank.
- **PEFT, DoRA**: the merged adapter is a DoRA with a fresh magnitude; those that were trained are left out.
- **PEFT `linear`, kohya's `merge_lora`**: adding the ups and adding the downs also multiplies the up of one adapter
  with the down of another.
- **kohya's `--concat`**: the ratio is applied on both sides, so it enters squared, and the alpha of the first
  adapter is divided by the rank of all. Two adapters of equal rank at ratio 1 keep half of their effect.
- **kohya's `svd_merge_lora`**: cutting off the largest hundredth of the factors' values costs effect, however
  high the rank; how much depends on a matrix's shape.
- **LyCORIS, LoKr and LoHa**: alpha / rank, 0.5 here, is applied twice when merging.
- **DoRA last**: a DoRA that is merged into weights which another adapter has changed already rescales
  that change, too. Which comes first then matters."""

OTHERS_TEXT = """\
These are not meant to be sums: TIES, DARE and pruning change what they merge, at density 0.5 here. The tables say
by how much. Modes without `_svd` work on the factors, each side for itself, where entries have no meaning of
their own: any invertible matrix may be put between them without changing the adapter."""

OWN_TEXT = """\
Each mode beside PEFT's own function of that name on the changes themselves (float64, nothing truncated). What is
left with `_svd` is what the rank cannot hold. DARE draws its mask at random and is left out."""
