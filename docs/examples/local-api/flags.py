"""Evaluate a feature flag: pip install openfeature-sdk openfeature-provider-ofrep."""

import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider

api.set_provider(OFREPProvider(sys.argv[1]))
print("new-basket:", api.get_client().get_boolean_value("new-basket", False))
