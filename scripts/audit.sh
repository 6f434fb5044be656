#!/bin/sh
# Asks for known vulnerabilities of everything that is pinned. One that is found
# fails; where no vulnerability service answers, nothing is audited, and it says so.
set -eu

home=build/audit
if [ ! -f "$home/.installed" ]; then
    "${PYTHON:-python3}" -m venv "$home"
    "$home/bin/pip" --disable-pip-version-check --quiet install --require-hashes -r requirements/audit.lock
    touch "$home/.installed"
fi

failed=0
for lock in run dev; do
    found="$home/$lock.json"
    rm -f "$found"
    code=0
    timeout 180 "$home/bin/pip-audit" --strict --disable-pip --require-hashes --timeout 10 \
        --progress-spinner off --format json --output "$found" \
        --requirement "requirements/$lock.lock" 2>"$home/$lock.log" || code=$?
    if [ ! -s "$found" ]; then
        echo "requirements/$lock.lock: NOT AUDITED, no vulnerability service answers here"
    elif [ "$code" = 0 ]; then
        echo "requirements/$lock.lock: no known vulnerabilities"
    else
        echo "requirements/$lock.lock: known vulnerabilities:"
        "$home/bin/python" -c '
import json, sys
for one in json.load(open(sys.argv[1]))["dependencies"]:
    for known in one.get("vulns", []):
        fixed = ", ".join(known["fix_versions"]) or "nothing yet"
        name, version = one["name"], one["version"]
        print("  %s %s: %s, mended in %s" % (name, version, known["id"], fixed))
' "$found"
        failed=1
    fi
done
exit $failed
