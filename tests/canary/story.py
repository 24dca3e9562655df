"""What has happened before the search: a company, a run applied, one stopped, two failed, and messages in vain."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import structlog
from psycopg import sql
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from app import cli, database, pipeline
from app.demo import DEMO_AS_OF
from app.notify import deliver_due
from app.policy.read import default_policy, read_policy
from app.settings import Settings
from app.settings.read import read_settings
from tests.canary import secrets
from tests.canary.faults import patched, raising
from tests.canary.parrots import Parrot, SmtpParrot, serving
from tests.canary.secrets import leaks
from tests.conftest import database_on

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
            f"{channels}HOOK__URL": f"http://user:{secrets.HOOK_URL}@{self.http.address}/{secrets.HOOK_URL}?k={secrets.HOOK_URL}",
            f"{channels}HOOK__SECRET": secrets.SIGNING_SECRET,
            f"{channels}HOOK__ALLOW_PRIVATE": "true",
            f"{channels}CHAT__TYPE": "slack",
            f"{channels}CHAT__URL": f"http://{self.http.address}/services/{secrets.SLACK_URL}",
            f"{channels}CHAT__ALLOW_PRIVATE": "true",
            f"{channels}MAIL__TYPE": "email",
            f"{channels}MAIL__HOST": "127.0.0.1",
            f"{channels}MAIL__PORT": str(self.smtp.server_address[1]),
            f"{channels}MAIL__TLS": "none",
            f"{channels}MAIL__USERNAME": "bandshift",
            f"{channels}MAIL__PASSWORD": secrets.SMTP,
            f"{channels}MAIL__SENDER": "bandshift@example.com",
            f"{channels}MAIL__TO": "ops@example.com",
            "BANDSHIFT_METRICS__PUSH_URL": f"http://user:{secrets.PUSH}@{self.http.address}/{secrets.PUSH}",
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
            username=user, password=secrets.PASSWORD
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
    role, secret = sql.Identifier(name), sql.Literal(secrets.PASSWORD)
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
    assert leaks("\n".join(story.http.heard)) == [secrets.HOOK_URL, secrets.SLACK_URL]
    assert secrets.SMTP in "\n".join(story.smtp.heard)


def tight_policy() -> str:
    """A policy that stops nearly every run, and none because the company's feeds grow stale as the days go by."""
    policy = default_policy().body
    for loose, tight in (
        ("moved_accounts = { share = 0.10, at_least = 25 }", "moved_accounts = { share = 0.0001, at_least = 1 }"),
        ("stale_after_days = 10 ", "stale_after_days = false "),
    ):
        assert loose in policy
        policy = policy.replace(loose, tight)
    return policy
