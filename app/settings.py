"""What the environment says: which database, which folder, which policy."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import Mistake, Problem

PREFIX = "BANDSHIFT_"


class Settings(BaseSettings):
    """The settings of this process, read once. An empty variable counts as one that is not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    """The user's database. Without it an embedded one is used."""

    home: Path = Path(".bandshift")
    """The folder of the embedded database, which is in `home/postgres`."""

    policy: Path | None = None
    """The policy file; without it, the one that comes with bandshift."""


def load_settings() -> Settings:
    """The settings of the environment.

    Raises `Mistake` with every variable that cannot be read and every BANDSHIFT_ variable that does not exist: a typing
    error must not pass in silence. No message holds a value, which may be a secret.
    """
    problems = list(_unknown())
    try:
        settings = Settings()
    except ValidationError as error:
        problems += [Problem(_variable(str(item["loc"][0])), item["msg"]) for item in error.errors()]
    if problems:
        raise Mistake("the environment cannot be used:", problems)
    return settings


def _unknown() -> Iterator[Problem]:
    """A problem for each BANDSHIFT_ variable that no setting reads, in order of name."""
    known = sorted(name for name in map(_variable, Settings.model_fields) if name.startswith(PREFIX))
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
