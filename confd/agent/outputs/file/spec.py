"""What an operator says of one file: where it is, how it is made, and what makes a program use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from confd.interfaces import Action, HealthCheck

if TYPE_CHECKING:
    from confd.agent.outputs.file.templates import Template


@frozen
class FileSpec:
    """
    One file.

    @ivar name: of the output, unique in the set.
    @ivar path: absolute path of the file.
    @ivar format: a key of L{confd.agent.outputs.file.formats.WRITERS}; unused with a template.
    @ivar pointer: JSON pointer to the part of the document to write.
    @ivar mode: permission bits.
    @ivar owner: user id, C{None} for the agent's.
    @ivar group: group id, C{None} for the agent's.
    @ivar check: command on the staged file, with C{{path}} in an argument.
    @ivar test: command after the rename and before the reload.
    @ivar probe_within: seconds in which the probe must succeed.
    @ivar timeout: seconds that each command may take.
    @ivar in_place: whether to overwrite the file, which is not atomic, and not replace it.
    @ivar keep_refused: whether to keep a rejected file.
    @ivar report_words: whether reports carry what commands print.
    """

    name: str
    path: str
    format: str = "json"
    template: Template | None = field(default=None, eq=False)
    pointer: str = ""
    mode: int = 0o600
    owner: int | None = None
    group: int | None = None
    check: Action | None = None
    test: Action | None = None
    reload: Action | None = None
    probe: Action | None = None
    probe_within: float = 10.0
    timeout: float = 30.0
    health: HealthCheck | None = None
    in_place: bool = False
    keep_refused: bool = False
    report_words: bool = True
