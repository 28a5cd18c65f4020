"""Print the rate of the applied configuration, and then each new rate."""

import sys
import threading

from confd.local import Local, LocalConfig

local = Local(sys.argv[1], keep="kept.json")
print("The rate is", local.get("/rate", 5), flush=True)


def show(config: LocalConfig) -> None:
    """Print the rate of an applied configuration."""
    print("The rate is now", config.document.get("rate", 5), flush=True)


if "--follow" in sys.argv:
    local.watch(show)
    threading.Event().wait()
