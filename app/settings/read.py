"""What the environment says, read into the settings."""

import os
from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import ValidationError

from app.errors import Mistake, Problem
from app.settings.model import Settings

PREFIX = "BANDSHIFT_"
_FLAT = ("database_url", "home", "policy")


def load_settings() -> Settings:
    """The settings of the environment.

    Raises `Mistake` with every variable that cannot be read and every BANDSHIFT_ variable that does not exist: a typing
    error must not pass in silence. No message holds a value, which may be a secret.
    """
    problems = list(_unknown())
    said = {name: os.environ.get(_variable(name)) for name in _FLAT}
    try:
        settings = Settings(**{name: value for name, value in said.items() if value})  # type: ignore[arg-type]
    except ValidationError as error:
        problems += [Problem(_variable(str(item["loc"][0])), item["msg"]) for item in error.errors()]
    if problems:
        raise Mistake("the environment cannot be used:", problems)
    return settings


def _unknown() -> Iterator[Problem]:
    """A problem for each BANDSHIFT_ variable that no setting reads, in order of name."""
    known = sorted(name for name in map(_variable, _FLAT) if name.startswith(PREFIX))
    # In any case, for that is how they are read.
    for name in sorted(variable for variable in os.environ if variable.upper().startswith(PREFIX)):
        if name.upper() not in known:
            near = get_close_matches(
                name.upper().removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], n=1
            )
            hint = f"did you mean {PREFIX}{near[0]}?" if near else f"there are {', '.join(known)}"
            yield Problem(name, f"no such setting; {hint}")


def _variable(field: str) -> str:
    """The environment variable that a field is read from."""
    return field.upper() if field.upper() == "DATABASE_URL" else f"{PREFIX}{field.upper()}"
