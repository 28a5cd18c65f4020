"""When the certificates in use expire: a gauge for each, and a warning before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.runtime.metrics import Metrics, Values
from confd.runtime.timing import Periodic

#: How long before the expiry of a certificate the log warns.
WARNING = timedelta(days=30)

#: Seconds between two warnings of the same certificate.
INTERVAL = 86400.0


@frozen
class InUse:
    """
    A file of certificates that is in use.

    @ivar setting: the one that names the file.
    @ivar path: the file.
    @ivar expiries: of its certificates, UTC; at least one.
    @ivar alternatives: whether any one of them is enough, as in a file of authorities.
    """

    setting: str
    path: str
    expiries: Sequence[datetime]
    alternatives: bool = False

    def expiry(self, now: datetime) -> datetime:
        """
        Return when the first certificate expires that matters.

        An expired authority beside a current one does no harm, and files of systems have such.
        """
        if self.alternatives:
            return min((each for each in self.expiries if each > now), default=max(self.expiries))
        return min(self.expiries)


class CertificateExpiry(Periodic):
    """Watches when certificates expire."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, now: Callable[[], datetime], sources: Sequence[Callable[[], Iterable[InUse]]]
    ) -> None:
        """
        @param clock: says when a day is over.
        @param now: the wall clock, UTC, by which certificates go.
        @param sources: tell the certificates that are in use now.
        """
        super().__init__(clock, self._warn, lambda: INTERVAL)
        self._now, self._sources = now, sources

    def expose(self, metrics: Metrics) -> None:
        """Show the figure."""
        metrics.gauge(
            "confd_certificate_expiry_seconds",
            "Seconds until a certificate expires, by the setting that names its file; below 0 once it has expired.",
            self._left,
            "certificate",
        )

    def _in_use(self) -> Iterable[InUse]:
        return (each for source in self._sources for each in source())

    def _left(self) -> Values:
        now = self._now()
        return {each.setting: (each.expiry(now) - now).total_seconds() for each in self._in_use()}

    def _warn(self) -> None:
        now = self._now()
        for each in self._in_use():
            expiry = each.expiry(now)
            if expiry - now <= WARNING:
                self.log.warn(
                    "{setting}: a certificate in {path} {verb} at {expiry}; renew it",
                    setting=each.setting,
                    path=each.path,
                    verb="expires" if expiry > now else "expired",
                    expiry=f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
                )
