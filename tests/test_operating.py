"""docs/operating.md is what happens: each of its commands is run, in its order, where a reader would run it.

A section is a story: `STORIES` says what its reader has, and what holds in the end; the commands are the document's
own, those in blocks and those in its sentences. A section with commands and without a story fails. Only what needs
Docker, a cluster or a running systemd is not run here: its syntax is checked, and that the files it names are there
(tests/test_deploy.py and tests/test_container.py run what those files start).
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from alembic import command as alembic
from sqlalchemy import URL, Engine, func, select, text, update

from app import embedded, migrate, roles
from app.errors import ExitCode
from app.schedule import latest_due_slot
from app.tables import coverage, csms, kept_moves, metadata, outbox
from app.tables import runs as ledger
from app.worker import deliver
from tests import stopped_company
from tests.conftest import database_on, engine_on, programs
from tests.forked import Forks
from tests.notify import endpoints
from tests.notify.told import SECRET, settings, tell, webhook
from tests.processes import until
from tests.small_company import POLICY, RESTLESS, assert_sound, contents, policy, where
from tests.stopped_company import company, stopped_template
from tests.test_docs import ROOT, shell
from tests.test_worker import Process, dsn

__all__ = ["company", "stopped_template"]

DOCUMENT = ROOT / "docs" / "operating.md"
HEADING = re.compile(r"^(#{2,3}) (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_A_SENTENCE = re.compile(r"`(bandshift [^`]+)`")
ELSEWHERE = ("docker-compose", "kubectl", "systemctl", "journalctl", "cp ")
"""How commands begin that need what a test has not: another machine's files, Docker, a cluster, systemd."""

SLOT = "2026-11-16"
"""The date that stands in the document for that of a slot."""


def sections() -> dict[str, str]:
    """What stands below each heading of the document, down to the next."""
    parts = HEADING.split(DOCUMENT.read_text(encoding="utf-8"))
    return {"": parts[0]} | dict(zip(parts[2::3], parts[3::3], strict=True))


def commands(section: str) -> list[str]:
    """The commands of a section, in its order; of its tables and sentences, those that begin with `bandshift`."""
    found: list[tuple[int, str]] = []
    for block in BLOCK.finditer(section):
        if block[1] == "sh":
            found += [(block.start() + number, line) for number, line in enumerate(block[2].splitlines()) if line]
    prose = BLOCK.sub(lambda block: " " * len(block[0]), section)
    found += [(one.start(), " ".join(one[1].split())) for one in IN_A_SENTENCE.finditer(prose)]
    return [command for _, command in sorted(found)]


def here(section: str) -> list[str]:
    return [command for command in commands(section) if not command.startswith(ELSEWHERE)]


TELLING = [title for title, section in sections().items() if here(section)]
"""The sections that have something to run."""


# ---- Where the commands are run --------------------------------------------------------------------------------------


@dataclass
class Place:
    """A reader's folder, with a database and the small company's policy; `engine` looks at what they did."""

    folder: Path
    environment: dict[str, str]
    engine: Engine
    prefix: str
    replaced: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def policy(self, told: str) -> None:
        (self.folder / "policy.toml").write_text(told, encoding="utf-8")

    def run(self, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],  # noqa: S607 - the reader's own
            cwd=self.folder,
            env=self.environment | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.said.append(done.stdout + done.stderr)
        return done

    def follow(self, section: str, codes: Mapping[str, Sequence[int]]) -> None:
        """Every command of the section was run, and ended with 0, or with what `codes` has for its turns."""
        expected = {command: list(ends) for command, ends in codes.items()}
        for command in here(section):
            typed = command
            for old, new in self.replaced.items():
                typed = typed.replace(old, new)
            done = self.run(typed)
            assert done.returncode == (expected[command].pop(0) if expected.get(command) else 0), (
                f"{typed}\n{done.stdout}{done.stderr}"
            )
        assert not any(expected.values()), "the document has not all of these commands any more"

    def says(self, words: str) -> bool:
        """Whether one of the commands has said so."""
        return any(words in one for one in self.said)


@pytest.fixture(scope="module")
def prefix(server_url: URL) -> Iterator[str]:
    """What the names of the roles begin with here, for they belong to the server; they go at the end."""
    name = f"t{uuid4().hex[:12]}"
    yield name
    with engine_on(server_url) as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for role in roles.role_names(name).values():
            connection.execute(text(f"DROP ROLE IF EXISTS {role}"))


def place_on(url: URL, folder: Path, prefix: str, engine: Engine, python: Sequence[str] = (sys.executable,)) -> Place:
    kind = os.environ.get("TEST_POSTGRES", "embedded")
    tools = embedded.wheel_programs() if kind == "container" else programs(kind)
    environment = shell(folder, python)
    environment["PATH"] = f"{tools.folder}{os.pathsep}{environment['PATH']}"
    environment["DATABASE_URL"] = dsn(url)
    environment["BANDSHIFT_POLICY"] = "policy.toml"
    place = Place(folder, environment, engine, prefix)
    place.replaced |= {"db roles --apply": f"db roles --apply --prefix {prefix}", "bandshift_app": f"{prefix}_app"}
    place.policy(POLICY + RESTLESS)
    return place


@pytest.fixture
def place(company: Engine, tmp_path: Path, prefix: str, forks: Forks) -> Place:
    """The small company after its first run."""
    return place_on(company.url, tmp_path, prefix, company, forks.python)


# ---- The stories -----------------------------------------------------------------------------------------------------

Told = Callable[[Place], Iterator[Mapping[str, Sequence[int]]]]
"""What is there before a section; yields the exit codes that are not 0; then checks what came of it."""

STORIES: dict[str, Told] = {}


def story(*titles: str) -> Callable[[Told], Told]:
    def kept(told: Told) -> Told:
        STORIES.update(dict.fromkeys(titles, told))
        return told

    return kept


@pytest.mark.parametrize("title", TELLING)
def test_the_commands_of_a_section_do_what_it_says(
    title: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str
) -> None:
    assert title in STORIES, f"{title}: there are commands, and nothing says where they are run"
    if title == "First deployment":
        blank: Engine = request.getfixturevalue("blank")
        place = place_on(blank.url, tmp_path, prefix, blank)
    else:
        place = request.getfixturevalue("place")
    with contextmanager(STORIES[title])(place) as codes:
        place.follow(sections()[title], codes)


def test_every_story_is_of_a_section() -> None:
    assert set(STORIES) == set(TELLING)


def due() -> date:
    """The slot that fell due last, by the company's calendar."""
    return latest_due_slot(datetime.now(UTC), policy().calendar)


def catch_up(place: Place) -> None:
    """The latest slot is due here, however late it is and though none was run before."""
    place.environment |= {"BANDSHIFT_WORKER__FIRST_SLOT": "latest", "BANDSHIFT_WORKER__MAX_LATENESS_HOURS": "8760"}
    place.replaced[SLOT] = due().isoformat()


def standing(engine: Engine) -> list[tuple[date | None, str]]:
    """The slots and statuses of the runs after the first, in order."""
    with engine.connect() as connection:
        rows = connection.execute(select(ledger.c.slot, ledger.c.status).order_by(ledger.c.run_id)).all()
    return [(row.slot, row.status) for row in rows[1:]]


def write_csvs(folder: Path, *, left: str | None = None) -> None:
    """The files of a small company; `left` is the CSM who is none any more."""
    active = {name: str(name != left).lower() for name in ("ann", "bob", "cat")}
    (folder / "csms.csv").write_text(
        "csm_id,name,bands,max_accounts,active\n"
        f"ann,Ann,low,4,{active['ann']}\nbob,Bob,low; high,5,{active['bob']}\ncat,Cat,high,2,{active['cat']}\n"
    )
    (folder / "accounts.csv").write_text("account_id,name,arr\nA1,Acme,10\nB1,Blue,500\nC1,Cyan,5000\n")
    (folder / "signals.csv").write_text(
        "account_id,signal_id,kind,occurred_at\nA1,s1,ticket,2026-03-01T10:00:00Z\nB1,s2,ticket,2026-03-01T11:00:00Z\n"
    )


@story("First deployment")
def deployed(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    write_csvs(place.folder)
    yield {}
    assert {account: band for account, (band, _) in where(place.engine).items()} == {
        "A1": "tech", "B1": "low", "C1": "high",
    }  # fmt: skip
    assert_sound(place.engine)
    app = as_app(place, place.engine)
    for command, code in (("bandshift status", 0), ("bandshift recompute", 0), ("bandshift db roles --apply", 2)):
        assert place.run(command, DATABASE_URL=dsn(app)).returncode == code, place.said[-1]


def as_app(place: Place, engine: Engine) -> URL:
    """The URL of the role that runs, which can log in already."""
    role = f"{place.prefix}_app"
    with engine.begin() as connection:
        connection.execute(text(f"ALTER ROLE {role} PASSWORD 'of-a-test'"))
    return engine.url.set(username=role, password="of-a-test")  # noqa: S106 - it is thrown away


def step_back(engine: Engine) -> None:
    """The schema is that of the version before this one."""
    with engine.connect() as connection:
        alembic.downgrade(migrate.config(connection), "-1")
        connection.commit()


@story("Upgrading")
def upgraded(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    step_back(place.engine)
    assert place.run("bandshift status").returncode == ExitCode.FAILED
    yield {"bandshift db status": [1]}
    with place.engine.connect() as connection:
        migrate.require_current(connection)
    assert_sound(place.engine)


@story("Backing up")
def backed_up(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    (place.folder / ".bandshift").mkdir()
    yield {}
    listed = place.run("pg_restore --list bandshift.dump").stdout
    assert all(f"TABLE DATA public {table}" in listed for table in metadata.tables)


@contextmanager
def empty_beside(engine: Engine) -> Iterator[Engine]:
    """A database on the same server with nothing in it."""
    with database_on(engine.url, "template0") as url, engine_on(url) as restored:
        yield restored


@story("Restoring")
def restored(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    before = contents(place.engine, *metadata.sorted_tables)
    assert place.run('pg_dump --format=custom --file=bandshift.dump "$DATABASE_URL"').returncode == 0
    home = place.folder / ".bandshift"
    home.mkdir()
    (home / "kept").touch()
    assert place.run("tar --create --gzip --file=bandshift-home.tar.gz .bandshift").returncode == 0
    shutil.rmtree(home)
    with empty_beside(place.engine) as copy:
        place.environment["RESTORED_URL"] = dsn(copy.url)
        yield {}
        assert contents(copy, *metadata.sorted_tables) == before
        assert_sound(copy)
        with copy.begin() as connection:
            connection.execute(text(f"ALTER ROLE {place.prefix}_app LOGIN"))
        app = as_app(place, copy)
        assert place.run("bandshift recompute", DATABASE_URL=dsn(app)).returncode == 0, place.said[-1]
        assert_sound(copy)
    assert (home / "kept").exists()


def test_a_copy_of_the_embedded_database_is_the_database(
    tmp_path: Path, prefix: str, server_url: URL, forks: Forks
) -> None:
    with engine_on(server_url) as unused:
        place = place_on(server_url, tmp_path, prefix, unused, forks.python)
    del place.environment["DATABASE_URL"]
    write_csvs(place.folder)
    load = "bandshift load --csms csms.csv --accounts accounts.csv"
    packing, unpacking = (
        next(command for command in here(sections()[title]) if command.startswith("tar "))
        for title in ("Backing up", "Restoring")
    )
    for command in (load, "bandshift recompute", packing):
        assert place.run(command).returncode == 0, place.said[-1]
    shutil.rmtree(place.folder / ".bandshift")
    for command in (unpacking, "bandshift db status", "bandshift doctor", load):
        assert place.run(command).returncode == 0, place.said[-1]
    assert re.search(r"accounts +3 +0 +0 +3 ", place.said[-1])  # read, inserted, updated, unchanged
    listed = place.run("bandshift runs --format csv").stdout
    assert listed.count(",applied,") == 1


@story("Moving to another server")
def moved(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    before = contents(place.engine, *metadata.sorted_tables)
    with empty_beside(place.engine) as there:
        place.environment |= {"OLD_URL": dsn(place.engine.url), "NEW_URL": dsn(there.url)}
        yield {}
        assert contents(there, *metadata.sorted_tables) == before
        assert place.run("bandshift recompute", DATABASE_URL=dsn(there.url)).returncode == 0
        assert_sound(there)


@story("Ways to run it", "Running a slot again", "Exit codes")
def slot_run(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    catch_up(place)
    yield {}
    assert (due(), "applied") in standing(place.engine) or (due(), "nothing") in standing(place.engine)
    assert sum(slot == due() for slot, _ in standing(place.engine)) == 1
    assert place.run("bandshift recompute --slot latest").returncode == 0
    assert "is done" in place.said[-1]


def stop(place: Place) -> None:
    """A guard has stopped a run of the latest slot, as of now."""
    catch_up(place)
    for account, fields in (("B1", {"arr": 50}), ("A1", {"arr": 150}), ("C1", {"status": "churned"})):
        stopped_company.set_account(place.engine, account, **fields)
    place.policy(POLICY + stopped_company.STRICT)
    done = place.run("bandshift recompute --slot latest")
    assert done.returncode == ExitCode.GUARDED, done.stderr


@story("A run that awaits approval", "Alert: awaiting approval")
def waiting(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    stop(place)
    yield {}
    assert place.says("moved_accounts") or place.says("would move")
    assert standing(place.engine) == [(due(), "blocked")]


@story("Approving")
def approved(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    stop(place)
    yield {}
    assert standing(place.engine) == [(due(), "blocked"), (due(), "applied")]
    assert where(place.engine)["B1"] == ("tech", None)
    assert_sound(place.engine)


@story("Rejecting")
def rejected(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    stop(place)
    before = where(place.engine)
    yield {}
    assert standing(place.engine) == [(due(), "blocked")]
    assert where(place.engine) == before
    # "run the slot by its date, or leave it to the next"
    assert place.run("bandshift recompute --slot latest").returncode == 0
    assert "was rejected" in place.said[-1]
    place.policy(POLICY + RESTLESS)
    assert place.run(f"bandshift recompute --slot {due()}").returncode == 0
    assert standing(place.engine)[-1] == (due(), "applied")


def channel(place: Place, url: str) -> None:
    """The settings have a webhook."""
    (place.folder / "bandshift.toml").write_text(
        f'[channels.ops]\ntype = "webhook"\nurl = "{url}"\nsecret = "{SECRET}"\nallow_private = true\n'
    )


def park(engine: Engine) -> list[str]:
    """Two messages are parked, because their endpoint is gone; their ids."""
    now = datetime.now(UTC)
    with engine.begin() as connection:
        connection.execute(update(outbox).values(delivered_at=now))
    told = [tell(engine, at=now), tell(engine, at=now)]
    with endpoints.serve(endpoints.answer(410)) as gone:
        channels = settings(ops=webhook(gone.url))
        deliver(engine, channels, Event(), clock=lambda: now)
    return told


@story("Alert: outbox parked")
def parked(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    dropped, sent = park(place.engine)
    assert place.run("bandshift status").returncode == ExitCode.FAILED
    place.replaced["drop ID"] = f"drop {dropped}"
    with endpoints.serve() as endpoint:
        channel(place, endpoint.url)
        yield {}
        assert place.says("410")
        assert place.run("bandshift outbox deliver").returncode == 0
        assert endpoint.ids == [sent]
    assert place.run("bandshift status").returncode == 0


@story("A message that did not arrive", "Alert: outbox stuck")
def stuck(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    with place.engine.begin() as connection:
        connection.execute(update(outbox).values(delivered_at=func.now()))
    told = tell(place.engine, at=datetime.now(UTC) - timedelta(hours=7))
    with endpoints.serve() as endpoint:
        channel(place, endpoint.url)
        yield {}
        assert endpoint.ids == [told]
    assert place.says("slot.skipped")


@story("A CSM who left")
def departed(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    write_csvs(place.folder, left="bob")
    theirs = {account for account, (_, owner) in where(place.engine).items() if owner == "bob"}
    assert theirs
    with place.engine.connect() as connection:
        pinned = sorted(theirs)[0]
        band = connection.execute(select(coverage.c.band).where(coverage.c.account_id == pinned)).scalar_one()
    expires = (datetime.now(UTC) + timedelta(days=9)).date()
    pin = f"bandshift pin {pinned} --band {band} --owner bob --until {expires} --reason x --by lee"
    assert place.run(pin).returncode == 0, place.said[-1]
    place.replaced["unpin ACCOUNT"] = f"unpin {pinned}"
    yield {}
    assert {account: owner for account, (_, owner) in where(place.engine).items() if owner == "bob"} == {}
    with place.engine.connect() as connection:
        assert connection.execute(select(csms.c.active).where(csms.c.csm_id == "bob")).scalar_one() is False
    assert place.says("have left") or place.says("has left")
    assert_sound(place.engine)


@story("Roles")
def granted(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    yield {}
    assert place.says(f"granted {place.prefix}_app")


@story("Growth")
def thinned(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    stop(place)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    with place.engine.begin() as connection:
        connection.execute(update(ledger).where(ledger.c.status == "blocked").values(
            answer="rejected", answered_at=long_ago, answered_by="lee"
        ))  # fmt: skip
        asked = outbox.c.topic == "run.blocked"
        connection.execute(update(outbox).where(~asked).values(delivered_at=long_ago))
    yield {}
    with place.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(kept_moves)).scalar_one() == 0
        payloads = {row.topic: row.payload for row in connection.execute(select(outbox.c.topic, outbox.c.payload))}
    assert payloads["run.summary"] == {}
    assert payloads["run.blocked"] != {}
    assert place.run("bandshift doctor").returncode == 0  # it asks for the rows, and they are there
    assert place.run("bandshift outbox list --all").returncode == 0


@story("Reading logs")
def read(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    catch_up(place)
    with place.engine.begin() as connection:
        connection.execute(text("ALTER TABLE accounts DROP COLUMN standalone"))
    place.run("bandshift recompute --slot latest --verbose 2>worker.log")
    with endpoints.serve() as endpoint:
        channel(place, endpoint.url)
        yield {}
    assert place.says("run.failed")
    assert not place.says('"level": "info"')


@story("What to do on each alert", "Alert: book stale")
def looked(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    yield {}
    assert place.says("manual")


@story("Alert: slot late")
def late(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    catch_up(place)
    yield {}
    assert standing(place.engine)[-1][0] == due()


@story("Alert: slot failed")
def given_up(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    catch_up(place)
    place.environment["BANDSHIFT_WORKER__ATTEMPTS"] = "1"
    with place.engine.begin() as connection:
        connection.execute(text("ALTER TABLE accounts RENAME standalone TO stood_alone"))
    assert place.run("bandshift recompute --slot latest").returncode == ExitCode.MISTAKE, place.said[-1]
    assert place.run("bandshift status").returncode == ExitCode.FAILED
    assert "given up" in place.said[-1]
    with place.engine.begin() as connection:
        connection.execute(text("ALTER TABLE accounts RENAME stood_alone TO standalone"))
    assert place.run("bandshift recompute --slot latest").returncode == 0  # and does nothing
    assert standing(place.engine) == [(due(), "failed")]
    yield {}
    assert place.says("mistake")
    assert place.run("bandshift status").returncode == 0


@story("Alert: ledger unreadable")
def unreadable(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    step_back(place.engine)
    yield {"bandshift db status": [1]}
    assert place.run("bandshift status").returncode == 0


@story("Alert: policy unreadable")
def mistyped(place: Place) -> Iterator[Mapping[str, Sequence[int]]]:
    place.policy((POLICY + RESTLESS).replace("value < demotion_floor", "valu < demotion_floor"))
    place.replaced["FILE"] = "policy.toml"
    yield {"bandshift policy check FILE": [2]}
    assert place.says("policy.toml has 1 mistake")
    assert place.says("valu")


# ---- Two versions at once --------------------------------------------------------------------------------------------


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A bandshift that knows no newer schema than the one before ours, as if installed."""
    folder = tmp_path / "older"
    for name in ("app", "migrations", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (newest,) = (folder / "migrations" / "versions").glob(f"{migrate.head()}_*.py")
    newest.unlink()
    return folder


def while_versions_differ() -> list[tuple[str, int, int]]:
    """The document's table: each command, with the exit code of the older bandshift, and of the newer."""
    rows = re.findall(r"^\| `([^`]+)` \| (\d) \| (\d) \|$", sections()["Upgrading"], re.MULTILINE)
    return [(command, int(old), int(new)) for command, old, new in rows]


def test_the_document_says_how_each_command_ends_while_versions_differ() -> None:
    assert len(while_versions_differ()) == 6


@pytest.mark.parametrize("which", ["older", "newer"])
def test_no_command_works_on_a_schema_of_another_version(place: Place, older: Path, which: str) -> None:
    if which == "newer":
        step_back(place.engine)
    else:
        for name, arguments in (("bandshift", "-m app"), ("python", "")):
            program = place.folder / "bin" / name
            program.write_text(f'#!/bin/sh\nPYTHONPATH={older} exec {sys.executable} {arguments} "$@"\n')
    catch_up(place)
    before = contents(place.engine)
    for command, old, new in while_versions_differ():
        done = place.run(command)
        assert done.returncode == (old if which == "older" else new), f"{command}\n{done.stdout}{done.stderr}"
        assert "newer than this bandshift knows" in place.said[-1] or "db upgrade" in place.said[-1] or new == 0
        assert contents(place.engine) == before
    newest = migrate.head() if which == "newer" else migrate.revisions()[-1]
    with place.engine.connect() as connection:
        assert migrate.current(connection) == newest


def test_a_worker_under_whom_the_schema_changes_stays_up_and_writes_nothing(
    place: Place, older: Path, tmp_path: Path
) -> None:
    step_back(place.engine)
    (tmp_path / "worker").mkdir()
    process = Process(
        place.engine.url, tmp_path / "worker", PYTHONPATH=str(older), BANDSHIFT_WORKER__DELIVERY_SECONDS="1"
    )
    try:
        process.await_event("worker.started")
        until(lambda: "slot.skipped" in process.events() or "run.applied" in process.events())
        assert place.run("bandshift db upgrade").returncode == 0
        until(lambda: "newer than this bandshift knows" in process.log.read_text())
        before = contents(place.engine)
        shown = process.events().count("tick.failed")
        until(lambda: process.events().count("tick.failed") >= shown + 2)
        assert contents(place.engine) == before
        assert process.process.poll() is None
        assert process.stop() == 0
    finally:
        process.process.kill()
        process.process.wait()
    last = [line for line in process.log.read_text().splitlines() if "tick.failed" in line][-1]
    assert '"step": "schema"' in last
    assert '"failure": "mistake"' in last
    # The one that fits makes up for what is due.
    catch_up(place)
    assert place.run("bandshift recompute --slot latest").returncode == 0
    assert_sound(place.engine)


# ---- What the document lists -----------------------------------------------------------------------------------------


def test_every_exit_code_is_there_with_what_to_do() -> None:
    listed = re.findall(r"^\| (\d+)(?:, (\d+))? \| [^|]+ \| [^|]+ \|$", sections()["Exit codes"], re.MULTILINE)
    assert [int(code) for code, _ in listed][: len(ExitCode)] == [code.value for code in ExitCode]


def logged() -> set[tuple[str, str]]:
    """Every event of the program, with its level, out of its sources."""
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[what, *_]):
                    names = [one.value for one in ast.walk(what) if isinstance(one, ast.Constant)]
                    found |= {(str(name), level) for name in names}
                case _:
                    pass
    return found


def test_every_event_of_the_logs_is_there_with_its_level() -> None:
    listed: set[tuple[str, str]] = set()
    for names, levels in re.findall(r"^\| (`[a-z].*?`) \| ([a-z, ]+) \| ", sections()["Reading logs"], re.MULTILINE):
        events, kinds = re.findall(r"`([^`]+)`", names), levels.split(", ")
        listed |= set(zip(events, kinds if len(kinds) > 1 else kinds * len(events), strict=True))
    assert listed == logged()


def elsewhere() -> list[str]:
    """The commands that are not run: each of Docker, of a cluster or of systemd."""
    return [one for section in sections().values() for one in commands(section) if one.startswith(ELSEWHERE)]


def test_what_cannot_be_run_here_is_a_command_and_names_files_that_are_there() -> None:
    assert len(elsewhere()) > 10
    for command in elsewhere():
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)  # noqa: S607
        assert checked.returncode == 0, command
        for path in re.findall(r"\bdeploy/[\w./-]+", command):
            assert (ROOT / path).exists(), command
    compose = (ROOT / "docker-compose.yml").read_text()
    manifests = "".join(path.read_text() for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for command in elsewhere():
        for service in re.findall(r"docker-compose (?:exec|logs) (\w+)", command):
            assert f"\n  {service}:\n" in compose
        for resource in re.findall(r"(?:job|deployment)[/ ]([\w-]+)", command):
            assert f"name: {resource}\n" in manifests
        for unit in re.findall(r"[\w-]+\.(?:service|timer)", command):
            assert (ROOT / "deploy" / "systemd" / unit).exists()


def test_the_anchors_of_the_document_lead_somewhere() -> None:
    anchors: dict[Path, set[str]] = {}
    for path in (ROOT / "docs").glob("*.md"):
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        anchors[path] = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    assert len(links) > 5
    for target, anchor in links:
        path = (DOCUMENT.parent / target) if target else DOCUMENT
        assert anchor in anchors[path], f"{target}#{anchor}"
