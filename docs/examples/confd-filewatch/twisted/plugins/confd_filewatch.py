"""How confd finds FILEWATCH: names only, so that looking for strategies imports none."""

from confd.agent.plugin import StrategyMaker

filewatch = StrategyMaker("FILEWATCH", "confd_filewatch.make")
