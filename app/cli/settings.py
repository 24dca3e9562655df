"""`bandshift settings`: which settings are in force, and where each was said."""

import os

from app.cli.options import Format, Output, OutputFormat, Verbose
from app.cli.output import open_output
from app.report.settings import write_settings_csv, write_settings_json, write_settings_table
from app.settings.effective import effective
from app.settings.read import read_settings


def settings(*, form: OutputFormat = Format.TABLE, output: Output = None, verbose: Verbose = False) -> None:
    """Show the settings in force, secrets masked, and where each is from."""
    del verbose
    reading = read_settings(os.environ)
    found = effective(reading)
    with open_output(output) as out:
        match form:
            case Format.TABLE:
                write_settings_table(out, found, reading.file)
            case Format.JSON:
                write_settings_json(out, found, reading.file)
            case Format.CSV:
                write_settings_csv(out, found)
