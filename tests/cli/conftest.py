"""The command line in this process, on a test's own database."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import structlog
from sqlalchemy import URL

from app.cli import main
from tests.company import company, company_template, company_url, settled, settled_template, settled_url

__all__ = ["company", "company_template", "company_url", "settled", "settled_template", "settled_url"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs `bandshift` with these arguments."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capfd.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), written.out, written.err)

    yield run
    logging.getLogger().handlers.clear()  # they write to this test's stderr
    structlog.reset_defaults()


@pytest.fixture
def bandshift(run: Run, company_url: URL, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bandshift` on this test's own company."""
    monkeypatch.setenv("DATABASE_URL", dsn(company_url))
    return run


@pytest.fixture
def bandshift_settled(run: Run, settled_url: URL, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `bandshift` on this test's own company after its first run."""
    monkeypatch.setenv("DATABASE_URL", dsn(settled_url))
    return run


def dsn(url: URL) -> str:
    """The URL as a user writes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
