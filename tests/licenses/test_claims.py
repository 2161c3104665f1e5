"""Several claims about one content: the strictest wins, and a person settles only what is unknown."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from lorakit.licenses.claims import ORIGINS, Claim, Origin, conflicts, joined
from lorakit.licenses.terms import ShareMerges, Terms, strictest

FILES: tuple[Origin, ...] = tuple(origin for origin in ORIGINS if origin != "user")


def claim(origin: Origin, share: ShareMerges, *duties: str) -> Claim:
    return Claim(origin, Terms(f"{origin}'s", share, f"{share}.", f"{origin}'s page", None), None)


def test_no_claim_at_all_is_unknown() -> None:
    assert joined([]).share_merges is ShareMerges.UNKNOWN


def test_a_person_settles_the_unknown_and_nothing_else() -> None:
    for said, mine in product(ShareMerges, ShareMerges):
        together = joined([claim("modelspec", said), claim("user", mine)]).share_merges
        settled = mine if said is ShareMerges.UNKNOWN else strictest([said, mine])
        assert together is settled, (said, mine)


def test_a_conflict_names_both_sources_and_what_holds() -> None:
    deny, allow = claim("civitai", ShareMerges.DENY), claim("card", ShareMerges.ALLOW)
    (said,) = conflicts([allow, deny])
    assert said == "civitai's page says deny, but card's page says allow; the stricter holds."
    mine = claim("user", ShareMerges.ALLOW)
    (said,) = conflicts([mine, claim("card", ShareMerges.UNKNOWN)])
    assert said.endswith("your claim settles it.")
    assert conflicts([deny, deny]) == ()


CLAIM = st.builds(
    lambda origin, share, duties, pictures: Claim(
        origin,
        Terms(
            "t",
            share,
            "s",
            "x",
            None,
            obligations=tuple(duties),
            share_pictures=pictures,
            picture_obligations=tuple(duties),
        ),
    ),
    st.sampled_from(ORIGINS),
    st.sampled_from(ShareMerges),
    st.lists(st.sampled_from("abcd"), max_size=2),
    st.sampled_from([None, *ShareMerges]),
)


@given(st.lists(CLAIM, max_size=6), CLAIM)
def test_one_more_claim_drops_no_obligation_and_loosens_no_answer(
    claims: list[Claim], one: Claim
) -> None:
    before, after = joined(claims), joined([*claims, one])
    assert set(before.obligations) <= set(after.obligations)
    assert set(before.picture_obligations) <= set(after.picture_obligations)
    if before.share_merges is not ShareMerges.UNKNOWN:
        assert strictest([before.share_merges, after.share_merges]) is after.share_merges
    if before.share_pictures not in (None, ShareMerges.UNKNOWN):
        assert after.share_pictures is not None
        assert strictest([before.share_pictures, after.share_pictures]) is after.share_pictures


@given(st.lists(CLAIM, min_size=1, max_size=6))
def test_the_order_of_claims_decides_nothing(claims: list[Claim]) -> None:
    one, other = joined(claims), joined(claims[::-1])
    assert (one.share_merges, one.share_pictures) == (other.share_merges, other.share_pictures)
    assert set(one.obligations) == set(other.obligations)
    # What may be shared freely asks for nothing.
    assert one.share_merges is not ShareMerges.ALLOW or not one.obligations
