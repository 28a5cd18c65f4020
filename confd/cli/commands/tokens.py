"""The commands on API tokens: C{token create}, C{list}, C{show}, C{rotate}, C{revoke}; and C{whoami}."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command, Group
from confd.cli.commands.completing import complete_token
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.options import parse_duration, yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_PATH = "/api/v1/tokens"


@click.group("token", cls=Group, short_help="Create, list, rotate or revoke API tokens.")
def token() -> None:
    """
    Manage API tokens, which callers send in place of a password. Without a subcommand: token list.
    """


token.default = "list"


@token.command(
    "create",
    short_help="Create a token, and print its secret once.",
    examples=[
        ("confdctl token create ci --grant publisher:billing --expires 90d > token", "a token for a pipeline"),
        ("confdctl token create ann --grant viewer:* --grant approver:pay-*,billing", "a token with two roles"),
        ("CONFD_TOKEN_FILE=token confdctl -n billing status", "use it"),
    ],
)
@click.argument("name")
@click.option(
    "--grant",
    "grants",
    metavar="ROLE:NAMESPACE[,NAMESPACE]...",
    multiple=True,
    required=True,
    help="A role in namespaces, or in all namespaces that begin with a prefix: pay-*. Give it once for each role.",
)
@click.option("--subject", metavar="TEXT", help="The person or team that answers for it.  [default: NAME]")
@click.option("--expires", metavar="TIME", help="How long it is valid: 12h, 90d, 52w.  [default: for ever]")
@common(namespace=False)
@pass_session
def create_token(session: Session, name: str, grants: Sequence[str], subject: str | None, expires: str | None) -> None:
    """
    Create a token named NAME, and print its secret, which the controller does not keep.

    \b
    Roles: agent, viewer, proposer, publisher, approver, operator, checker, admin. The role admin takes the namespace *.
    """
    body: JsonObject = {"name": name, "grants": [_grant(each) for each in grants]}
    if subject is not None:
        body["subject"] = subject
    if expires is not None:
        body["expires_in"] = parse_duration(expires, "--expires")
    made: JsonObject = value_of(session.controller.call("POST", _PATH, body))
    _show_secret(session, made, "is created")


@token.command("list", short_help="List the tokens.", examples=[("confdctl token", "list tokens with their last use")])
@click.option("--all", "everything", is_flag=True, help="Revoked tokens, too.")
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_tokens(session: Session, everything: bool) -> None:
    """List the tokens with their grants, and when they were used last."""
    found = [each for each in session.controller.get(_PATH)["items"] if everything or each["revoked_at"] is None]
    columns = [
        column("ID", "id"),
        column("NAME", "name"),
        column("SUBJECT", "subject", spare=2),
        column("GRANTS", lambda each: _describe(each["grants"]), Kind.WORDS),
        column("EXPIRES", "expires_at", Kind.TIME),
        *([column("REVOKED", "revoked_at", Kind.OPTIONAL_TIME)] if everything else []),
        column("LAST USED", "last_used_at", Kind.TIME, spare=1),
    ]
    session.screen.listing(found, columns, "No token is valid." if not everything else "No token was ever made.")


@token.command("show", short_help="Show a token.", examples=[("confdctl token show 7f3a9c21", "show one token")])
@click.argument("token_id", metavar="ID", shell_complete=complete_token)
@common(namespace=False)
@pass_session
def show_token(session: Session, token_id: str) -> None:
    """Show the token ID, without its secret."""
    found: JsonObject = session.controller.get(_path(token_id))
    rows: list[list[object]] = [
        ["name", printable(found["name"])],
        ["subject", printable(found["subject"])],
        ["grants", _describe(found["grants"])],
        ["created", f"{format_time(found['created_at'])} by {printable(found['created_by'])}"],
        ["expires", format_time(found["expires_at"])],
        ["revoked", format_time(found["revoked_at"])],
        ["last used", _last_use(found)],
    ]
    session.screen.show(found, lambda: session.screen.table(["TOKEN", found["id"]], rows))


@token.command(
    "rotate",
    short_help="Give a token another secret.",
    examples=[
        ("confdctl token rotate 7f3a9c21 --overlap 1h > token", "the old secret works for another hour"),
        ("confdctl token rotate 7f3a9c21", "the old secret stops working at once"),
    ],
)
@click.argument("token_id", metavar="ID", shell_complete=complete_token)
@click.option("--overlap", metavar="TIME", help="How long the old secret stays valid: 30m, 1h.  [default: not at all]")
@common(namespace=False)
@pass_session
def rotate_token(session: Session, token_id: str, overlap: str | None) -> None:
    """Replace the secret of the token ID, and print the new secret. A token may rotate itself."""
    body: JsonObject = {} if overlap is None else {"overlap": parse_duration(overlap, "--overlap")}
    made: JsonObject = value_of(session.controller.call("POST", f"{_path(token_id)}/rotate", body))
    _show_secret(session, made, "has a new secret")


@token.command(
    "revoke", short_help="Revoke a token.", examples=[("confdctl token revoke 7f3a9c21 -y", "do not ask first")]
)
@click.argument("token_id", metavar="ID", shell_complete=complete_token)
@yes_option()
@common(namespace=False)
@pass_session
def revoke_token(session: Session, token_id: str, yes: bool) -> None:
    """Revoke the token ID for ever; its streams end at once."""
    found: JsonObject = session.controller.get(_path(token_id))
    named = f"{printable(found['name'])} ({found['id']}) of {printable(found['subject'])}"
    session.confirm(f"Revoke the token {named}? Callers that use it are refused at once.", yes)
    answer = value_of(session.controller.call("DELETE", _path(token_id)))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))


@click.command(
    "whoami",
    cls=Command,
    short_help="Show what you may do, and where.",
    examples=[("confdctl whoami", "show the permissions of your token or user")],
)
@common(namespace=False)
@pass_session
def whoami(session: Session) -> None:
    """Show the credentials that confdctl uses, and their permissions in each namespace."""
    found: JsonObject = session.controller.get("/api/v1/whoami")
    rows = [[pattern, ", ".join(permissions)] for pattern, permissions in found["permissions"].items()]
    until = f", until {format_time(found['expires_at'])}" if found["expires_at"] else ""
    how = "token" if found["kind"] == "token" else "password"
    said = f"{found['name']}, by {how}, for {found['subject']}, at {session.target.url}{until}"

    def draw() -> None:
        session.screen.line(printable(said))
        session.screen.table(["NAMESPACE", "PERMISSIONS"], rows)

    session.screen.show(found, draw)


def _grant(text: str) -> JsonObject:
    role, colon, namespaces = text.partition(":")
    if not (role and colon and namespaces):
        raise CommandError(
            Exit.USAGE, f"--grant: {printable(text)!r} is no grant; write ROLE:NAMESPACE, such as publisher:billing."
        )
    return {"role": role, "namespaces": namespaces.split(",")}


def _describe(grants: Sequence[JsonObject]) -> str:
    return " ".join(f"{each['role']}:{','.join(each['namespaces'])}" for each in grants)


def _last_use(found: JsonObject) -> str | None:
    if found["last_used_at"] is None:
        return None
    return f"{format_time(found['last_used_at'])} from {printable(found['last_used_from'] or 'unknown')}"


def _path(token_id: str) -> str:
    return f"{_PATH}/{quote(token_id, safe='')}"


def _show_secret(session: Session, made: JsonObject, what: str) -> None:
    """Print a secret alone on standard output, so that it can be redirected to a file."""

    def draw() -> None:
        session.screen.say(
            f"Token {printable(made['name'])} ({made['id']}) {what}. Keep the secret: it is not shown again."
        )
        session.screen.line(made["token"])

    session.screen.show(made, draw)
