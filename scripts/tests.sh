#!/bin/sh
# Runs all tests against the installed wheel: they run from a copy of tests/, so
# that the checkout's packages are not importable.
set -eu

root=$(pwd)
bin="$root/${VENV:-.venv}/bin"
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
cp -r tests pyproject.toml config docs dashboards/prometheus "$away/" 2>/dev/null || cp -r tests pyproject.toml config "$away/"
cd "$away"
KPI_REPOSITORY="$root" "$bin/python" -m pytest ${ARGS:-}
