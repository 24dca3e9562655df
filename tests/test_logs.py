"""Logs: one line of JSON per event where nobody watches, text on a terminal, never a secret or a customer."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from app.logs import configure_logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("app").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields_and_what_was_bound() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.contextvars.bind_contextvars(run_id="r1")
    structlog.get_logger().info("run.applied", moves=3)
    (event,) = written(stream)
    assert event.pop("timestamp")
    assert event == {"event": "run.applied", "level": "info", "moves": 3, "run_id": "r1"}


def test_a_logger_made_before_the_logs_are_configured_follows_them() -> None:
    log = structlog.get_logger()
    stream = io.StringIO()
    configure_logs(stream=stream)
    log.info("run.applied")
    assert [event["event"] for event in written(stream)] == ["run.applied"]


def test_foreign_records_and_warnings_go_the_same_way() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    logging.getLogger("sqlalchemy.pool").warning("lost %s", 1)
    logging.getLogger("alembic.runtime.migration").info("Running upgrade")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = written(stream)
    assert (first["event"], first["logger"], first["level"]) == ("lost 1", "sqlalchemy.pool", "warning")
    assert "old" in str(second["event"])


def test_events_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream, level=logging.WARNING)
    structlog.get_logger().info("run.applied")
    structlog.get_logger().warning("run.skipped")
    assert [event["event"] for event in written(stream)] == ["run.skipped"]


def fail(secret: str) -> None:
    raise ValueError(len(secret))


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "terminal"])
def test_a_traceback_shows_no_local_variables(stream: io.StringIO) -> None:
    configure_logs(stream=stream)
    secret = "".join(("can", "ary"))
    try:
        fail(secret)
    except ValueError:
        structlog.get_logger().exception("run.failed")
    assert "ValueError: 6" in stream.getvalue()
    assert "in fail" in stream.getvalue()
    assert "canary" not in stream.getvalue()


def test_on_a_terminal_an_event_is_text_and_colour_can_be_refused() -> None:
    coloured, plain = Terminal(), Terminal()
    configure_logs(stream=coloured)
    structlog.get_logger().info("run.applied", moves=3)
    configure_logs(stream=plain, colors=False)
    structlog.get_logger().info("run.applied", moves=3)
    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "run.applied" in plain.getvalue()
    assert "moves=3" in plain.getvalue()
