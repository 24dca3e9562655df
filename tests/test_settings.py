"""The settings: read once from all that may say them, each with its place, and no mistake in them is passed over."""

import pickle
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.errors import Mistake, Problem
from app.settings import Email, Settings, Slack, Webhook, load_settings
from app.settings.read import read_settings
from app.settings.sources import lines_of

SECRET = "whsec_" + "c2VjcmV0" * 5
HOOK = {
    "BANDSHIFT_CHANNELS__OPS__TYPE": "webhook",
    "BANDSHIFT_CHANNELS__OPS__URL": "https://hooks.example.com/in",
    "BANDSHIFT_CHANNELS__OPS__SECRET": SECRET,
}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "BANDSHIFT_HOME", "BANDSHIFT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def wrong(environ: dict[str, str]) -> tuple[Problem, ...]:
    with pytest.raises(Mistake) as caught:
        read_settings(environ)
    return caught.value.problems


def wrong_in_file(text: str) -> list[str]:
    Path("bandshift.toml").write_text(text, encoding="utf-8")
    return [str(problem) for problem in wrong({})]


def of_file(text: str) -> Settings:
    Path("bandshift.toml").write_text(text, encoding="utf-8")
    return read_settings({}).settings


def test_without_variables_the_database_is_embedded_in_this_folder() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.database_url is None
    assert settings.home == Path(".bandshift")
    assert settings.policy is None
    assert settings.channels == {}


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:canary@h/d")
    monkeypatch.setenv("BANDSHIFT_HOME", "/srv/bandshift")
    monkeypatch.setenv("BANDSHIFT_POLICY", "ours.toml")
    settings = load_settings()
    assert settings.database_url == SecretStr("postgresql://u:canary@h/d")
    assert (settings.home, settings.policy) == (Path("/srv/bandshift"), Path("ours.toml"))


def test_settings_made_by_hand_are_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSHIFT_HOME", "/srv/bandshift")
    Path("bandshift.toml").write_text('home = "elsewhere"', encoding="utf-8")
    assert Settings().home == Path(".bandshift")


def test_two_underscores_lead_into_a_group() -> None:
    settings = read_settings({"BANDSHIFT_WORKER__TICK_MINUTES": "5", "BANDSHIFT_WORKER__CATCH_UP": "all"}).settings
    assert (settings.worker.tick_minutes, settings.worker.catch_up) == (5, "all")
    assert settings.worker.attempts == 5


def test_a_channel_can_be_said_by_variables_alone() -> None:
    environ = HOOK | {
        "BANDSHIFT_CHANNELS__OPS__TOPICS": "run.blocked, slot.failed,",
        "BANDSHIFT_CHANNELS__OPS__TIMEOUT_S": "2.5",
        "BANDSHIFT_CHANNELS__CHAT_ROOM__TYPE": "slack",
        "BANDSHIFT_CHANNELS__CHAT_ROOM__URL": "http://chat.internal/T0",
        "BANDSHIFT_CHANNELS__CHAT_ROOM__ALLOW_PRIVATE": "true",
    }
    ops, chat = map(read_settings(environ).settings.channels.get, ("ops", "chat_room"))
    assert isinstance(ops, Webhook)
    assert isinstance(chat, Slack)
    assert (ops.secret.get_secret_value(), ops.topics, ops.timeout_s) == (SECRET, ("run.blocked", "slot.failed"), 2.5)
    assert chat.allow_private
    assert "csm.digest" not in chat.topics, "names of accounts are not told to a room unless that is asked for"


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert read_settings({"DATABASE_URL": "", "BANDSHIFT_HOME": " ", "DATABASE_URL_FILE": ""}).settings == Settings()


def test_a_secret_is_read_from_the_file_that_a_variable_names() -> None:
    Path("dsn").write_text("\n postgresql://u:p@h/d \r\n", encoding="utf-8")
    assert read_settings({"DATABASE_URL_FILE": "dsn"}).settings.database_url == SecretStr("postgresql://u:p@h/d")
    Path("key").write_text(SECRET, encoding="utf-8")
    environ = HOOK | {"BANDSHIFT_CHANNELS__OPS__SECRET": "", "BANDSHIFT_CHANNELS__OPS__SECRET_FILE": "key"}
    ops = read_settings(environ).settings.channels["ops"]
    assert isinstance(ops, Webhook)
    assert ops.secret == SecretStr(SECRET)


def test_only_secrets_are_read_from_files_of_their_own() -> None:
    (problem,) = wrong({"BANDSHIFT_HOME_FILE": "dsn"})
    assert problem == Problem("BANDSHIFT_HOME_FILE", "no such setting; did you mean BANDSHIFT_HOME?")


def test_each_source_goes_before_the_next() -> None:
    Path("in_variable_file").write_text("postgresql://file/d", encoding="utf-8")
    Path("in_toml_file").write_text("postgresql://toml-file/d", encoding="utf-8")
    Path("bandshift.toml").write_text(
        'database_url_file = "in_toml_file"\n[worker]\nattempts = 2\ntick_minutes = 3', encoding="utf-8"
    )
    environ = {"BANDSHIFT_WORKER__ATTEMPTS": "9"}
    found = []
    for more in ({}, {"DATABASE_URL_FILE": "in_variable_file"}, {"DATABASE_URL": "postgresql://variable/d"}):
        environ |= more
        reading = read_settings(environ)
        assert reading.settings.database_url is not None
        found.append((reading.settings.database_url.get_secret_value(), str(reading.places["database_url",])))
        assert (reading.settings.worker.attempts, reading.settings.worker.tick_minutes) == (9, 3)
    assert found == [
        ("postgresql://toml-file/d", "bandshift.toml:1"),
        ("postgresql://file/d", "DATABASE_URL_FILE"),
        ("postgresql://variable/d", "DATABASE_URL"),
    ]


def test_a_secrets_file_that_does_not_count_is_not_read() -> None:
    assert read_settings({"DATABASE_URL": "postgresql://h/d", "DATABASE_URL_FILE": "nowhere"}).settings.database_url


def test_a_channel_is_put_together_from_all_sources() -> None:
    Path("bandshift.toml").write_text('[channels.ops]\ntype = "slack"\nurl = "https://a.example.com"', encoding="utf-8")
    reading = read_settings({"BANDSHIFT_CHANNELS__OPS__TIMEOUT_S": "3"})
    assert reading.settings.channels["ops"].timeout_s == 3
    assert str(reading.places["channels", "ops", "url"]) == "bandshift.toml:3"
    assert str(reading.places["channels", "ops", "timeout_s"]) == "BANDSHIFT_CHANNELS__OPS__TIMEOUT_S"


def test_the_settings_file_is_the_one_that_is_named() -> None:
    Path("bandshift.toml").write_text('home = "here"', encoding="utf-8")
    Path("etc").mkdir()
    Path("etc/ours.toml").write_text('home = "there"\npolicy = "/srv/p.toml"', encoding="utf-8")
    settings = read_settings({"BANDSHIFT_SETTINGS": "etc/ours.toml"}).settings
    assert settings.home == Path("etc/there"), "relative paths start at the settings file's folder"
    assert settings.policy == Path("/srv/p.toml")


def test_a_settings_file_that_is_not_there_is_a_mistake() -> None:
    assert wrong({"BANDSHIFT_SETTINGS": "canary.toml"}) == (
        Problem("BANDSHIFT_SETTINGS", "names no file that is there"),
    )


@pytest.mark.parametrize(
    ("held", "what"),
    [
        (b"worker = \n", "bandshift.toml:1: is not TOML: Invalid value"),
        (b"[worker]\nattempts = canary\n", "bandshift.toml:2: is not TOML: Invalid value"),
        (b"home = 'canary", 'bandshift.toml: is not TOML: Expected "\'"'),
        (b"home = '\xff'", "bandshift.toml: is not UTF-8 text"),
    ],
)
def test_a_settings_file_that_is_no_toml_is_told_by_its_line(held: bytes, what: str) -> None:
    Path("bandshift.toml").write_bytes(held)
    assert [str(problem) for problem in wrong({})] == [what]


def test_a_settings_file_may_begin_with_a_byte_order_mark() -> None:
    assert of_file("\ufeffhome = 'x'").home == Path("x")


def test_every_unknown_variable_is_a_mistake_with_a_suggestion() -> None:
    environ = {
        "BANDSHIFT_POLCY": "canary",
        "BANDSHIFT_COLOUR_OF_THE_SKY": "canary",
        "BANDSHIFT_DATABASE_URL": "canary",
        "BANDSHIFT_WORKER_ATTEMPTS": "canary",
        "BANDSHIFT_CHANNELS__OPS__SECRT": "canary",
        "BANDSHIFT_METRICS__COLOUR": "canary",
        "BANDSHIFT_METRICS": "canary",
    }
    assert wrong(environ) == (
        Problem("BANDSHIFT_CHANNELS__OPS__SECRT", "no such setting; did you mean BANDSHIFT_CHANNELS__OPS__SECRET?"),
        Problem(
            "BANDSHIFT_COLOUR_OF_THE_SKY",
            "no such setting; there are DATABASE_URL, BANDSHIFT_HOME, BANDSHIFT_POLICY, BANDSHIFT_WORKER__...,"
            " BANDSHIFT_CHANNELS__..., BANDSHIFT_DELIVERY__..., BANDSHIFT_METRICS__..., BANDSHIFT_TELEMETRY__...",
        ),
        Problem("BANDSHIFT_DATABASE_URL", "no such setting; did you mean DATABASE_URL?"),
        Problem(
            "BANDSHIFT_METRICS",
            "is a group of settings: BANDSHIFT_METRICS__ADDRESS, BANDSHIFT_METRICS__PORT, BANDSHIFT_METRICS__TEXTFILE,"
            " BANDSHIFT_METRICS__PUSH_URL, BANDSHIFT_METRICS__JOB",
        ),
        Problem(
            "BANDSHIFT_METRICS__COLOUR",
            "no such setting; there are BANDSHIFT_METRICS__ADDRESS, BANDSHIFT_METRICS__PORT,"
            " BANDSHIFT_METRICS__TEXTFILE, BANDSHIFT_METRICS__PUSH_URL, BANDSHIFT_METRICS__JOB",
        ),
        Problem("BANDSHIFT_POLCY", "no such setting; did you mean BANDSHIFT_POLICY?"),
        Problem("BANDSHIFT_WORKER_ATTEMPTS", "no such setting; did you mean BANDSHIFT_WORKER__ATTEMPTS?"),
    )


def test_what_kubernetes_sets_beside_a_service_is_not_ours() -> None:
    environ = {
        "BANDSHIFT_SERVICE_HOST": "10.0.0.1",
        "BANDSHIFT_SERVICE_PORT": "9464",
        "BANDSHIFT_SERVICE_PORT_METRICS": "9464",
        "BANDSHIFT_PORT": "tcp://10.0.0.1:9464",
        "BANDSHIFT_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "BANDSHIFT_PORT_9464_TCP_ADDR": "10.0.0.1",
        "BANDSHIFT_METRICS_PORT": "tcp://10.0.0.1:9464",
    }
    assert read_settings(environ).settings == Settings()
    (problem,) = wrong(environ | {"BANDSHIFT_METRICS_PORT": "9464"})
    assert problem == Problem("BANDSHIFT_METRICS_PORT", "no such setting; did you mean BANDSHIFT_METRICS__PORT?")


def test_all_mistakes_of_all_sources_are_told_at_once() -> None:
    Path("bandshift.toml").write_text(
        """\
# canary
home = ""
polcy = "canary"

[worker]
tick_minutes = true  # would count as one
attempts = 101
first_slot = "canary"

[channels.ops]
type = "webhook"
url = "canary"
secret = "canary"
secret_file = "nowhere"
topics = [
    "run.blocked",
    "canary",
]

[channels.mail]
type = "email"
host = "smtp.example.com/canary"
username = "canary"
to = ["ops@example.com", "canary"]
secret = "canary"

[channels.fax]
type = "canary"

[channels.Loud]
type = "slack"
url = "http://chat.example.com/canary"

[delivery]
first_retry_s = 7200
""",
        encoding="utf-8",
    )
    environ = {"DATABASE_URL_FILE": "/canary", "BANDSHIFT_METRICS__PORT": "canary", "BANDSHIFT_X": "canary"}
    told = [str(problem) for problem in wrong(environ)]
    assert told == [
        "BANDSHIFT_METRICS__PORT: should be a whole number",
        (
            "BANDSHIFT_X: no such setting; there are DATABASE_URL, BANDSHIFT_HOME, BANDSHIFT_POLICY,"
            " BANDSHIFT_WORKER__..., BANDSHIFT_CHANNELS__..., BANDSHIFT_DELIVERY__..., BANDSHIFT_METRICS__...,"
            " BANDSHIFT_TELEMETRY__..."
        ),
        "DATABASE_URL_FILE: names a file that cannot be read: no such file or directory",
        "bandshift.toml:2: home is empty; leave it out for the default",
        "bandshift.toml:3: polcy: no such setting; did you mean policy?",
        "bandshift.toml:6: worker.tick_minutes should be a whole number",
        "bandshift.toml:7: worker.attempts should be at most 100",
        "bandshift.toml:8: worker.first_slot should be 'next' or 'latest'",
        "bandshift.toml:12: channels.ops.url should be a URL that starts with https:// or http://",
        (
            'bandshift.toml:13: channels.ops.secret should be "whsec_" and 24 to 64 random bytes in base64:'
            " openssl rand -base64 32"
        ),
        "bandshift.toml:14: channels.ops.secret_file is said twice, here and as channels.ops.secret; one will do",
        (
            "bandshift.toml:15: channels.ops.topics should be 'csm.digest', 'run.summary', 'run.blocked', 'run.lapsed',"
            " 'run.failed', 'slot.failed' or 'slot.skipped': item 2"
        ),
        "bandshift.toml:21: channels.mail.sender is missing",
        "bandshift.toml:22: channels.mail.host should be a host's name or address, without a scheme",
        (
            "bandshift.toml:24: channels.mail.to should be an e-mail address, as in ops@example.com or"
            " CS ops <ops@example.com>: item 2"
        ),
        "bandshift.toml:25: channels.mail.secret is not a setting of a channel of type email",
        "bandshift.toml:28: channels.fax: type should be 'webhook', 'slack' or 'email'",
        "bandshift.toml:31: channels.Loud: should be a name in lower case: a letter, then letters, digits and single _",
        "bandshift.toml:31: channels.Loud: url should start with https://; http:// takes allow_private = true",
        "bandshift.toml:35: delivery: first_retry_s is more than last_retry_s",
    ]


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (None, "cannot be read: no such file or directory"),
        (b" \n", "is empty"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * 70_000, "is too large to be a secret"),
    ],
)
def test_a_secrets_file_that_holds_no_secret_is_a_mistake_and_only_one(held: bytes | None, why: str) -> None:
    if held is not None:
        Path("key").write_bytes(held)
    text = '[channels.ops]\ntype = "webhook"\nurl = "https://a.example.com"\nsecret_file = "key"'
    assert wrong_in_file(text) == [f"bandshift.toml:4: channels.ops.secret_file names a file that {why}"]


def test_a_table_is_no_value_and_a_value_is_no_table() -> None:
    assert wrong_in_file("worker = 3\nhome = {a = 1}\nchannels.ops = 4\n[channels.b]\nurl_file = 5") == [
        (
            "bandshift.toml:1: worker: is a group of settings: worker.tick_minutes,"
            " worker.delivery_seconds, worker.catch_up, worker.max_lateness_hours, worker.first_slot, worker.attempts,"
            " worker.retry_minutes, worker.answer_within_hours"
        ),
        "bandshift.toml:2: home should be a path, in quotes",
        (
            "bandshift.toml:3: channels.ops: is a group of settings: channels.ops.type, channels.ops.url,"
            " channels.ops.secret, channels.ops.topics, channels.ops.allow_private, channels.ops.timeout_s,"
            " channels.ops.host, channels.ops.port, channels.ops.tls, channels.ops.username, channels.ops.password,"
            " channels.ops.sender, channels.ops.to"
        ),
        "bandshift.toml:5: channels.b.url_file should be the path of a file, in quotes",
    ]


MAIL = '[channels.m]\ntype = "email"\nhost = "h"\nsender = "a@example.com"\n'


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('to = ["a@b.c"]\nusername = "u"', "channels.m: username and password come together or not at all"),
        ("", 'channels.m: to is missing: who gets all but the digests? Without, topics is ["csm.digest"]'),
        ("to = []", 'channels.m: to is missing: who gets all but the digests? Without, topics is ["csm.digest"]'),
    ],
)
def test_an_e_mail_channel_is_whole(more: str, what: str) -> None:
    assert wrong_in_file(MAIL + more) == [f"bandshift.toml:2: {what}"]


def test_an_e_mail_channel_for_digests_alone_needs_nobody_else() -> None:
    assert of_file(MAIL + 'topics = ["csm.digest"]').channels["m"].topics == ("csm.digest",)


@pytest.mark.parametrize(
    "address", ["a@b.c\nBcc: x@y.z", "a b@c.d", "a@b.c, x@y.z", "A <a@b.c", "@b.c", "a@", "A\r <a@b.c>", "a"]
)
def test_an_address_cannot_bring_headers_or_other_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="should be an e-mail address"):
        Email(type="email", host="h", sender=address, to=("a@b.c",))


@pytest.mark.parametrize(
    "url", ["hooks.example.com", "ftp://a.b/c", "https://", "https:///x", "https://a b", "http://[x"]
)
def test_a_url_has_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ValueError, match="should be a URL that starts with"):
        Slack(type="slack", url=SecretStr(url))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", SECRET[6:], f"x{SECRET}", f"{SECRET}!"])
def test_a_signing_secret_is_one_of_standard_webhooks(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        Webhook(type="webhook", url=SecretStr("https://a.example.com"), secret=SecretStr(secret))


def test_traces_take_no_password_in_their_url() -> None:
    (problem,) = wrong({"BANDSHIFT_TELEMETRY__OTLP_ENDPOINT": "https://u:canary@traces.example.com"})
    assert problem == Problem(
        "BANDSHIFT_TELEMETRY__OTLP_ENDPOINT",
        "should hold no user and no password; use OTEL_EXPORTER_OTLP_HEADERS for them",
    )


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().home = Path("elsewhere")
    with pytest.raises(ValueError, match="frozen"):
        load_settings().worker.attempts = 3


def test_a_setting_shows_no_secret_however_it_is_written_down() -> None:
    settings = read_settings(HOOK | {"DATABASE_URL": "postgresql://u:canary@h/d"}).settings
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "OPS" in shown.upper(), "the channel is shown"
        assert "canary" not in shown
        assert SECRET not in shown
        assert "hooks.example.com" not in shown
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own


def test_a_mistake_has_no_other_error_behind_it() -> None:
    environ = {"BANDSHIFT_WORKER__ATTEMPTS": "canary"}
    with pytest.raises(Mistake) as caught:
        read_settings(environ)
    told = "".join(traceback.format_exception(caught.value))
    assert "BANDSHIFT_WORKER__ATTEMPTS" in told
    assert "canary" not in told


def test_the_lines_of_a_file_are_those_where_its_keys_begin() -> None:
    text = '# c\na = 1\n\n[b]\nc = """\n[x]\n"""\nd.e = [ # x\n1,\n]\n [b.f] # [y]\n  g=1\n[[h]]\ni=2'
    assert lines_of(text) == lines_of(text.replace("\n", "\r\n"))
    assert lines_of(text) == {
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "d"): 8,
        ("b", "d", "e"): 8,
        ("b", "f"): 11,
        ("b", "f", "g"): 12,
        ("h",): 13,
    }
