"""The tests of confd; they mirror its packages."""

from hypothesis import settings

# No database of examples in the tree, and no deadlines: a test that times things fails on a busy machine.
settings.register_profile("confd", database=None, deadline=None)
settings.load_profile("confd")
