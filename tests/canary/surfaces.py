"""The register of surfaces, and what it takes to look at them."""

from collections.abc import Callable

from tests.canary.story import Story

Look = Callable[[Story], str]
SURFACES: dict[str, tuple[Look, str]] = {}
"""Each place that is searched, by name: how to look at it, and what it says if it says anything."""


def surface(name: str, proof: str) -> Callable[[Look], Look]:
    def add(look: Look) -> Look:
        assert name not in SURFACES
        SURFACES[name] = (look, proof)
        return look

    return add


def nothing(_: Story) -> None:
    """What most commands need to have something to say."""


def try_in_vain(story: Story) -> str:
    """Every channel has failed again; returns what is told of it."""
    story.http.status = 404
    assert "due now" in story.run("outbox", "retry", "--all").out
    ended = story.run("outbox", "deliver", "-v")
    assert (ended.code, ended.bug) == (1, None), ended.err
    return ended.out + ended.err


def of_command(
    name: str, *arguments: str, proof: str, code: int = 0, before: Callable[[Story], object] = nothing
) -> None:
    """Adds what a command writes, to stdout and at debug to stderr."""

    def look(story: Story) -> str:
        before(story)
        ended = story.run(*arguments)
        assert (ended.code, ended.bug) == (code, None), ended.err
        return ended.out + ended.err

    surface(name, proof)(look)
