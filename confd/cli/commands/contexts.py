"""The commands on profiles and credentials: C{context}, C{login} and C{logout}."""

from __future__ import annotations

import sys

import click
from attrs import evolve

from confd.access.tokens import SECRET
from confd.cli.api_client import ApiClient
from confd.cli.command import Command, Group
from confd.cli.commands.completing import complete_profile
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import column
from confd.cli.profile import chosen_profile, config_file, profiles, read_secret
from confd.cli.session import Session, common, pass_session
from confd.cli.stored import read_tokens, write_context, write_tokens
from confd.cli.text import format_time
from confd.codec.text import printable

_DEFAULT = "default"


@click.group("context", cls=Group, short_help="List, choose or show the profile in use.")
def context() -> None:
    """
    Choose among the profiles of ~/.config/confd/config.toml. Without a subcommand: context show.
    """


context.default = "show"


@context.command(
    "list",
    short_help="List the profiles.",
    examples=[("confdctl context list", "list them; a star marks the chosen one")],
)
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_contexts(session: Session) -> None:
    """List the profiles of the configuration file."""
    path = config_file(session.environ)
    chosen = chosen_profile(path, session.given, session.environ) or _DEFAULT
    found = [{"name": name, "chosen": name == chosen, **table} for name, table in profiles(path).items()]
    columns = [
        column("CHOSEN", lambda each: "*" if each["chosen"] else ""),
        column("NAME", "name"),
        column("URL", lambda each: each.get("url")),
        column("NAMESPACE", lambda each: each.get("namespace")),
        column("USERNAME", lambda each: each.get("username")),
    ]
    session.screen.listing(found, columns, f"{path} has no profile; confdctl --help shows one.")


@context.command(
    "use",
    short_help="Choose a profile.",
    examples=[
        ("confdctl context use prod", "use the profile prod from now on"),
        ("confdctl context use default", "use the profile default again"),
    ],
)
@click.argument("name", shell_complete=complete_profile)
@common(namespace=False)
@pass_session
def use_context(session: Session, name: str) -> None:
    """
    Use the profile NAME where neither --profile nor CONFD_PROFILE names another one.
    """
    path = config_file(session.environ)
    found = profiles(path)
    if name not in found and name != _DEFAULT:
        known = (
            f"use one of {', '.join(map(printable, found))}" if found else f"write [profiles.{printable(name)}] first"
        )
        raise CommandError(Exit.NOT_FOUND, f"{path}: has no profile {printable(name)}; {known}.")
    write_context(path, "" if name == _DEFAULT else name)
    url = found.get(name, {}).get("url")
    said = f"confdctl uses the profile {printable(name)} from now on{f': {printable(url)}' if url else ''}."
    session.screen.show({"profile": name, "url": url}, lambda: session.screen.line(said))


@context.command(
    "show",
    short_help="Show the address and the credentials in use.",
    examples=[("confdctl context", "show each value, and the option, variable or profile that it comes from")],
)
@common()
@pass_session
def show_context(session: Session) -> None:
    """Show the controller, the namespace and the kind of credentials, and where each of them comes from."""
    target = session.target
    values = {"url": target.url, "namespace": target.namespace}
    values |= {} if target.token is not None else {"username": target.username}
    if target.ca_file is not None:
        values["ca_file"] = target.ca_file
    secret = "token" if target.token is not None else "password"
    rows = [[name, value, target.origins.get(name)] for name, value in values.items()]
    rows.append(
        [secret, "is set" if (target.token or target.password) is not None else "is asked", target.origins.get(secret)]
    )
    found = {name: {"value": value, "from": origin} for name, value, origin in rows}
    session.screen.show(found, lambda: session.screen.table(["SETTING", "VALUE", "FROM"], rows))


@click.command(
    "login",
    cls=Command,
    short_help="Keep an API token for a controller.",
    examples=[
        ("confdctl login --url https://confd.example.com", "ask for a token, check it, and keep it"),
        ("confdctl login --token-file token", "keep the token in a file; - reads standard input"),
    ],
)
@click.option("--token-file", "file", type=click.Path(), metavar="FILE|-", help="File that holds the token.")
@common(namespace=False)
@pass_session
def login(session: Session, file: str | None) -> None:
    """
    Keep an API token for the address of the controller, in a file of mode 600 beside the profiles. confdctl token
    create makes a token. Options, variables and profiles with credentials win over it.
    """
    target = session.target
    if file is None and not session.interactive:
        raise CommandError(
            Exit.USAGE, "No terminal to ask for the token; name a file with --token-file, or - for a pipe."
        )
    if file is None:
        token = click.prompt(f"API token for {printable(target.url)}", hide_input=True, err=True).strip()
    else:
        token = sys.stdin.readline().strip() if file == "-" else read_secret(file, "--token-file")
    if SECRET.fullmatch(token.encode("utf-8", "surrogateescape")) is None:
        raise CommandError(Exit.USAGE, "This is no API token; copy the whole line that confdctl token create prints.")
    origins = {**target.origins, "token": "this login"}
    checked = evolve(target, token=token, password=None, origins=origins)
    found = ApiClient(checked, session.transport(checked), None).get("/api/v1/whoami")
    path = config_file(session.environ)
    kept = write_tokens(path, {**read_tokens(path)[0], target.url: token})
    until = f", until {format_time(found['expires_at'])}" if found["expires_at"] else ""
    said = f"Signed in at {target.url} as {found['name']}{until}. The token is kept in {kept}."
    result = {"url": target.url, "name": found["name"], "expires_at": found["expires_at"]}
    session.screen.show(result, lambda: session.screen.line(printable(said)))


@click.command(
    "logout",
    cls=Command,
    short_help="Forget the API token for a controller.",
    examples=[("confdctl logout", "forget the token that confdctl login kept")],
)
@common(namespace=False)
@pass_session
def logout(session: Session) -> None:
    """Forget the token that confdctl login kept for the address. It stays valid until confdctl token revoke ends it."""
    path, url = config_file(session.environ), session.target.url
    tokens = dict(read_tokens(path)[0])
    if tokens.pop(url, None) is None:
        raise CommandError(
            Exit.NOT_FOUND, f"No token is kept for {url}; confdctl context shows the credentials in use."
        )
    write_tokens(path, tokens)
    session.screen.show({"url": url}, lambda: session.screen.line(printable(f"The token for {url} is forgotten.")))
