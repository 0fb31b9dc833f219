#!/usr/bin/env bash
# Proves the README's two commands in a bare Debian 12: debootstrap (minbase) into a temporary folder, a clean clone of this
# repository's HEAD, then scripts/quickstart.sh and scripts/test.sh inside. Needs root and debootstrap. Reports minutes and megabytes.
#
#   scripts/try_fresh.sh [--keep] [--only quickstart|test]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

keep=no
steps=(quickstart test)
while [[ $# -gt 0 ]]; do
  case $1 in
    --keep) keep=yes ;;
    --only) steps=("$2"); shift ;;
    *) echo "try_fresh.sh: unknown argument '$1' (known: --keep, --only quickstart|test)" >&2; exit 2 ;;
  esac
  shift
done
. "$root/scripts/fresh_root.sh"
make_root
git clone --quiet --no-local "$root" "$fresh/root/isobath"

megabytes() { du -sm --one-file-system "$fresh" | cut -f1; }
# Megabytes received by all interfaces of this machine but the loopback.
received() { tail -n +3 /proc/net/dev | tr ':' ' ' | awk '$1 != "lo" {sum += $2} END {print int(sum / 1e6)}'; }

summary=()
for step in "${steps[@]}"; do
  echo "=== scripts/$step.sh in a bare root"
  size=$(megabytes) traffic=$(received) start=$SECONDS status=0
  in_root "/root/isobath/scripts/$step.sh" || status=$?
  seconds=$((SECONDS - start))
  summary+=("$(printf 'scripts/%s.sh: exit %d, %d min %02d s, %d MB received, %d MB on disk' \
    "$step" "$status" $((seconds / 60)) $((seconds % 60)) $(($(received) - traffic)) $(($(megabytes) - size)))")
  [[ $status == 0 ]] || break
done
echo
printf '%s\n' "${summary[@]}"
exit "$status"
