"""Watch the expiry of the certificates in use: a gauge for each, and a warning in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.runtime.timing import Periodic

if TYPE_CHECKING:
    from confd.runtime.metrics import Metrics, Values


#: Time before the expiry of a certificate from which the log warns.
WARNING_PERIOD = timedelta(days=30)

#: Seconds between two warnings about the same certificate.
REMINDER_SECONDS = 86400.0


@frozen
class InUse:
    """
    A certificate file in use.

    @ivar setting: name of the setting that names the file.
    @ivar expiries: UTC expiry times of the certificates in the file; at least one.
    @ivar alternatives: whether one valid certificate is enough, as in a file of authorities.
    """

    setting: str
    path: str
    expiries: Sequence[datetime]
    alternatives: bool = False

    def expiry(self, now: datetime) -> datetime:
        """
        Return the earliest expiry that matters.

        An expired authority beside a valid one does no harm; system bundles contain some.
        """
        if self.alternatives:
            return min((each for each in self.expiries if each > now), default=max(self.expiries))
        return min(self.expiries)


class CertificateExpiry(Periodic):
    """Expose and log the expiry of certificates."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, now: Callable[[], datetime], sources: Sequence[Callable[[], Iterable[InUse]]]
    ) -> None:
        """
        @param clock: times the warnings.
        @param now: returns the wall-clock time in UTC.
        @param sources: functions that return the certificate files in use.
        """
        super().__init__(clock, self._warn, lambda: REMINDER_SECONDS)
        self._now, self._sources = now, sources

    def expose(self, metrics: Metrics) -> None:
        """Add the metric."""
        metrics.gauge(
            "confd_certificate_expiry_seconds",
            "Seconds until a certificate expires, by the setting that names its file; below 0 once it has expired.",
            self._remaining,
            "certificate",
        )

    def _in_use(self) -> Iterable[InUse]:
        return (each for source in self._sources for each in source())

    def _remaining(self) -> Values:
        now = self._now()
        return {each.setting: (each.expiry(now) - now).total_seconds() for each in self._in_use()}

    def _warn(self) -> None:
        now = self._now()
        for each in self._in_use():
            expiry = each.expiry(now)
            if expiry - now <= WARNING_PERIOD:
                self.log.warn(
                    "{setting}: a certificate in {path} {verb} at {expiry}; renew it",
                    setting=each.setting,
                    path=each.path,
                    verb="expires" if expiry > now else "expired",
                    expiry=f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
                )
