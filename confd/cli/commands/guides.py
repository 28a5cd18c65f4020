"""The commands that help people along: C{explain}, C{open} and C{man}."""

from __future__ import annotations

from difflib import get_close_matches

import click

from confd.cli.command import Command
from confd.cli.errors import CommandError, Exit
from confd.cli.glossary import read_glossary
from confd.cli.session import Session, common, pass_session
from confd.codec.text import printable


def _complete_term(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [term for term in read_glossary() if term.startswith(incomplete)]


@click.command(
    "explain",
    cls=Command,
    short_help="Explain a term.",
    examples=[("confdctl explain quorum", "explain a term"), ("confdctl explain", "list all terms")],
)
@click.argument("words", metavar="[TERM]", nargs=-1, shell_complete=_complete_term)
@common(namespace=False)
@pass_session
def explain(session: Session, words: tuple[str, ...]) -> None:
    """Explain TERM as the glossary does. Without TERM, list all terms."""
    glossary = read_glossary()
    if not words:
        session.screen.show(dict(glossary), lambda: session.screen.line("\n".join(sorted(glossary, key=str.casefold))))
        return
    term = " ".join(words)
    names = {name.casefold(): name for name in glossary}
    name = names.get(term.casefold()) or names.get(term.casefold().removesuffix("s"))
    if name is None:
        near = get_close_matches(term.casefold(), names, 3)
        hint = (
            f"did you mean {' or '.join(names[each] for each in near)}?"
            if near
            else "confdctl explain lists all terms."
        )
        raise CommandError(Exit.NOT_FOUND, f"The glossary has no term {printable(term)}; {hint}")
    session.screen.show({"term": name, "explanation": glossary[name]}, lambda: session.screen.words(glossary[name]))


@click.command(
    "open",
    cls=Command,
    short_help="Open the dashboard in a browser.",
    examples=[("confdctl open", "open the dashboard of the namespace, and print its address")],
)
@common()
@pass_session
def open_(session: Session) -> None:
    """Open the dashboard at the namespace in the browser of this machine, and print its address."""
    url = f"{session.target.url}/#overview/{session.namespace}"
    session.screen.show({"url": url}, lambda: session.screen.line(url))
    if not session.browse(url):
        session.screen.say("No browser can be started here; copy the address.")


@click.command(
    "man",
    cls=Command,
    short_help="Print the manual page.",
    examples=[
        ("confdctl man | man -l -", "read it"),
        ("confdctl man > ~/.local/share/man/man1/confdctl.1", "install it"),
    ],
)
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page of confdctl in the format of man(1), from the same source as the help."""
    from confd.cli.manual import manual_page

    click.echo(manual_page(context.find_root()))
