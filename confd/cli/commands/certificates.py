"""The commands on certificates: C{certificate} and C{verify}."""

from __future__ import annotations

import sys
from typing import IO

import click

from confd.cli.command import Command
from confd.cli.commands.completing import complete_file, complete_version
from confd.cli.commands.configs import VERSION
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.errors import Malformed


@click.command(
    "certificate",
    cls=Command,
    short_help="Print a signed certificate of the agents that applied a version.",
    examples=[
        ("confdctl certificate 18 --leaves > v18.json", "keep the proof that all agents applied version 18"),
        ("confdctl certificate 18 --quorum 95", "certify version 18 although some agents are missing"),
    ],
)
@click.argument("version", type=VERSION, shell_complete=complete_version)
@click.option(
    "--quorum",
    type=click.FloatRange(0, 100, min_open=True),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="Refuse unless so many of the agents applied the version.",
)
@click.option("--leaves", is_flag=True, help="Name each agent in the certificate.")
@common()
@pass_session
def certificate(session: Session, version: int, quorum: float, leaves: bool) -> None:
    """
    Print a certificate of VERSION: how many agents applied it, signed by the controller.

    The command prints JSON. With a public key of the controller, confdctl verify checks it offline.
    """
    query = {"namespace": session.namespace, "quorum": f"{quorum:g}", "leaves": leaves}
    answer = session.controller.call("GET", f"/api/v1/config/versions/{version}/certificate", query=query)
    session.screen.raw(answer.body.decode())


@click.command(
    "verify",
    cls=Command,
    short_help="Verify a certificate offline.",
    examples=[
        ("confdctl get --meta signing_keys.0 > confd.key", "keep the public key of the controller"),
        ('confdctl verify v18.json --key "$(cat confd.key)"', "verify a certificate; asks no controller"),
    ],
)
@click.argument("file", metavar="FILE|-", shell_complete=complete_file)
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY",
    help="Public key in base64, as in signing_keys; may be repeated.",
)
@common(namespace=False)
@pass_session
def verify(session: Session, file: str, keys: tuple[str, ...]) -> None:
    """
    Verify the signature of the certificate in FILE (- reads standard input), and the agents that it names.

    A valid certificate proves what the controller recorded, no more.
    """
    # Only this command needs cryptography, whose import takes long.
    from confd.codec.certificate import read_certificate, verify_certificate
    from confd.codec.signing import KeyRing, key_id_of, parse_public

    try:
        given = {key_id_of(parse_public(each)): each for each in keys}
    except ValueError:
        raise CommandError(
            Exit.USAGE,
            "--key: write a public key of the controller in base64; confdctl get --meta signing_keys shows them.",
        ) from None
    ring = KeyRing()
    try:
        found = read_certificate(_read(file, sys.stdin.buffer))
        # A ring holds few keys, and people may name more.
        ring.trust([given[found.key_id]] if found.key_id in given else given.values())
        verify_certificate(found, ring)
    except Malformed as error:
        raise CommandError(Exit.NOT_GENUINE, f"{_name(file)}: {error.message}") from None
    names = ("tag", "namespace", "targeted", "applied", "at", "author", "rollout", "cluster_id", "checksum", "key_id")
    value = {"genuine": True} | {name: getattr(found, name) for name in names}

    def draw() -> None:
        session.screen.line(
            f"The certificate is genuine: {found.applied} of {plural(found.targeted, 'agent')} applied it."
        )
        session.screen.facts([(name.replace("_", " ").capitalize(), value[name]) for name in names])

    session.screen.show(value, draw)


def _name(path: str) -> str:
    return "Standard input" if path == "-" else path


def _read(path: str, stdin: IO[bytes]) -> bytes:
    """Return the bytes of a file, or of standard input, and at most one more than a certificate may have."""
    from confd.codec.certificate import MAX_CERTIFICATE_BYTES

    try:
        if path == "-":
            return stdin.read(MAX_CERTIFICATE_BYTES + 1)
        with open(path, "rb") as file:
            return file.read(MAX_CERTIFICATE_BYTES + 1)
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{path} cannot be read: {error.strerror}.") from None
