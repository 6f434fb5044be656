#!/bin/sh
# Installs what the tests need and no Python registry has: Prometheus with
# promtool, Alertmanager, Chromium with its driver, and Chinese glyphs.
set -eu

missing=""
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v prometheus-alertmanager >/dev/null 2>&1 || missing="$missing prometheus-alertmanager"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v chromedriver >/dev/null 2>&1 || missing="$missing chromium-driver"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    if apt-get install -y -qq --no-install-recommends $missing fonts-noto-cjk >/tmp/kpi-monitor-apt.log 2>&1; then
        exit 0
    fi
    tail -n 20 /tmp/kpi-monitor-apt.log
fi
if [ "${CI:-}" = true ]; then
    echo "these packages are missing and could not be installed:$missing" >&2
    exit 1
fi
echo "without root these are not installed, and the tests that need them are skipped:$missing"
