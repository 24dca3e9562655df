"""Who may own which account, and what keeps the others from it, in words."""

from app.figures import counted, day, number
from app.owners.model import Claim, Csm


def serves(csm: Csm, claim: Claim) -> bool:
    """Whether they are active and take accounts of this kind; what is not known of the account is no mismatch."""
    return (
        csm.active
        and claim.band in csm.bands
        and _fits(claim.segment, csm.segments)
        and _fits(claim.region, csm.regions)
        and _fits(claim.language, csm.languages)
    )


def why_not(csm: Csm, claim: Claim) -> str | None:
    """What excludes this CSM for this account, with the book as it stands in `csm`; None when nothing does.

    Who owns the account and serves it needs no room for it.
    """
    if not serves(csm, claim):
        return _why_not_served(csm, claim)
    if claim.owner_id == csm.csm_id:
        return None
    return _why_no_room(csm, claim)


def _why_no_room(csm: Csm, claim: Claim) -> str | None:
    if csm.max_new is not None and csm.max_new <= 0:
        away = csm.away_until
        return "takes no new accounts in this run" if away is None else f"is away until {day(away)}"
    if csm.accounts >= csm.max_accounts:
        return f"is full: {csm.accounts:,} of {counted(csm.max_accounts, 'account')}"
    if csm.max_book is not None:
        free = csm.max_book - csm.value
        if free <= 0:
            return f"is full: {number(csm.value, 2)} of a book of {number(csm.max_book, 2)}"
        if claim.value is not None and claim.value > free:
            return f"has room for {number(free, 2)} more in value, and the account is worth {number(claim.value, 2)}"
    return None


def _why_not_served(csm: Csm, claim: Claim) -> str:
    if not csm.active:
        return "has left"
    if claim.band is None:
        return "is not needed: the account left"
    if claim.band not in csm.bands:
        return f"does not serve {claim.band}"
    for noun, asked, served in (
        ("segment", claim.segment, csm.segments),
        ("region", claim.region, csm.regions),
        ("language", claim.language, csm.languages),
    ):
        if not _fits(asked, served):
            return f"does not serve the {noun} {asked}"
    raise AssertionError("who serves an account is not asked why not")


def _fits(asked: str | None, served: frozenset[str] | None) -> bool:
    return asked is None or served is None or asked in served
