"""Telling people: the messages of the outbox on their way through the channels of the settings.

`deliver_due` does the work; `backlog` and `outbox` say how it stands and let people step in.
"""

from app.notify.backlog import Backlog, read_backlog
from app.notify.deliver import Delivered, deliver_due

__all__ = ["Backlog", "Delivered", "deliver_due", "read_backlog"]
