"""The commands that twistd finds: names only, so that looking for plug-ins imports none of them."""

from twisted.application.service import ServiceMaker

controller = ServiceMaker(
    "confd-controller", "confd.controller.tap", "The configurations and their REST API", "confd-controller"
)
agent = ServiceMaker("confd-agent", "confd.agent.tap", "Keeps one worker configured", "confd-agent")
worker = ServiceMaker(
    "confd-worker", "confd.worker.tap", "Does the work that the configuration describes", "confd-worker"
)
dev = ServiceMaker("confd-dev", "confd.dev", "Controller, agent and worker in one process", "confd-dev")
