"""How confd finds RELEASES: names only, so that looking for outputs imports none."""

from confd.agent.plugin import OutputMaker

releases = OutputMaker("RELEASES", "confd_releases.make")
