"""Name the outputs of confd as strings, so that only the selected outputs are imported."""

from confd.agent.plugin import OutputMaker

http = OutputMaker("HTTP", "confd.agent.outputs.http.make")
file = OutputMaker("FILE", "confd.agent.outputs.file.output.make")
