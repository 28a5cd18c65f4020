"""The command C{exec}: run a program with environment variables from the document."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

import click

from confd.cli.command import Command
from confd.cli.errors import CommandError, Exit
from confd.cli.profile import read_secret
from confd.cli.session import Session, common, pass_session
from confd.codec.environment_file import env_variables, valid_name
from confd.codec.strict_json import JsonValue
from confd.codec.text import printable
from confd.codec.values import FormatError, resolve, valid_pointer
from confd.local import Local, LocalError, Unreachable

#: Secrets of confd, which the program does not inherit; each may have the prefix C{CONFD_} and the suffix C{_FILE}.
OWN_SECRETS = (
    "ADMIN_PASSWORD", "AGENT_PASSWORD", "AGENT_API_TOKEN", "CONTROLLER_PASSWORD", "CONTROLLER_PROXY", "WORKER_PASSWORD",
    "WEBHOOK_URLS", "WEBHOOK_SECRET",
)  # fmt: skip

#: Secrets of brokers and databases, which the program may need itself: it does not inherit them with the prefix
#: C{CONFD_}.
SHARED_SECRETS = ("REDIS_PASSWORD", "NATS_PASSWORD", "NATS_TOKEN", "KAFKA_PASSWORD", "DATABASE_URL")


@click.command(
    "exec",
    cls=Command,
    short_help="Run a program with environment variables from the document.",
    context_settings={"allow_interspersed_args": False},
    examples=[
        ("confdctl exec --pointer /env -- ./server --port 80", "each member of the object env becomes a variable"),
        ("confdctl exec --prefix APP_ -- env", "put APP_ before each name"),
        ("confdctl exec --agent http://127.0.0.1:8083 -- ./server", "ask the agent on this machine"),
    ],
)
@click.option("--pointer", default="", metavar="POINTER", help="JSON pointer of the object.  [default: all]")
@click.option("--prefix", default="", metavar="TEXT", help="Text before the name of each variable.")
@click.option("--agent", metavar="URL", help="Ask the AGENT_API_LISTEN of an agent, not the controller.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@common()
@pass_session
def exec_(session: Session, pointer: str, prefix: str, agent: str | None, command: tuple[str, ...]) -> None:
    """
    Read the document once, set a variable for each member of an object, and become COMMAND.

    Numbers and booleans are written as in JSON, null as an empty text. Nested values and line breaks are refused. The
    variables win over the inherited ones. Passwords and tokens of confd are not inherited.
    """
    if not valid_pointer(pointer):
        raise CommandError(Exit.USAGE, "--pointer: must be a JSON pointer such as /env, or empty.")
    if prefix and not valid_name(prefix):
        raise CommandError(Exit.USAGE, "--prefix: must be letters, digits and underscores, and begin with no digit.")
    program = _find(command[0], session.environ)
    document = _ask_agent(session, agent) if agent is not None else _ask_controller(session)
    try:
        part = resolve(document, pointer)
    except FormatError:
        raise CommandError(Exit.NOT_FOUND, f"The document has nothing at {printable(pointer)}.") from None
    try:
        variables = {f"{prefix}{name}": text for name, text in env_variables(part).items()}
    except FormatError as error:
        where = f" below {printable(pointer)}" if pointer else ""
        raise CommandError(Exit.INVALID, f"No variables can be made: {printable(error)}{where}.") from None
    try:
        session.execute(program, command, {**_inherited(session.environ), **variables})
    except OSError as error:
        raise CommandError(Exit.CANNOT_EXECUTE, f"{printable(program)} cannot be executed: {error.strerror}.") from None


def _find(name: str, environ: Mapping[str, str]) -> str:
    """Return the path of a program; the document has no part in it."""
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    if found is not None:
        return found
    if os.path.exists(name):
        raise CommandError(Exit.CANNOT_EXECUTE, f"{printable(name)} is not an executable file.")
    raise CommandError(Exit.NO_COMMAND, f"No command {printable(name)} was found; check its name and PATH.")


def _ask_controller(session: Session) -> JsonValue:
    return session.controller.get("/api/v1/config", namespace=session.namespace)["data"]


def _ask_agent(session: Session, url: str) -> JsonValue:
    try:
        return Local(url, _token(session.environ)).get()
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--agent: {error}") from None
    except LocalError as error:
        status = Exit.UNREACHABLE if isinstance(error, Unreachable) else Exit.DENIED
        raise CommandError(status, printable(error)) from None


def _token(environ: Mapping[str, str]) -> str | None:
    """Return the token of the agent, from a variable or from the file that a variable names."""
    for name in ("CONFD_AGENT_API_TOKEN", "AGENT_API_TOKEN"):
        if text := environ.get(name):
            return text
        if path := environ.get(f"{name}_FILE"):
            return read_secret(path, f"{name}_FILE")
    return None


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without confd's own secrets."""
    names = {*OWN_SECRETS, *(f"CONFD_{each}" for each in (*OWN_SECRETS, *SHARED_SECRETS))}
    return {name: text for name, text in environ.items() if name.removesuffix("_FILE") not in names}
