#!/usr/bin/env bash
# Prints the path of the program: $ISOBATH, or `isobath` of an unpacked bundle, or build/isobath, which is built when it is missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

if [[ -n ${ISOBATH:-} ]]; then
  [[ -x $ISOBATH && -f $ISOBATH ]] || { echo "program.sh: ISOBATH=$ISOBATH is no program; unset it or name one" >&2; exit 1; }
  realpath "$ISOBATH"
elif [[ -f $root/isobath ]]; then  # a bundle
  echo "$root/isobath"
elif [[ -x $root/scripts/build.sh ]]; then
  [[ -x $root/build/isobath ]] || "$root/scripts/build.sh" isobath >&2
  echo "$root/build/isobath"
else
  echo "program.sh: neither $root/isobath (a bundle) nor $root/scripts/build.sh (the repository) is there; unpack the bundle again" >&2
  exit 1
fi
