"""Terms and verdicts: the strictest wins, and unknown denies."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import BadUsage, Refused
from lorakit.licenses.answers import answers
from lorakit.licenses.policy import Ingredient, judge, require_allowed
from lorakit.licenses.spdx import license_terms
from lorakit.licenses.terms import (
    ShareMerges,
    Terms,
    known_licenses,
    known_models,
    model_terms,
    strictest,
)

ALLOWED = {ShareMerges.ALLOW, ShareMerges.ALLOW_WITH_OBLIGATIONS}


def ingredient(share: ShareMerges, name: str = "x") -> Ingredient:
    return Ingredient(name, "adapter", Terms(name, share, f"{name} says {share}.", "a test", None))


def test_rdbt_denies_in_both_editions_in_its_authors_words() -> None:
    for key in ("rdbt", "rdbt-lora"):
        terms = model_terms(key)
        assert terms.share_merges is ShareMerges.DENY
        assert terms.statement == "Sharing merges using this model is not allowed."
        assert "2356447" in terms.source
        assert terms.read_on is not None
        assert terms.credit


def test_every_entry_of_the_table_cites_its_source_or_is_unknown() -> None:
    for key, terms in {**known_models(), **known_licenses()}.items():
        assert terms.statement, key
        assert terms.source, key
        if terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS:
            assert terms.obligations, key
        if terms.source.startswith("none"):
            assert terms.share_merges is ShareMerges.UNKNOWN, key


def test_animas_obligations_hold_the_notice_word_for_word() -> None:
    text = " ".join(" ".join(model_terms("anima").obligations).split())
    assert (
        "The CircleStone Model is licensed by CircleStone Labs LLC under the CircleStone "
        "Non-Commercial License. Copyright CircleStone Labs LLC. IN NO EVENT SHALL CIRCLESTONE LABS "
        "LLC BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, "
        "TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH USE OF THIS MODEL."
    ) in text
    assert "Built on NVIDIA Cosmos" in text


@given(st.lists(st.sampled_from(ShareMerges), min_size=1, max_size=6))
def test_a_verdict_allows_only_when_every_ingredient_does(shares: list[ShareMerges]) -> None:
    verdict = judge([ingredient(share) for share in shares])
    assert verdict.allowed == all(share in ALLOWED for share in shares)
    assert verdict.share_merges in shares


def test_adding_an_ingredient_never_loosens_a_verdict() -> None:
    order = [
        ShareMerges.ALLOW,
        ShareMerges.ALLOW_WITH_OBLIGATIONS,
        ShareMerges.UNKNOWN,
        ShareMerges.DENY,
    ]
    for one, other in product(order, order):
        assert strictest([one, other]) is max(one, other, key=order.index)


def test_an_ancestor_decides_like_an_ingredient_and_is_named_with_what_holds_it() -> None:
    deep = replace(ingredient(ShareMerges.DENY, "rdbt"), relation="was merged from rdbt (a header)")
    middle = replace(
        ingredient(ShareMerges.ALLOW, "mix"), ancestors=(deep,), relation="was merged from mix"
    )
    verdict = judge([replace(ingredient(ShareMerges.ALLOW, "new"), ancestors=(middle,))])
    assert verdict.share_merges is ShareMerges.DENY
    assert [part.name for part in verdict.parts] == ["new", "mix", "rdbt"]
    assert verdict.deciding == (deep,)
    assert verdict.reasons == (
        "new (adapter) was merged from mix, which was merged from rdbt (a header): rdbt says deny. "
        "[a test]",
    )
    (document,) = verdict.to_dict()["ingredients"]
    assert document["ancestors"][0]["ancestors"][0]["share_merges"] == "deny"


def test_the_answers_say_who_decides_and_what_must_be_included() -> None:
    terms = Terms(
        "Ink's",
        ShareMerges.ALLOW_WITH_OBLIGATIONS,
        "s",
        "a page",
        date(2026, 5, 3),
        obligations=('Show: "A very long notice that nobody reads"', "Credit inker."),
        share_pictures=ShareMerges.ALLOW_WITH_OBLIGATIONS,
        pictures_statement="Not to be sold.",
        picture_obligations=("Pictures may not be sold.",),
        use="For fun only.",
    )
    ink = Ingredient("ink", "adapter", terms)
    render, pictures, merge, include = answers(judge([ink]))
    assert str(render) == "yes: rendering shares no weights. For fun only."
    assert str(pictures) == "yes, under conditions: Not to be sold. [a page, read 2026-05-03]"
    assert merge.outcome == "allowed, with 2 obligations"
    assert "Ink's [a page, read 2026-05-03]" in merge.why
    assert 'Show "A very long notice ...".' in str(include)
    assert include.include == (*terms.obligations, "Pictures may not be sold.")
    silent = replace(ingredient(ShareMerges.UNKNOWN, "silent"))
    _, pictures, merge, include = answers(judge([ink, silent]))
    assert "Of pictures nothing is on record for silent." in pictures.why
    assert str(merge).startswith("unknown, so denied: silent (adapter, silent)")
    assert include.include == ("Pictures may not be sold.",)
    _, pictures, merge, include = answers(judge([]))
    assert (pictures.outcome, merge.outcome) == ("not settled", "unknown, so denied")
    assert str(include) == "nothing"


def test_no_ingredients_at_all_is_unknown_and_so_denied() -> None:
    assert not judge([]).allowed


def test_a_refusal_names_the_ingredient_its_term_and_the_source() -> None:
    verdict = judge([ingredient(ShareMerges.ALLOW, "ink"), ingredient(ShareMerges.DENY, "wash")])
    with pytest.raises(Refused, match=r"wash .*wash says deny.*\[a test\]") as refused:
        require_allowed(verdict, "Writing merged.safetensors")
    assert refused.value.exit_code == 3
    assert "ink says" not in refused.value.message
    assert refused.value.hint is not None
    assert "--save" in refused.value.hint


def test_what_a_header_claims_is_looked_up_and_anything_else_is_unknown() -> None:
    assert license_terms("CC0-1.0", "h").share_merges is ShareMerges.ALLOW
    assert license_terms("cc-by-4.0", "h").share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    for claim in ("", "do what you like", "mit and", "((("):
        assert license_terms(claim, "h").share_merges is ShareMerges.UNKNOWN


def test_an_unknown_model_key_lists_the_known_ones() -> None:
    with pytest.raises(BadUsage) as error:
        model_terms("sdxl")
    assert "rdbt" in str(error.value.hint)
