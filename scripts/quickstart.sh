#!/usr/bin/env bash
# From a fresh machine to the first comparison: installs what is missing, builds, trains dense and Mixture-of-Depths models at equal
# training FLOPs, and writes a report.
#
#   scripts/quickstart.sh [--no-sudo] [key.path=value ...]       e.g. scripts/quickstart.sh 'data.sources=[~/my-text]'
#
# Everything but --no-sudo goes to `isobath compare configs/quickstart.yaml`.
set -euo pipefail

setup=()
if [[ ${1:-} == --no-sudo ]]; then
  setup=(--no-sudo)
  shift
fi
# Stays in the caller's folder, so that relative paths among the arguments keep their meaning.
root=$(cd "$(dirname "$0")/.." && pwd)

cat <<'TEXT'
Isobath quick start, three steps:
  1. install what is missing    (up to 700 MB to download on a bare machine; 2-3 minutes)
  2. build into build/          (1-4 minutes on two cores)
  3. train and compare          (1-5 minutes on two cores)
It can be interrupted and started again at any point.

TEXT
"$root/scripts/setup.sh" "${setup[@]}"
"$root/scripts/build.sh" isobath
exec "$root/build/isobath" compare "$root/configs/quickstart.yaml" "$@"
