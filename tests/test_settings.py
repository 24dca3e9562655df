"""The environment: read once, and a typing error in it is not passed over."""

from pathlib import Path

import pytest

from app.errors import Mistake, Problem
from app.settings import load_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BANDSHIFT_HOME", "BANDSHIFT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_without_variables_the_database_is_embedded_in_this_folder() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.home == Path(".bandshift")
    assert settings.policy is None


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("BANDSHIFT_HOME", "/srv/bandshift")
    monkeypatch.setenv("BANDSHIFT_POLICY", "ours.toml")
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:canary@h/d"
    assert (settings.home, settings.policy) == (Path("/srv/bandshift"), Path("ours.toml"))
    assert "canary" not in repr(settings)
    assert "canary" not in str(settings.model_dump())


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("BANDSHIFT_HOME", "")
    assert load_settings().database_url is None
    assert load_settings().home == Path(".bandshift")


def test_every_unknown_variable_is_a_mistake_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSHIFT_POLCY", "canary")
    monkeypatch.setenv("BANDSHIFT_COLOUR_OF_THE_SKY", "canary")
    with pytest.raises(Mistake) as caught:
        load_settings()
    assert caught.value.problems == (
        Problem("BANDSHIFT_COLOUR_OF_THE_SKY", "no such setting; there are DATABASE_URL, BANDSHIFT_HOME, BANDSHIFT_POLICY, BANDSHIFT_WORKER__..., BANDSHIFT_CHANNELS__..., BANDSHIFT_DELIVERY__..., BANDSHIFT_METRICS__..., BANDSHIFT_TELEMETRY__..."),
        Problem("BANDSHIFT_POLCY", "no such setting; did you mean BANDSHIFT_POLICY?"),
    )
    assert "canary" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().home = Path("elsewhere")
