"""`bandshift db`: the schema, of the embedded database or of the user's."""

from typing import Annotated

import typer

from app import migrate
from app import roles as database_roles
from app.cli.options import Verbose
from app.database import open_unchecked
from app.errors import ExitCode
from app.settings import load_settings

app = typer.Typer(help="The database's schema, and its roles.", no_args_is_help=True, rich_markup_mode=None)


@app.command(short_help="Bring the schema to the version this bandshift needs.")
def upgrade(*, verbose: Verbose = False) -> None:
    """Bring the schema to the version this bandshift needs; does nothing if it is."""
    del verbose
    with open_unchecked(load_settings()) as engine:
        applied = migrate.upgrade(engine)
    for revision in applied:
        typer.echo(f"applied {revision}")
    typer.echo(f"the schema is at {migrate.head()}")


@app.command(short_help="Say whether the schema is the one this bandshift needs.")
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


@app.command(short_help="Print the SQL that makes the database's roles.")
def roles(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Make them in the database, instead of printing.")] = False,
    prefix: Annotated[
        str, typer.Option("--prefix", help="How their names begin; another one for another database.", metavar="NAME")
    ] = database_roles.PREFIX,
    schema: Annotated[
        str | None,
        typer.Option("--schema", help="The schema, made if need be; default: the search path's first.", metavar="NAME"),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Print the SQL that makes the database's roles and grants them what they need.

    Four roles: NAME_owner migrates, NAME_app runs, NAME_loader writes facts, NAME_reader asks. It can be run again at
    any time, before the first `bandshift db upgrade` or after any; docs/roles.md says who may do what.
    """
    del verbose
    if not apply:
        typer.echo(database_roles.script(prefix, schema), nl=False)
        return
    with open_unchecked(load_settings()) as engine, engine.begin() as connection:
        left = database_roles.apply(connection, prefix, schema)
    for warning in left:
        typer.echo(warning, err=True)
    for name in database_roles.role_names(prefix).values():
        typer.echo(f"granted {name}")
