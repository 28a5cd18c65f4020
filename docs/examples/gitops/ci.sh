#!/bin/sh
# Keep a controller equal to the folder config of a git repository. Run from CI, with CONFD_URL and ADMIN_PASSWORD_FILE.
#
#   ci.sh preview   on a pull request: print the diff; fail if the controller would refuse a document
#   ci.sh publish   on a merge: publish; fail if fewer than 95 % of the agents apply it within five minutes
#   ci.sh check     every hour: fail if the controller differs, since a person published by hand
set -eu
cd "$(git rev-parse --show-toplevel)"
case "${1:-}" in
preview) exec confdctl apply -f config --dry-run --create ;;
publish) exec confdctl apply -f config --create --yes --wait applied --quorum 95 --timeout 300 ;;
check) exec confdctl apply -f config --check ;;
*)
    echo "usage: ci.sh preview|publish|check" >&2
    exit 2
    ;;
esac
