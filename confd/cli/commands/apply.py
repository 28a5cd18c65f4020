"""The command C{apply}: make the documents of a controller equal to those of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from confd.cli.command import Command
from confd.cli.commands.convergence import in_words
from confd.cli.commands.documents import print_warnings
from confd.cli.commands.folder_changes import FolderChanges, NamespaceChange
from confd.cli.commands.publish import PublishOptions, publishing_options
from confd.cli.document_files import DocumentFolder, load_file, load_folder, namespace_of
from confd.cli.errors import CommandError, Exit
from confd.cli.git import commit_of
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.text import printable


@click.command(
    "apply",
    cls=Command,
    short_help="Publish a folder with one document for each namespace.",
    examples=[
        ("confdctl apply -f config", "publish each file that differs; shows the diffs and asks first"),
        ("confdctl apply -f config --dry-run", "show the diffs, for a pull request"),
        ("confdctl apply -f config --create --yes --wait applied --timeout 300", "publish from CI, with proof"),
        ("confdctl apply -f config --check", "end with status 11 if the controller differs, for an hourly job"),
    ],
)
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder.")
@click.option("--check", is_flag=True, help="Publish nothing; end with status 11 if anything differs.")
@click.option("--create", is_flag=True, help="Create the namespaces that have a file and do not exist.")
@click.option("--prune", is_flag=True, help="Retire the namespaces that have no file; never the namespace default.")
@click.option("-v", "--verbose", is_flag=True, help="Name the files that are ignored.")
@partial(publishing_options, without=frozenset({"if_match", "force", "propose"}))
@common(namespace=False)
@pass_session
def apply(
    session: Session,
    /,
    path: Path,
    check: bool,
    create: bool,
    prune: bool,
    verbose: bool,
    options: PublishOptions,
) -> None:
    """
    Make the documents of the controller equal to the files in DIR, and publish only the documents that differ.

    DIR has one file for each namespace: edge.json, edge.yaml, edge.yml or edge.toml is the document of the namespace
    edge. Hidden files, other suffixes and subfolders are ignored. The poll interval of a namespace stays unchanged.

    The command validates all documents and shows all diffs before it publishes the first one. If someone else publishes
    in the meantime, it stops, and names what it published. Running it again is safe.

    Without -m, the comment of each version names the git commit of DIR.
    """
    looking = check or options.dry_run
    folder = _load(path, prune)
    _warn(session, folder, verbose)
    session.require_consent(options.yes or looking)
    comment = _commit(session, path) if options.comment is None else options.comment
    changes = FolderChanges(session, folder.documents, options, comment)
    found = changes.compare(create or check, prune)
    differences = [each for each in found if each.action != "unchanged"]
    if looking:
        _show(session, found, aside=False)
        session.screen.show([each.described() for each in found], lambda: _draw(session, found))
        if check and differences:
            raise CommandError(
                Exit.DIFFERENT, f"{path} differs in {plural(len(differences), 'namespace')}. Nothing was changed."
            )
        return
    if differences:
        _show(session, differences, aside=True)
        session.confirm(f"{_question(differences)}?", options.yes)
        changes.publish(differences)
    session.screen.show([each.described() for each in found], lambda: _draw(session, found))
    changes.raise_failure()


def _load(path: Path, prune: bool) -> DocumentFolder:
    if path.is_dir():
        folder = load_folder(path)
        if prune and not folder.documents:
            raise CommandError(
                Exit.USAGE, f"{path} has no document, so --prune would retire everything; check the path."
            )
        return folder
    if prune:
        raise CommandError(Exit.USAGE, f"{path} is a file, and --prune compares a folder; name the folder.")
    return DocumentFolder({namespace_of(path): load_file(str(path))}, ())


def _warn(session: Session, folder: DocumentFolder, verbose: bool) -> None:
    if verbose and folder.ignored:
        session.screen.say(f"Ignored: {', '.join(map(printable, folder.ignored))}.")
    for document in folder.documents.values():
        print_warnings(session, document)


def _commit(session: Session, path: Path) -> str:
    """Return the comment that names the commit; empty without one."""
    commit = commit_of(path if path.is_dir() else path.parent, session.environ)
    return commit and f"git {commit}"


def _show(session: Session, changes: Sequence[NamespaceChange], aside: bool) -> None:
    """Print the differences; before a question, to standard error."""
    if not session.screen.form.for_people and not aside:
        return
    for change in changes:
        if change.text:
            session.screen.say(f"{change.namespace}:") if aside else session.screen.line(f"{change.namespace}:")
            session.screen.diff(change.text, aside=aside)


def _draw(session: Session, changes: Sequence[NamespaceChange]) -> None:
    for change in changes:
        known = "" if change.tag is None else f" {printable(change.tag)}"
        if change.done or change.action == "unchanged":
            session.screen.line(f"{change.namespace}: {change.action}{known}")
        else:
            session.screen.line(f"{change.namespace}: would be {change.action}{known}")
        if change.convergence is not None:
            session.screen.line(f"  {in_words(change.convergence)}")


def _question(changes: Sequence[NamespaceChange]) -> str:
    """Return the question without its mark, as in C{Publish 2 and retire 1 namespaces, for 12 agents (10 live)}."""
    counts = [
        f"{verb} {len(found)}"
        for verb, action in (("publish", "published"), ("create", "created"), ("retire", "retired"))
        if (found := [each for each in changes if each.action == action])
    ]
    what = f"{', '.join(counts[:-1])} and {counts[-1]}" if len(counts) > 1 else counts[0]
    agents, live = sum(each.agents for each in changes), sum(each.live for each in changes)
    noun = "namespace" if len(changes) == 1 else "namespaces"
    return f"{what[:1].upper()}{what[1:]} {noun}, for {plural(agents, 'agent')} ({live} of them live)"
