"""The interface of a part that can be unusable for a while."""

from __future__ import annotations

from zope.interface import Interface


class IHealth(Interface):
    """A part that can be unusable for a while."""

    def problem() -> str | None:
        """Return one sentence on why this part is unusable now, C{None} if it works; cheap, since /ready calls it."""
