"""Logs: one pipeline for our events and other libraries' records, to stderr; data goes to stdout.

Events are past-tense and dotted (`run.applied`), with fields instead of sentences, and carry ids and counts only.
Values of local variables are never printed with a traceback: they may hold a secret.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor


def configure_logs(*, level: int = logging.INFO, stream: TextIO | None = None, colors: bool | None = None) -> None:
    """Every event at `level` or above, and every foreign record from WARNING up, goes to `stream` (default: stderr).

    On a terminal it is for people to read, in colour unless `colors` says otherwise; elsewhere each event is one JSON
    object on a line of its own. Calling it again replaces what was configured before.
    """
    stream = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_ending(stream, colors=colors)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("app").setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=_app_logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _app_logger(*_: object) -> logging.Logger:
    """The logger that all our events go through."""
    return logging.getLogger("app")


def _ending(stream: TextIO, *, colors: bool | None) -> list[Processor]:
    """The processors that turn an event into a line of text."""
    if stream.isatty():
        return [
            structlog.dev.ConsoleRenderer(
                colors=True if colors is None else colors, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
