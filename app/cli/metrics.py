"""`bandshift metrics`: the metrics as they are now, for whoever collects them by a file or a pipe."""

from datetime import UTC, datetime

from app import metrics as told
from app.cli.options import Output, Verbose
from app.cli.output import open_output
from app.database import open_unchecked
from app.settings import load_settings


def metrics(*, output: Output = None, verbose: Verbose = False) -> None:
    """Print the metrics in Prometheus' text format.

    A worker serves the same at metrics.port; a run writes them to metrics.textfile and pushes them to metrics.push_url.
    """
    del verbose  # its callback has done the work
    settings = load_settings()
    with open_output(output) as out, open_unchecked(settings) as engine:
        out.write(told.exposition(engine, settings, datetime.now(UTC)))
