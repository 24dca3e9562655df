"""A canary for every secret there is, and how to tell that one has escaped."""

import base64
from collections.abc import Iterator

DSN, HOOK_URL, HOOK_KEY, SLACK_URL, SMTP, PUSH, OTLP = (
    f"canary{kind}q7x" for kind in ("Dsn", "HookUrl", "HookKey", "SlackUrl", "Smtp", "Push", "Otlp")
)
CANARIES = (DSN, HOOK_URL, HOOK_KEY, SLACK_URL, SMTP, PUSH, OTLP)

PASSWORD = f"p@ss/{DSN}:%é&="
"""Of the database: what has to be percent-encoded around what is looked for."""
SIGNING_SECRET = f"whsec_{base64.b64encode(HOOK_KEY.encode() + bytes(32)).decode()}"


def leaks(text: str) -> list[str]:
    """The canaries that are in the text: as they are, in any case, in hexadecimal, or inside of base64."""
    lower = text.lower()
    return [
        canary
        for canary in CANARIES
        if canary.lower() in lower
        or canary.encode().hex() in lower
        or any(inside in text for inside in _in_base64(canary.encode()))
    ]


def _in_base64(secret: bytes) -> Iterator[str]:
    """What base64 makes of the secret after none, one or two other bytes, without the letters they share."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        yield encoded[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
