#!/bin/sh
# Runs tests against the installed wheel: they run from a copy of tests/ and tools/,
# so that the checkout's packages that are in the wheel are not importable.
#
#   sh scripts/tests.sh 'not slow'    # what `make test` runs
#   sh scripts/tests.sh slow          # what `make test-slow` runs
set -eu

chosen="not full and ($1)"

root=$(pwd)
bin="$root/${VENV:-.venv}/bin"
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT

sh scripts/test-data.sh

cp -r tests tools pyproject.toml "$away/"
cd "$away"

# What computes goes two at a time; what waits for services, one after the other.
failed=0
pass() {
    # shellcheck disable=SC2086
    TESTED_REPOSITORY="$root" "$bin/python" -m pytest -m "$chosen" "$@" ${ARGS:-} && return
    code=$?
    # 5: ARGS select nothing of this part.
    [ "$code" = 5 ] && [ -n "${ARGS:-}" ] || failed=$code
}
pass -n 2 --maxschedchunk 1 tests/reconciliation tests/unit tests/fuzz
pass tests/integration tests/e2e
exit "$failed"
