"""How confd and twistd find the strategy WEBSOCKET and its gateway: names only, so that listing imports neither."""

from twisted.application.service import ServiceMaker

from confd.agent.plugin import StrategyMaker

websocket = StrategyMaker("WEBSOCKET", "confd_websocket.make")
gateway = ServiceMaker(
    "confd-websocket-gateway",
    "confd_websocket_gateway",
    "Tell agents over WebSockets that a new version is there",
    "confd-websocket-gateway",
)
