"""The kinds of values that settings hold. Each raises ValueError, which quotes nothing: a value may be a secret."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

_NAME = re.compile(r"[a-z](?:_?[a-z0-9]){0,39}")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+|[^<>\"\x00-\x1f@]+ <[^\s@<>,;\"]+@[^\s@<>,;\"]+>")


def listed(value: Any) -> Any:
    """A list as the environment writes it, `a, b`, as a tuple; a list of the settings file unchanged."""
    if isinstance(value, str):
        return tuple(filter(None, (item.strip() for item in value.split(","))))
    return value


def whole(value: Any) -> Any:
    """Anything but true and false, which would count as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a whole number")  # noqa: TRY004 - pydantic gathers ValueError
    return value


def name(value: str) -> str:
    """The name of a channel: lower case, and such that a variable can say it."""
    if not _NAME.fullmatch(value):
        raise ValueError("should be a name in lower case: a letter, then letters, digits and single _")
    return value


def channel(value: Any) -> Any:
    """A table that says a type of channel there is, or a channel; pydantic would quote the type."""
    if isinstance(value, Mapping) and value.get("type") not in ("webhook", "slack", "email"):
        raise ValueError("type should be 'webhook', 'slack' or 'email'")
    return value


def host(value: str) -> str:
    """A host's name or address, without scheme or port."""
    if not _HOST.fullmatch(value):
        raise ValueError("should be a host's name or address, without a scheme")
    return value


def address(value: str) -> str:
    """An e-mail address, with or without a name before it: `ops@example.com`, `CS ops <ops@example.com>`."""
    if not _ADDRESS.fullmatch(value) or not value.isprintable():
        raise ValueError("should be an e-mail address, as in ops@example.com or CS ops <ops@example.com>")
    return value


def http_url(value: SecretStr) -> SecretStr:
    """A URL of http or https with a host."""
    if _parts(value.get_secret_value()) is None:
        raise ValueError("should be a URL that starts with https:// or http://")
    return value


def plain_url(value: str) -> str:
    """A URL of http or https that holds no user and no password, for it is shown."""
    parts = _parts(value)
    if parts is None:
        raise ValueError("should be a URL that starts with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("should hold no user and no password; use OTEL_EXPORTER_OTLP_HEADERS for them")
    return value


def require_tls(url: SecretStr, *, allow_private: bool) -> None:
    """An http:// URL is refused unless private addresses are allowed: messages name customers."""
    if url.get_secret_value().lower().startswith("http://") and not allow_private:
        raise ValueError("url should start with https://; http:// takes allow_private = true")


def signing_secret(value: SecretStr) -> SecretStr:
    """A secret of the Standard Webhooks specification."""
    prefix, _, encoded = value.get_secret_value().partition("whsec_")
    try:
        key = b64decode(encoded, validate=True)
    except (NotBase64, ValueError):
        key = b""
    if prefix or not 24 <= len(key) <= 64:
        raise ValueError('should be "whsec_" and 24 to 64 random bytes in base64: openssl rand -base64 32')
    return value


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL of http or https that has a host; None of anything else."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if parts.scheme in {"http", "https"} and has_host else None
