"""A small sample company in a database of the test's own: as it is founded, and as its first run leaves it.

Both are made once per session and cloned, which takes a tenth of a second instead of some. A test module that wants
them imports the fixtures.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine

from app import pipeline
from app.demo import DEMO_AS_OF, fill
from app.policy.read import default_policy
from tests.conftest import database_on, engine_on, made_once, shared_folder

ACCOUNTS = 300


def found(engine: Engine) -> None:
    """The company is there; nothing has run yet."""
    with engine.begin() as connection:
        fill(connection, accounts=ACCOUNTS, seed=1, as_of=DEMO_AS_OF)


def run(engine: Engine) -> None:
    """The first run has been applied."""
    assert pipeline.recompute(engine, default_policy(), DEMO_AS_OF, dry_run=False).status == "applied"


@pytest.fixture(scope="session")
def company_template(server_url: URL, template: str, request: pytest.FixtureRequest) -> str:
    """The name of a database with the company, to clone."""
    return made_once(server_url, template, "company", found, shared_folder(request.config))


@pytest.fixture(scope="session")
def settled_template(server_url: URL, company_template: str, request: pytest.FixtureRequest) -> str:
    """The name of a database with the company after its first run, to clone."""
    return made_once(server_url, company_template, "settled", run, shared_folder(request.config))


@pytest.fixture
def company_url(server_url: URL, company_template: str) -> Iterator[URL]:
    """The URL of a database of this test's own, with the company."""
    with database_on(server_url, company_template) as url:
        yield url


@pytest.fixture
def company(company_url: URL) -> Iterator[Engine]:
    """An engine on this test's own company."""
    with engine_on(company_url) as engine:
        yield engine


@pytest.fixture
def settled_url(server_url: URL, settled_template: str) -> Iterator[URL]:
    """The URL of a database of this test's own, with the company after its first run."""
    with database_on(server_url, settled_template) as url:
        yield url


@pytest.fixture
def settled(settled_url: URL) -> Iterator[Engine]:
    """An engine on this test's own company after its first run."""
    with engine_on(settled_url) as engine:
        yield engine
