#!/usr/bin/env bash
# Installs what is missing, builds everything, and runs every test. Arguments go to ctest, e.g. scripts/test.sh -L fast
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

setup=()
if [[ ${1:-} == --no-sudo ]]; then
  setup=(--no-sudo)
  shift
fi
"$root/scripts/setup.sh" "${setup[@]}"
"$root/scripts/build.sh"
cd "$root/build"
exec ctest --output-on-failure -j "$(nproc)" "$@"
