"""Name the twistd commands of confd as strings, so that listing plug-ins imports none of them."""

from twisted.application.service import ServiceMaker

controller = ServiceMaker(
    "confd-controller",
    "confd.controller.tap",
    "Publish configurations to agents through a REST API",
    "confd-controller",
)
agent = ServiceMaker(
    "confd-agent",
    "confd.agent.tap",
    "Fetch configurations from the controller and deliver them to a worker",
    "confd-agent",
)
worker = ServiceMaker(
    "confd-worker", "confd.worker.tap", "Accept a configuration and fetch the URL that it names", "confd-worker"
)
dev = ServiceMaker(
    "confd-dev", "confd.dev", "Try confd: a controller, an agent and a worker in one process", "confd-dev"
)
