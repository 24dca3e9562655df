"""Hypothesis strategies for whole worlds: a random policy, random accounts, and what a run would read of them.

They drive the same generators as the seeded worlds, with Hypothesis as the source of randomness, so that a failure
shrinks.
"""

from hypothesis import strategies as st

from app.policy.model import Policy
from tests.random_accounts import World, random_world
from tests.random_policies import random_policy


@st.composite
def policies(draw: st.DrawFn, depth: int = 2) -> Policy:
    """Any policy, its conditions at most `depth` levels beyond the usual ones."""
    return random_policy(draw(st.randoms(use_true_random=False)), depth=depth)


@st.composite
def worlds(draw: st.DrawFn, accounts: int = 3, depth: int = 2) -> World:
    """Any policy with up to so many accounts."""
    policy = draw(policies(depth))
    return random_world(draw(st.randoms(use_true_random=False)), policy, draw(st.integers(1, accounts)))
