"""A plan as a value: what it shares, what it says of itself."""

from dataclasses import replace

from msgspec import structs

from app.plan import OwnerChange, decisions_of
from app.policy.read import default_policy
from tests.plans import decision, plan


def fresh(text: str) -> str:
    """An equal text that is another object, as a driver hands it out."""
    return "".join(list(text))


def test_decisions_are_what_their_rows_say_and_share_their_texts() -> None:
    given = [
        decision(f"A-{number}", rule=fresh("value_lost"), segment=fresh("smb"), state=fresh("{}"), value=None)
        for number in range(3)
    ]
    shared = list(decisions_of(map(structs.astuple, given)))
    assert shared == given
    assert len({id(one.rule) for one in given}) == 3
    for name in ("rule", "segment", "state"):
        assert len({id(getattr(one, name)) for one in shared}) == 1


def test_a_plan_changes_something_when_a_band_or_an_owner_does() -> None:
    still = plan(default_policy(), decision("A", outcome="pending"), decision("B", outcome="state"))
    assert not still.changes
    assert replace(still, owner_changes=(OwnerChange("A", "ann", "bob", "pin", "because"),)).changes
    assert plan(default_policy(), decision("A")).changes
