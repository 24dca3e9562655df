"""What this process is told: which database, which policy, how the worker works, and whom it tells.

`model` says which settings there are, `read` reads them from the environment and the settings file.
"""

from app.settings.model import (
    TOPICS,
    Channel,
    Delivery,
    Email,
    Metrics,
    Settings,
    Slack,
    Telemetry,
    Topic,
    Webhook,
    Worker,
)
from app.settings.read import load_settings

__all__ = [
    "TOPICS",
    "Channel",
    "Delivery",
    "Email",
    "Metrics",
    "Settings",
    "Slack",
    "Telemetry",
    "Topic",
    "Webhook",
    "Worker",
    "load_settings",
]
