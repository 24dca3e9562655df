"""What is said of databases and settings that cannot be used, and how settings are written down."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import SecretStr, ValidationError

from app import database
from app.errors import BandshiftError
from app.settings import Settings, Webhook
from app.settings.catalogue import ANY, settings_there_are, variable
from app.settings.read import read_settings
from tests.canary import secrets
from tests.canary.parrots import PostgresParrot, closed_port, serving
from tests.canary.story import Story
from tests.canary.surfaces import Look, surface


@surface("a server that cannot be reached", "cannot be reached")
def _(story: Story) -> str:
    return unusable(story, f"postgresql://u:{quoted()}@127.0.0.1:{closed_port()}/d")


@surface("a host that nobody knows", "cannot be reached")
def _(story: Story) -> str:
    return unusable(story, f"postgresql://u:{quoted()}@nowhere.invalid/d")


@surface("a server that repeats the password it refuses", "the password *** is wrong")
def _(story: Story) -> str:
    with serving(PostgresParrot()) as server:
        told = unusable(story, f"postgresql://u:{quoted()}@127.0.0.1:{server.server_address[1]}/d")
    assert secrets.PASSWORD in server.heard
    return told


@surface("a database that is not there", "does not exist")
def _(story: Story) -> str:
    return unusable(story, f"{story.dsn}&dbname=nosuch" if "?" in story.dsn else f"{story.dsn}?dbname=nosuch")


def unusable(story: Story, dsn: str) -> str:
    """What is said of a database that cannot be used, by a command and by the error behind it."""
    ended = story.run("doctor", "-v", environ=story.environ | {"DATABASE_URL": dsn})
    assert ended.code in {1, 2}
    assert ended.bug is None
    with pytest.raises(BandshiftError) as caught, database.open_engine(Settings(database_url=SecretStr(dsn))):
        pass
    told = "".join(traceback.format_exception(caught.value))
    return ended.out + ended.err + told + repr(caught.value)


def quoted() -> str:
    return quote(secrets.PASSWORD, safe="")


UNREADABLE = {
    "that is only the secret": secrets.PASSWORD,
    "without a scheme": f"u:{secrets.PASSWORD}@h/d",
    "of another scheme": f"mysql://u:{secrets.DSN}@h/d",
    "of a scheme that is the secret": f"{secrets.DSN}://h/d",
    "with a bare @ in the password": f"postgresql://u:p@{secrets.DSN}@h/d",
    "with a bare / in the password": f"postgresql://u:p/{secrets.DSN}@h/d",
    "with a bare ? in the password": f"postgresql://u:p?{secrets.DSN}@h/d",
    "with a bare ? and = in the password": f"postgresql://u:p?{secrets.DSN}=@h/d",
    "with a bare # in the password": f"postgresql://u:p#{secrets.DSN}@h/d",
    "whose port is the secret": f"postgresql://u@h:{secrets.DSN}/d",
    "whose port is too large": f"postgresql://u:{secrets.DSN}@h:99999/d",
    "with an unknown option": f"postgresql://u:{secrets.DSN}@127.0.0.1:1/d?colour=red",
    "with an option that is the secret": f"postgresql://u@127.0.0.1:1/d?{secrets.DSN}=1",
    "of words": f"host=h password={secrets.DSN}",
    "with a bracket": f"postgresql://u:{secrets.DSN}@[h/d",
    "with a line break": f"postgresql://u:{secrets.DSN}\n@h/d",
}
for kind, dsn in UNREADABLE.items():
    surface(f"a URL {kind}", "bandshift: ")(partial(unusable, dsn=dsn))


def unfit(story: Story, environ: Mapping[str, str], settings_file: str = "") -> str:
    """What is said of settings that cannot be used, by a command and by the error behind it."""
    with story.surrounded(environ) as patch:
        patch.chdir(story.folder.parent)
        Path("unfit.toml").write_text(settings_file, encoding="utf-8")
        asked = {**environ, "BANDSHIFT_SETTINGS": str(Path("unfit.toml").resolve())}
        with pytest.raises(BandshiftError) as caught:
            read_settings(asked)
    ended = story.run("settings", "-v", environ=asked)
    assert (ended.code, ended.out, ended.bug) == (2, "", None)
    return ended.err + "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)


def every_path(kind: str) -> Iterator[tuple[str, ...]]:
    """The path of every setting, a channel's under the name of its type; `kind` goes to channels without one."""
    for setting in settings_there_are():
        yield tuple((setting.channel or kind) if key == ANY else key for key in setting.path)


@surface("settings that are all the secret, in variables", "BANDSHIFT_WORKER__ATTEMPTS: should be a whole number")
def _(story: Story) -> str:
    return unfit(story, {variable(path): secrets.DSN for path in every_path("x")})


@surface("secrets where the name of their file belongs", "BANDSHIFT_CHANNELS__WEBHOOK__SECRET_FILE: names a file")
def _(story: Story) -> str:
    return unfit(story, {f"{variable(path)}_FILE": secrets.DSN for path in every_path("x")})


@surface("secrets in variables that do not exist", "BANDSHIFT_DATABASE_URL: no such setting")
def _(story: Story) -> str:
    names = ("BANDSHIFT_DATABASE_URL", "BANDSHIFT_CHANNELS__OPS__SECRT", "BANDSHIFT_PASSWORD", "BANDSHIFT_CHANNELS")
    return unfit(story, dict.fromkeys(names, secrets.DSN))


def in_file(write: Callable[[str], str]) -> Look:
    """What is said of a file in which each setting is the secret, written so."""

    def look(story: Story) -> str:
        lines = [f"{'.'.join(path)} = {write(secrets.DSN)}" for path in every_path("x")]
        return unfit(story, {}, "\n".join(lines))

    return look


surface("settings that are all the secret, in the file", "worker.attempts should be")(in_file(json.dumps))
surface("settings that are a list of secrets", "worker.attempts should be")(in_file(lambda one: f'["{one}"]'))
surface("settings that are a table of secrets", "worker.attempts should be")(in_file(lambda one: f'{{a = "{one}"}}'))
surface("settings that are a table named by the secret", "worker.attempts")(in_file(lambda one: f"{{{one} = 1}}"))
for kind, line in {
    "without quotes": f"database_url = {secrets.DSN}",
    "with one quote": f'database_url = "{secrets.DSN}',
    "with a strange escape": f'database_url = "\\{secrets.DSN}"',
    "without a key": secrets.DSN,
    "after the value": f'database_url = "x" {secrets.DSN}',
    "in the name of a channel": f'[channels."{secrets.DSN}x y"]\ntype = "fax"\n[{secrets.DSN}',
    "twice": f'database_url = "{secrets.DSN}"\ndatabase_url = "{secrets.DSN}"',
}.items():
    surface(f"a settings file with the secret {kind}", "is not TOML")(partial(unfit, environ={}, settings_file=line))


@surface("the settings, however they are written down", "hook")
def _(story: Story) -> str:
    settings = story.settings
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    shown += [repr(channel) for channel in settings.channels.values()]
    shown += [repr(read_settings(story.environ)), str(dict(settings))]
    return "\n".join([*shown, f"{settings}"])


@surface("settings made by hand, and wrongly", "validation error")
def _(story: Story) -> str:
    told = []
    for wrong in (
        {"channels": {"hook": {"type": secrets.HOOK_KEY}}},
        {"channels": {"hook": {"type": "webhook", "url": secrets.HOOK_URL, "secret": secrets.HOOK_KEY}}},
        {"channels": {"hook": secrets.HOOK_KEY}},
        {"channels": secrets.HOOK_KEY},
        {"worker": {"attempts": secrets.DSN}},
        {"database_url": [secrets.DSN]},
        {"database_url": {"a": secrets.DSN}},
    ):
        with pytest.raises(ValidationError) as caught:
            Settings(**wrong)
        told += [str(caught.value), repr(caught.value)]
    with pytest.raises(ValidationError) as caught:
        Webhook(type="webhook", url=SecretStr(secrets.HOOK_URL), secret=SecretStr(secrets.HOOK_KEY))
    return "\n".join([*told, str(caught.value)])


@surface("the engine, however it is written down", "bandshift_test_")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return "\n".join(map(repr, (engine, engine.url, str(engine.url), connection, connection.engine.url.query)))
