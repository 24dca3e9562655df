"""`bandshift db`: the schema, of the embedded database or of the user's."""

import typer

from app import migrate
from app.cli.options import Verbose
from app.database import open_unchecked
from app.errors import ExitCode
from app.settings import load_settings

app = typer.Typer(help="The database's schema.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def upgrade(*, verbose: Verbose = False) -> None:
    """Bring the schema to the version this bandshift needs; does nothing if it is."""
    del verbose
    with open_unchecked(load_settings()) as engine:
        applied = migrate.upgrade(engine)
    for revision in applied:
        typer.echo(f"applied {revision}")
    typer.echo(f"the schema is at {migrate.head()}")


@app.command()
def status(*, verbose: Verbose = False) -> None:
    """Say which version the schema has and which it needs; exit code 1 if they differ."""
    del verbose
    with open_unchecked(load_settings()) as engine, engine.connect() as connection:
        found = migrate.current(connection)
    typer.echo(f"found   {found or 'no schema'}")
    typer.echo(f"needed  {migrate.head()}")
    if found != migrate.head():
        typer.echo("run `bandshift db upgrade`")
        raise typer.Exit(ExitCode.FAILED)
