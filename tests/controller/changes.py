"""Changes and contents to test listeners of the feed with."""

from __future__ import annotations

from confd.changes import REVISION, Change, Contents, IdentityRecord, Published
from confd.codec.signing import SigningKey
from confd.history import VersionSummary
from confd.model import Configuration, Revision

KEY = SigningKey.generate()


def revision_change(configuration: Configuration) -> Change:
    """Return the change that makes a configuration current."""
    version = VersionSummary.of(Revision(configuration, "admin"))
    return Change(1, REVISION, configuration.namespace, Published(version, configuration))


def contents_of(*configurations: Configuration) -> Contents:
    """Return contents with one version of each namespace."""
    revisions = [Revision(each, "admin") for each in configurations]
    versions = {each.configuration.namespace: [Published(VersionSummary.of(each))] for each in revisions}
    identity = IdentityRecord(configurations[0].cluster_id, configurations[0].epoch, (KEY,))
    return Contents(0, identity, revisions, versions, frozenset())
