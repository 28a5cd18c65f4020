"""The tests of confd; they mirror its packages."""

import os

from hypothesis import settings

# No database of examples in the tree, and no deadlines: a test that times things fails on a busy machine. CI looks at
# the same examples each time, so that it is red for what was changed and for nothing else; a developer's runs look
# further.
settings.register_profile("confd", database=None, deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("confd")
