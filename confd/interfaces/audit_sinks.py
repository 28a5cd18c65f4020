"""The interface of a place outside the controller that keeps a copy of the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import Attribute

from confd.interfaces.health import IHealth

if TYPE_CHECKING:
    from confd.audit import AuditEntry


class IAuditSink(IService, IHealth):
    """A place that keeps audit entries, as a service that connects in the background and never gives up."""

    name = Attribute("L{str}: the setting that names the place.")

    def newest() -> Deferred[AuditEntry | None]:
        """
        Fire with the newest entry that the place has, C{None} without one.

        @raise Unavailable: the place cannot be read now.
        """

    def write(entries: Sequence[AuditEntry]) -> Deferred[None]:
        """
        Make these entries durable, in order.

        @raise Unavailable: the place may have none of them or all of them.
        """
