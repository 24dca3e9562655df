"""No secret escapes: a canary in each of them, and each place that people or programs read, searched.

Every surface first shows that it has something to say; one that is empty would prove nothing.
"""

import base64
import contextlib
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic
from types import ModuleType
from urllib.parse import quote
from urllib.request import urlopen

import psutil
import psycopg
import pytest
import structlog
from psycopg import sql
from pydantic import SecretStr, ValidationError
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from app import cli, database, metrics, pipeline
from app.demo import DEMO_AS_OF
from app.errors import BandshiftError
from app.logs import configure_logs
from app.notify import deliver_due, outbox
from app.policy.read import default_policy, read_policy
from app.settings import Metrics, Settings, Webhook
from app.settings.catalogue import ANY, settings_there_are, variable
from app.settings.read import read_settings
from app.tick import step
from tests import canary
from tests.canary import Parrot, PostgresParrot, SmtpParrot, closed_port, leaks, serving
from tests.company import company_template
from tests.conftest import database_on
from tests.test_docs import ROOT

__all__ = ["company_template"]

NEXT_DAY, NEXT_WEEK = (DEMO_AS_OF + timedelta(days=days) for days in (1, 7))


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command wrote, and how it ended; `bug` is what it died of, if it was not foreseen."""

    out: str
    err: str
    code: int | None
    bug: BaseException | None


@dataclass(frozen=True, slots=True)
class Story:
    """A company on a server that wants a password, channels that fail, and what it takes to run commands there."""

    folder: Path
    dsn: str
    http: Parrot
    smtp: SmtpParrot
    told: dict[str, Ended] = field(default_factory=dict)
    """What commands wrote while the scene was set."""

    @property
    def environ(self) -> dict[str, str]:
        """Every secret there is, each with its canary."""
        channels = "BANDSHIFT_CHANNELS__"
        return {
            "DATABASE_URL": self.dsn,
            f"{channels}HOOK__TYPE": "webhook",
            f"{channels}HOOK__URL": f"http://user:{canary.HOOK_URL}@{self.http.address}/{canary.HOOK_URL}?k={canary.HOOK_URL}",
            f"{channels}HOOK__SECRET": canary.SIGNING_SECRET,
            f"{channels}HOOK__ALLOW_PRIVATE": "true",
            f"{channels}CHAT__TYPE": "slack",
            f"{channels}CHAT__URL": f"http://{self.http.address}/services/{canary.SLACK_URL}",
            f"{channels}CHAT__ALLOW_PRIVATE": "true",
            f"{channels}MAIL__TYPE": "email",
            f"{channels}MAIL__HOST": "127.0.0.1",
            f"{channels}MAIL__PORT": str(self.smtp.server_address[1]),
            f"{channels}MAIL__TLS": "none",
            f"{channels}MAIL__USERNAME": "bandshift",
            f"{channels}MAIL__PASSWORD": canary.SMTP,
            f"{channels}MAIL__SENDER": "bandshift@example.com",
            f"{channels}MAIL__TO": "ops@example.com",
            "BANDSHIFT_METRICS__PUSH_URL": f"http://user:{canary.PUSH}@{self.http.address}/{canary.PUSH}",
        }

    @property
    def settings(self) -> Settings:
        """The settings of that environment."""
        return read_settings(self.environ).settings

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
        """The command has been run in this process, with this environment instead of the story's if there is one."""
        out, err = io.StringIO(), io.StringIO()
        code, bug = None, None
        with (
            self.surrounded(self.environ if environ is None else environ),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                cli.main(arguments)
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else None
            except Exception as error:  # noqa: BLE001 - what any bug shows is what we want to see
                bug = error
        return Ended(out.getvalue(), err.getvalue(), code, bug)

    @contextmanager
    def surrounded(self, environ: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
        """The process has this environment and is in the story's folder."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("DATABASE_URL", "BANDSHIFT_HOME", "BANDSHIFT_POLICY"):
                patch.delenv(name, raising=False)
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            yield patch
        logging.getLogger().handlers.clear()
        structlog.reset_defaults()


@pytest.fixture(scope="module")
def story(server_url: URL, company_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One run applied, one stopped by a guard, one failed; every message tried through every channel, in vain."""
    with ExitStack() as stack:
        user = stack.enter_context(user_with_a_password(server_url))
        url = stack.enter_context(database_on(server_url, company_template)).set(
            username=user, password=canary.PASSWORD
        )
        http, smtp = stack.enter_context(serving(Parrot())), stack.enter_context(serving(SmtpParrot()))
        told = Story(
            folder=tmp_path_factory.mktemp("story"),
            dsn=url.set(drivername="postgresql").render_as_string(hide_password=False),
            http=http,
            smtp=smtp,
        )
        set_the_scene(told)
        yield told


@contextmanager
def user_with_a_password(server: URL) -> Iterator[str]:
    name = f"bandshift_{id(server):x}"
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    role, secret = sql.Identifier(name), sql.Literal(canary.PASSWORD)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(role, secret))
    yield name
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def set_the_scene(story: Story) -> None:
    (story.folder / "tight.toml").write_text(tight_policy(), encoding="utf-8")
    with database.open_engine(story.settings) as engine:
        tight = read_policy(tight_policy(), source="tight.toml")
        assert pipeline.recompute(engine, tight, DEMO_AS_OF, dry_run=False).status == "blocked"
        story.told["approval"] = story.run(
            "approve", "latest", "--by", "a", "--dry-run", "-v", "--policy", "tight.toml"
        )
        assert pipeline.recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False).status == "applied"
        for error in (psycopg.OperationalError(f"no luck with {story.dsn}"), RuntimeError(f"what is {story.dsn}?")):
            with patched(pipeline, "apply", raising(error)), pytest.raises((RuntimeError, DBAPIError)):
                pipeline.recompute(engine, default_policy(), NEXT_DAY, dry_run=False)
        started = datetime.now(UTC)
        for hours, status in enumerate((500, 302, 404)):
            story.http.status = status
            now = started + timedelta(hours=hours)
            assert not deliver_due(engine, story.settings, now, deadline=now + timedelta(minutes=1)).delivered
    # The servers know every secret: what they repeat is there to be passed on.
    assert leaks("\n".join(story.http.heard)) == [canary.HOOK_URL, canary.SLACK_URL]
    assert canary.SMTP in "\n".join(story.smtp.heard)


def tight_policy() -> str:
    loose = "moved_accounts = { share = 0.10, at_least = 25 }"
    policy = default_policy().body
    assert loose in policy
    return policy.replace(loose, "moved_accounts = { share = 0.0001, at_least = 1 }")


@contextmanager
def patched(module: ModuleType, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, value)
        yield


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


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


WEEK = NEXT_WEEK.isoformat()
DRY = ("recompute", "--dry-run", "--as-of", WEEK, "-v")

of_command("the settings as a table", "settings", proof="channels.hook")
of_command("the settings as JSON", "settings", "--format", "json", proof='"channels.hook.secret"')
of_command("the settings as CSV", "settings", "--format", "csv", proof="channels.mail.password,***")
of_command("the help", "--help", proof="Exit codes")
of_command("the help of a command", "recompute", "--help", proof="--as-of")
of_command("a report as a table", *DRY, proof="Dry run")
of_command("a report as JSON", *DRY, "--format", "json", proof='"sha256"')
of_command("a report as CSV", *DRY, "--format", "csv", proof="account_id,from_band")
of_command("the report of a run that is stopped", *DRY, "--policy", "tight.toml", proof="would stop", code=3)
of_command("the doctor", "doctor", "-v", proof="All holds")
of_command("the story of an account", "explain", "acc-0000001", "-v", proof="acc-0000001")
of_command("the history", "history", "-v", proof="changes")
of_command("the history as JSON", "history", "--format", "json", proof='"policy_sha"')
of_command("the pins", "pins", "-v", proof="pin")
of_command("the schema's version", "db", "status", proof="2026_")
of_command("the roles' script", "db", "roles", proof="bandshift_app")
of_command("the outbox", "outbox", "list", "-v", proof="HTTP 404", before=try_in_vain)
of_command("the outbox as JSON", "outbox", "list", "--format", "json", proof="SMTP 535", before=try_in_vain)
of_command("the outbox as CSV", "outbox", "list", "--format", "csv", proof="HTTP 404", before=try_in_vain)


of_command("the runs", "runs", "-v", proof="failed")
of_command("the runs as JSON", "runs", "--format", "json", proof='"error"')
of_command("the runs as CSV", "runs", "--format", "csv", proof="OperationalError")
of_command("how things stand", "status", "-v", "--policy", "tight.toml", proof="essages")
of_command("how things stand, as JSON", "status", "--format", "json", proof='"parked"')
of_command("an approval that comes too late", "approve", "latest", "--by", "a", "-v", proof="answered already", code=2)
of_command("an answer to a run that is not there", "reject", "ffff", "--by", "a", "-v", proof="run", code=2)
of_command("the metrics", "metrics", "-v", proof="bandshift_ledger_readable 1.0")


@surface("an approval", "Dry run")
def _(story: Story) -> str:
    told = story.told["approval"]
    assert (told.code, told.bug) == (0, None), told.err
    return told.out + told.err


surface("what a delivery that fails says", "message.postponed")(try_in_vain)


@surface("the database, every table of it", "HTTP 404")
def _(story: Story) -> str:
    try_in_vain(story)
    dump = dumped(story)
    assert all(name in dump for name in ("'runs'", "'deliveries'", "'outbox'", "'band_history'", "'policies'"))
    return dump


@surface("the errors in the ledger", "OperationalError")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        errors = connection.scalars(text("SELECT error FROM runs WHERE status = 'failed'")).all()
    assert len(errors) == 2
    return "\n".join(errors)


@surface("the errors of deliveries", "SMTP 535")
def _(story: Story) -> str:
    try_in_vain(story)
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return "\n".join(
            connection.scalars(text("SELECT DISTINCT last_error FROM deliveries WHERE last_error IS NOT NULL"))
        )


@surface("what the server knows of our sessions", "bandshift")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return str(connection.execute(text("SELECT * FROM pg_stat_activity")).all())


@surface("the metrics, as they are served", "bandshift_ledger_readable 1.0")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine:
        settings = story.settings.model_copy(update={"metrics": Metrics(port=closed_port())})
        url = f"http://127.0.0.1:{settings.metrics.port}/metrics"
        with metrics.served(engine, settings, lambda: datetime.now(UTC)), urlopen(url) as answer:
            return f"{answer.headers}\n{answer.read().decode()}"


@surface("the metrics in a file", "bandshift_ledger_readable 1.0")
def _(story: Story) -> str:
    publish_metrics(story)
    return (story.folder / "metrics.prom").read_text(encoding="utf-8")


@surface("what is said of metrics that cannot be pushed", "metrics.unpushed")
def _(story: Story) -> str:
    heard = len(story.http.heard)
    told = publish_metrics(story)
    assert leaks("".join(story.http.heard[heard:])) == [canary.PUSH]
    return told


@surface("what is said of metrics that can be pushed nowhere", "metrics.unpushed")
def _(story: Story) -> str:
    return publish_metrics(story, f"http://user:{canary.PUSH}@127.0.0.1:{closed_port()}/{canary.PUSH}")


def publish_metrics(story: Story, push_url: str | None = None) -> str:
    """What is logged while the metrics are written and pushed."""
    environ = story.environ | {"BANDSHIFT_METRICS__TEXTFILE": str(story.folder / "metrics.prom")}
    settings = read_settings(environ | ({"BANDSHIFT_METRICS__PUSH_URL": push_url} if push_url else {})).settings
    stream = io.StringIO()
    with story.surrounded(environ), database.open_engine(settings) as engine:
        configure_logs(level=logging.DEBUG, stream=stream)
        metrics.publish(engine, settings, datetime.now(UTC))
    return stream.getvalue()


@surface("what a worker logs", '"event": "outbox.delivered"')
def _(story: Story) -> str:
    story.run("outbox", "retry", "--all")
    return worked(story, story.environ, "message.postponed")


@surface("what a worker logs of a server that is away", "database.unavailable")
def _(story: Story) -> str:
    away = f"postgresql://u:{quoted()}@127.0.0.1:{closed_port()}/d"
    return worked(story, story.environ | {"DATABASE_URL": away}, "database.unavailable")


@surface("what a worker says of settings that cannot be used", "worker.refused")
def _(story: Story) -> str:
    return worked(story, {variable(path): canary.DSN for path in every_path("x")}, "worker.refused")


@surface("what a tick says of an error that quotes the URL", "tick.failed")
def _(story: Story) -> str:
    stream = io.StringIO()
    with story.surrounded(story.environ):
        configure_logs(level=logging.DEBUG, stream=stream)
        for error in (RuntimeError(story.dsn), psycopg.OperationalError(story.dsn), OSError(story.dsn)):
            step("deliver", partial(raising(error)))
    return stream.getvalue()


def wait_until(holds: Callable[[], bool]) -> bool:
    """Whether it holds within a minute."""
    deadline, pause = monotonic() + 60, Event()
    while not holds() and monotonic() < deadline:
        pause.wait(0.05)
    return holds()


def worked(story: Story, environ: Mapping[str, str], until: str) -> str:
    """What a worker wrote, until it logged that event and was told to stop; and how it is listed as a process."""
    log = story.folder / "worker.log"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BANDSHIFT_", "DATABASE_URL"))}
    with log.open("wb") as stream:
        worker = psutil.Popen(
            [sys.executable, "-m", "app.worker"],
            cwd=story.folder,
            env=plain | {"PYTHONPATH": str(ROOT)} | dict(environ),
            stdout=stream,
            stderr=stream,
        )
    try:
        listed = " ".join(worker.cmdline())
        assert wait_until(lambda: until in log.read_text(encoding="utf-8") or worker.poll() is not None)
        worker.terminate()
        worker.wait(60)
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    return f"{listed}\n{log.read_text(encoding='utf-8')}"


@surface("the files that are left", "bandshift_ledger_readable")
def _(story: Story) -> str:
    publish_metrics(story)
    files = [path for path in story.folder.rglob("*") if path.is_file()]
    return "\n".join(f"{path}\n{path.read_bytes().decode('latin-1')}" for path in files)


@surface("the logs for programs, at debug", '"event": "message.postponed"')
def _(story: Story) -> str:
    return logged(story, io.StringIO())


@surface("the logs for people, at debug", "message.postponed")
def _(story: Story) -> str:
    return logged(story, Terminal())


@surface("what the libraries log, at debug", "sqlalchemy.engine")
def _(story: Story) -> str:
    return logged(story, io.StringIO(), of_libraries=True)


@surface("the traceback of a bug", "ZeroDivisionError")
def _(story: Story) -> str:
    with patched(pipeline, "make_plan", raising(ZeroDivisionError("of the test"))):
        ended = story.run("recompute", "--dry-run", "-v")
    assert ended.bug is not None
    return ended.out + ended.err + "".join(traceback.format_exception(ended.bug))


@surface("an error of the driver that quotes the URL", "no luck with")
def _(story: Story) -> str:
    with patched(pipeline, "make_plan", raising(psycopg.OperationalError(f"no luck with {story.dsn}"))):
        ended = story.run("recompute", "--dry-run", "-v")
    assert ended.code == 1
    return ended.err


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
    assert canary.PASSWORD in server.heard
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
    return quote(canary.PASSWORD, safe="")


UNREADABLE = {
    "that is only the secret": canary.PASSWORD,
    "without a scheme": f"u:{canary.PASSWORD}@h/d",
    "of another scheme": f"mysql://u:{canary.DSN}@h/d",
    "of a scheme that is the secret": f"{canary.DSN}://h/d",
    "with a bare @ in the password": f"postgresql://u:p@{canary.DSN}@h/d",
    "with a bare / in the password": f"postgresql://u:p/{canary.DSN}@h/d",
    "with a bare ? in the password": f"postgresql://u:p?{canary.DSN}@h/d",
    "with a bare ? and = in the password": f"postgresql://u:p?{canary.DSN}=@h/d",
    "with a bare # in the password": f"postgresql://u:p#{canary.DSN}@h/d",
    "whose port is the secret": f"postgresql://u@h:{canary.DSN}/d",
    "whose port is too large": f"postgresql://u:{canary.DSN}@h:99999/d",
    "with an unknown option": f"postgresql://u:{canary.DSN}@127.0.0.1:1/d?colour=red",
    "with an option that is the secret": f"postgresql://u@127.0.0.1:1/d?{canary.DSN}=1",
    "of words": f"host=h password={canary.DSN}",
    "with a bracket": f"postgresql://u:{canary.DSN}@[h/d",
    "with a line break": f"postgresql://u:{canary.DSN}\n@h/d",
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
    return unfit(story, {variable(path): canary.DSN for path in every_path("x")})


@surface("secrets where the name of their file belongs", "BANDSHIFT_CHANNELS__WEBHOOK__SECRET_FILE: names a file")
def _(story: Story) -> str:
    return unfit(story, {f"{variable(path)}_FILE": canary.DSN for path in every_path("x")})


@surface("secrets in variables that do not exist", "BANDSHIFT_DATABASE_URL: no such setting")
def _(story: Story) -> str:
    names = ("BANDSHIFT_DATABASE_URL", "BANDSHIFT_CHANNELS__OPS__SECRT", "BANDSHIFT_PASSWORD", "BANDSHIFT_CHANNELS")
    return unfit(story, dict.fromkeys(names, canary.DSN))


def in_file(write: Callable[[str], str]) -> Look:
    """What is said of a file in which each setting is the secret, written so."""

    def look(story: Story) -> str:
        lines = [f"{'.'.join(path)} = {write(canary.DSN)}" for path in every_path("x")]
        return unfit(story, {}, "\n".join(lines))

    return look


surface("settings that are all the secret, in the file", "worker.attempts should be")(in_file(json.dumps))
surface("settings that are a list of secrets", "worker.attempts should be")(in_file(lambda one: f'["{one}"]'))
surface("settings that are a table of secrets", "worker.attempts should be")(in_file(lambda one: f'{{a = "{one}"}}'))
surface("settings that are a table named by the secret", "worker.attempts")(in_file(lambda one: f"{{{one} = 1}}"))
for kind, line in {
    "without quotes": f"database_url = {canary.DSN}",
    "with one quote": f'database_url = "{canary.DSN}',
    "with a strange escape": f'database_url = "\\{canary.DSN}"',
    "without a key": canary.DSN,
    "after the value": f'database_url = "x" {canary.DSN}',
    "in the name of a channel": f'[channels."{canary.DSN}x y"]\ntype = "fax"\n[{canary.DSN}',
    "twice": f'database_url = "{canary.DSN}"\ndatabase_url = "{canary.DSN}"',
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
        {"channels": {"hook": {"type": canary.HOOK_KEY}}},
        {"channels": {"hook": {"type": "webhook", "url": canary.HOOK_URL, "secret": canary.HOOK_KEY}}},
        {"channels": {"hook": canary.HOOK_KEY}},
        {"channels": canary.HOOK_KEY},
        {"worker": {"attempts": canary.DSN}},
        {"database_url": [canary.DSN]},
        {"database_url": {"a": canary.DSN}},
    ):
        with pytest.raises(ValidationError) as caught:
            Settings(**wrong)
        told += [str(caught.value), repr(caught.value)]
    with pytest.raises(ValidationError) as caught:
        Webhook(type="webhook", url=SecretStr(canary.HOOK_URL), secret=SecretStr(canary.HOOK_KEY))
    return "\n".join([*told, str(caught.value)])


@surface("the engine, however it is written down", "bandshift_test_")
def _(story: Story) -> str:
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        return "\n".join(map(repr, (engine, engine.url, str(engine.url), connection, connection.engine.url.query)))


@surface("what the channels are sent", "run.summary")
def _(story: Story) -> str:
    """The body: a secret belongs into the request's first lines, and nowhere else."""
    return "\n".join(heard.partition("\n\n")[2] for heard in story.http.heard)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logged(story: Story, stream: io.StringIO, *, of_libraries: bool = False) -> str:
    """What is logged of a run that is applied and of deliveries that fail."""
    story.http.status = 500
    with story.surrounded(story.environ):
        configure_logs(level=logging.DEBUG, stream=stream, colors=False)
        if of_libraries:
            logging.getLogger().setLevel(logging.DEBUG)
            logging.getLogger("sqlalchemy").setLevel(logging.DEBUG)
        with database.open_engine(story.settings) as engine:
            pipeline.recompute(engine, default_policy(), datetime.now(UTC), dry_run=True)
            with engine.begin() as connection:
                outbox.retry(connection, None, datetime.now(UTC), timedelta(hours=1))
            now = datetime.now(UTC)
            deliver_due(engine, story.settings, now, deadline=now + timedelta(minutes=1))
        logging.getLogger("sqlalchemy").setLevel(logging.NOTSET)
    return stream.getvalue()


def dumped(story: Story) -> str:
    """Every row of every table, under the table's name."""
    with database.open_engine(story.settings) as engine, engine.connect() as connection:
        names = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        ).all()
        return "\n".join(
            f"{name!r} {row}"
            for name in names
            for row in connection.scalars(text(f'SELECT to_jsonb(t)::text FROM "{name}" AS t'))
        )


@pytest.mark.parametrize("name", SURFACES)
def test_no_secret_is_in(name: str, story: Story) -> None:
    look, proof = SURFACES[name]
    found = look(story)
    assert proof in found, "there is nothing to see, so that it would prove nothing"
    assert leaks(found) == []


@pytest.mark.parametrize("secret", canary.CANARIES)
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
