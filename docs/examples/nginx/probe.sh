#!/bin/sh
# Succeed if the nginx at the URL $1 serves the version that the agent wrote.
test "$(curl -sf --max-time 2 "$1")" = "$CONFD_TAG"
