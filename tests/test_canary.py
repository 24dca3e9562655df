"""No secret escapes: a canary in each of them, and each place that people or programs read, searched.

Every surface first shows that it has something to say; one that is empty would prove nothing.
"""

import base64

import pytest

from tests.canary import commands, operation, secrets, unusable
from tests.canary.secrets import leaks
from tests.canary.story import Story, story
from tests.canary.surfaces import SURFACES
from tests.company import company_template

__all__ = ["company_template", "story"]

SEARCHED = (commands, operation, unusable)
"""Each adds its surfaces as it is imported."""


@pytest.mark.parametrize("name", SURFACES)
def test_no_secret_is_in(name: str, story: Story) -> None:
    look, proof = SURFACES[name]
    found = look(story)
    assert proof in found, "there is nothing to see, so that it would prove nothing"
    assert leaks(found) == []


@pytest.mark.parametrize("secret", secrets.CANARIES)
def test_a_canary_is_found_in_whatever_it_hides(secret: str) -> None:
    hidden = (
        secret,
        secret.upper(),
        f"postgresql://u:p%40ss%2F{secret}@h/d",
        secret.encode().hex(),
        base64.b64encode(f"\0bandshift\0{secret}".encode()).decode(),
        base64.b64encode(f"user:{secret}".encode()).decode(),
        base64.b64encode(f"{secret} and more".encode()).decode(),
    )
    assert [leaks(f"before {text} after") for text in hidden] == [[secret]] * len(hidden)
    assert leaks("before and after") == []


def test_thirty_surfaces_are_searched_and_more() -> None:
    assert len(SURFACES) >= 30
    assert {look.__module__ for look, _ in SURFACES.values()} >= {module.__name__ for module in SEARCHED}
