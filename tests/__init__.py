"""The tests of confd; they mirror its packages."""

import gc
import os
import signal

from hypothesis import HealthCheck, settings

from tests.budgets import budget

# No database of examples in the tree, and no deadlines: a test that times things fails on a busy machine. CI looks at
# the same examples each time, so that it is red for what was changed and for nothing else; a developer's runs look
# further. The health check is a deadline of 30 seconds for ten examples.
settings.register_profile(
    "confd",
    database=None,
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    max_examples=budget(50, 100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("confd")

# What a shell starts in the background ignores Ctrl-C, and so would whatever the tests start, and send that signal to.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: The thresholds of Python; see L{tests.integration.launcher}.
GC_THRESHOLDS = gc.get_threshold()

# The modules of the suite are many objects, so that full collections would take a sixth of its processor time.
gc.set_threshold(20_000, 10, 50)
