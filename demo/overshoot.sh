#!/usr/bin/env bash
# Shows that a cap is never passed: 50 calls at once on a budget worth four of them. `--help` says the rest.
#
# It needs python3 (standard library only), and a built weir unless --url names another gateway.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
exec python3 "$here/overshoot.py" "$@"
