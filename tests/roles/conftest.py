"""Roles of this module's own, and companies in databases that they guard."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import URL

from app.roles.grants import ROLES
from tests.company import company_template, settled_template
from tests.conftest import database_on
from tests.roles.guarded import Guarded, let_in, run_all

__all__ = ["company_template", "settled_template"]


@pytest.fixture(scope="module")
def prefix(server_url: URL) -> Iterator[str]:
    """What the names of this module's roles begin with. They belong to the server, so they go at the end."""
    name = f"t{uuid4().hex[:12]}"
    yield name
    run_all(server_url, *(f"DROP ROLE IF EXISTS {name}_{role}" for role in (*ROLES, "admin", "person")))


@pytest.fixture
def guarded(server_url: URL, company_template: str, prefix: str) -> Iterator[Guarded]:
    """The sample company before its first run, in a database of the test's own."""
    with database_on(server_url, company_template) as url:
        yield let_in(url, prefix)


@pytest.fixture(scope="module")
def settled(server_url: URL, settled_template: str, prefix: str) -> Iterator[Guarded]:
    """The sample company after its first run, for all tests that change nothing."""
    with database_on(server_url, settled_template) as url:
        guarded = let_in(url, prefix)
        run_all(
            url, "CREATE TABLE theirs (id int)", "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.theirs (id int)"
        )
        yield guarded
