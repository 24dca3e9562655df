"""Families: accounts that belong together through their parents, each named by the account at its root.

An account that is marked `standalone` belongs to nobody and nobody to it: what hangs below it is a family of its own.
So is what hangs below a parent that is not known. Accounts whose parents lead in a circle have no root and stand alone,
as those do that are deeper than any company is nested.
"""

from functools import cache
from typing import Any

from sqlalchemy import ARRAY, FromClause, Integer, Select, bindparam, func, literal, select

from app.tables import Id, accounts, coverage

DEEPEST = 50


RELATIVES_OF = "relatives_of"
"""The parameter of a statement about some families only: accounts that belong to them."""


@cache
def select_members(*, some: bool = False) -> Select[Any]:
    """The active accounts that have a family, with its root and their present owner.

    With `some` only the families of the accounts that it takes as `RELATIVES_OF`.
    """
    kin = select_kin(accounts, some=some).subquery("kin")
    owned = select(coverage.c.account_id, coverage.c.owner_id).where(coverage.c.owner_id.is_not(None)).subquery("owned")
    return (
        select(kin.c.account_id, kin.c.family, owned.c.owner_id)
        .outerjoin(owned, owned.c.account_id == kin.c.account_id)
        .where(kin.c.active)
    )


def select_kin(of: FromClause, *, some: bool = False) -> Select[Any]:
    """Everybody in `of` (the columns of `accounts`) who has a family, active or not, with its root.

    Only trees are walked, from their roots down: each account has one parent, so that no walk comes back. With
    `some` only those trees that the accounts of `RELATIVES_OF` are in.
    """
    links = _select_links(of).cte("links")
    above = links.alias("above")
    has_parent = select(above.c.account_id).where(above.c.account_id == links.c.parent_id).exists()
    roots = select(
        links.c.parent_id.label("account_id"),
        links.c.parent_id.label("family"),
        links.c.parent_active.label("active"),
        literal(0, Integer).label("depth"),
    ).where(~has_parent)
    if some:
        roots = roots.where(links.c.parent_id.in_(select(_upward(links).c.account_id)))
    member = roots.distinct().cte("member", recursive=True)
    below = select(links.c.account_id, member.c.family, links.c.active, member.c.depth + 1).join(
        member, member.c.account_id == links.c.parent_id
    )
    member = member.union_all(below.where(member.c.depth < DEEPEST))
    return select(member.c.account_id, member.c.family, member.c.active)


def _upward(links: FromClause) -> FromClause:
    """The accounts of `RELATIVES_OF` and all above them; who is in a circle is met once."""
    asked = select(func.unnest(bindparam(RELATIVES_OF, type_=ARRAY(Id))).label("account_id"))
    upward = asked.cte("upward", recursive=True)
    return upward.union(select(links.c.parent_id).join(upward, upward.c.account_id == links.c.account_id))


def _select_links(of: FromClause) -> Select[Any]:
    """Who has a known parent, and neither of the two stands alone."""
    child, parent = of.alias("child"), of.alias("parent")
    return (
        select(
            child.c.account_id,
            child.c.parent_id,
            (child.c.status == "active").label("active"),
            (parent.c.status == "active").label("parent_active"),
        )
        .join(parent, parent.c.account_id == child.c.parent_id)
        .where(child.c.parent_id.is_not(None), child.c.parent_id != child.c.account_id)
        .where(child.c.standalone.is_not(True), parent.c.standalone.is_not(True))
    )
