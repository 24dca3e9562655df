"""The settings there are: their names, kinds, limits and defaults; what each means is its description.

Nothing here reads the environment: `Settings(...)` holds what it is given and the defaults. No message quotes a value,
which may be a secret.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.settings import kinds

Topic = Literal["csm.digest", "run.summary", "run.blocked", "run.lapsed", "run.failed", "slot.failed", "slot.skipped"]
TOPICS: tuple[Topic, ...] = (
    "csm.digest", "run.summary", "run.blocked", "run.lapsed", "run.failed", "slot.failed", "slot.skipped"
)  # fmt: skip
_OPERATION = tuple(topic for topic in TOPICS if topic != "csm.digest")

Whole = Annotated[int, BeforeValidator(kinds.whole)]
Url = Annotated[SecretStr, AfterValidator(kinds.http_url)]
Topics = Annotated[tuple[Topic, ...], BeforeValidator(kinds.listed), Field(min_length=1)]
Address = Annotated[str, AfterValidator(kinds.address)]
Timeout = Annotated[float, Field(gt=0, le=60)]

_TIMEOUT = "Seconds until an attempt is given up"
_ALLOW_PRIVATE = "Whether it may be at a private address, and without TLS"


class Part(BaseModel):
    """A group of settings; cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Worker(Part):
    """The worker: when it looks, when it delivers, what it makes up for, how often it tries."""

    tick_minutes: Whole = Field(
        default=15, ge=1, le=1440, description="Minutes from one look at the ledger to the next"
    )
    delivery_seconds: Whole = Field(
        default=60,
        ge=1,
        le=3600,
        description="Seconds from one delivery of what is due in the outbox to the next",
    )
    catch_up: Literal["latest", "all", "none"] = Field(
        default="latest", description="Which missed slots are run late: the latest, all, or none"
    )
    max_lateness_hours: Whole = Field(
        default=120,
        ge=1,
        le=8760,
        description="Hours after which a missed slot is skipped rather than run, with `all` too",
    )
    first_slot: Literal["next", "latest"] = Field(
        default="next", description="Where no slot was ever due: wait for the `next` one, or run the `latest` at once"
    )
    attempts: Whole = Field(default=5, ge=1, le=100, description="How often a slot is tried until a person is told")
    retry_minutes: Whole = Field(
        default=15,
        ge=1,
        le=1440,
        description="Minutes until a failed slot is tried again; doubled by each attempt, up to six hours",
    )
    answer_within_hours: Whole = Field(
        default=120, ge=1, le=8760, description="Hours in which a run that awaits approval has to be answered"
    )


class Webhook(Part):
    """A signed webhook, by the Standard Webhooks specification."""

    type: Literal["webhook"] = Field(description="What kind of channel it is")
    url: Url = Field(description="Where messages are posted")
    secret: Annotated[SecretStr, AfterValidator(kinds.signing_secret)] = Field(
        description="The key they are signed with: `whsec_` and 24 to 64 bytes in base64"
    )
    topics: Topics = Field(default=TOPICS, description="What it is told")
    allow_private: bool = Field(default=False, description=_ALLOW_PRIVATE)
    timeout_s: Timeout = Field(default=10, description=_TIMEOUT)

    @model_validator(mode="after")
    def _private(self) -> "Webhook":
        kinds.require_tls(self.url, allow_private=self.allow_private)
        return self


class Slack(Part):
    """A Slack-compatible incoming webhook."""

    type: Literal["slack"] = Field(description="What kind of channel it is")
    url: Url = Field(description="The incoming webhook, which is a secret")
    topics: Topics = Field(default=_OPERATION, description="What it is told")
    allow_private: bool = Field(default=False, description=_ALLOW_PRIVATE)
    timeout_s: Timeout = Field(default=10, description=_TIMEOUT)

    @model_validator(mode="after")
    def _private(self) -> "Slack":
        kinds.require_tls(self.url, allow_private=self.allow_private)
        return self


class Email(Part):
    """E-mail by SMTP: a digest goes to its CSM, everything else to `to`."""

    type: Literal["email"] = Field(description="What kind of channel it is")
    host: Annotated[str, AfterValidator(kinds.host)] = Field(description="The SMTP server")
    port: Whole = Field(default=587, ge=1, le=65535, description="Its port")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="`starttls` as a rule, `tls` for a port that speaks nothing else (465), or `none`",
    )
    username: str | None = Field(default=None, min_length=1, description="The user to log in as; none: no log-in")
    password: SecretStr | None = Field(default=None, min_length=1, description="The user's password")
    sender: Address = Field(description="The address in From")
    to: Annotated[tuple[Address, ...], BeforeValidator(kinds.listed)] = Field(
        default=(), description="Who gets all but the CSMs' digests"
    )
    topics: Topics = Field(default=TOPICS, description="What it is told")
    timeout_s: Timeout = Field(default=10, description=_TIMEOUT)

    @model_validator(mode="after")
    def _whole(self) -> "Email":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password come together or not at all")
        if not self.to and set(self.topics) != {"csm.digest"}:
            raise ValueError('to is missing: who gets all but the digests? Without, topics is ["csm.digest"]')
        return self


Channel = Annotated[Webhook | Slack | Email, Field(discriminator="type"), BeforeValidator(kinds.channel)]


class Delivery(Part):
    """How messages are delivered."""

    give_up_hours: Whole = Field(default=72, ge=1, le=8760, description="Hours until a message is parked")
    first_retry_s: Whole = Field(default=30, ge=1, le=86_400, description="Seconds until the second attempt")
    last_retry_s: Whole = Field(default=3600, ge=1, le=86_400, description="The most seconds between two attempts")

    @model_validator(mode="after")
    def _ordered(self) -> "Delivery":
        if self.first_retry_s > self.last_retry_s:
            raise ValueError("first_retry_s is more than last_retry_s")
        return self


class Metrics(Part):
    """Where the metrics go."""

    address: Annotated[str, AfterValidator(kinds.host)] = Field(
        default="127.0.0.1", description="The address that the worker serves them at"
    )
    port: Whole | None = Field(default=None, ge=1, le=65535, description="The port; none: they are not served")
    textfile: Path | None = Field(
        default=None,
        description="The file they are written to for node_exporter, after each run and by the worker at each tick",
    )
    push_url: Url | None = Field(default=None, description="The Pushgateway they are pushed to, at the same times")
    job: str = Field(default="bandshift", min_length=1, max_length=100, description="Their job name at the Pushgateway")


class Telemetry(Part):
    """Traces, if the extra `otel` is installed."""

    otlp_endpoint: Annotated[str, AfterValidator(kinds.plain_url)] | None = Field(
        default=None, description="The OTLP/HTTP endpoint that traces go to; none: no traces"
    )


class Settings(BaseSettings):
    """All settings of this process."""

    model_config = SettingsConfigDict(
        env_prefix="BANDSHIFT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = Field(
        default=None, description="The database; none: an embedded one, which bandshift starts and stops"
    )
    home: Path = Field(default=Path(".bandshift"), description="The folder of the embedded database")
    policy: Path | None = Field(default=None, description="The policy file; none: the one that comes with bandshift")
    worker: Worker = Worker()
    channels: Mapping[Annotated[str, AfterValidator(kinds.name)], Channel] = Field(
        default={}, description="Whom to tell, by a name of your own"
    )
    delivery: Delivery = Delivery()
    metrics: Metrics = Metrics()
    telemetry: Telemetry = Telemetry()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What it is given is all it reads: `load_settings` does the reading, and keeps where each value is from."""
        del settings_cls
        return (init_settings,)
