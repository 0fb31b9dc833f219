#!/usr/bin/env bash
# Proves that a bundle needs nothing but Python and a torch wheel: packs one, unpacks it in a bare Debian 12 that has these two, and there
# plans, trains, stops, resumes, evaluates, generates, and asks for a GPU. Needs root and debootstrap.
#
#   scripts/try_bundle.sh [--keep]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
keep=no
case ${1:-} in
  --keep) keep=yes ;;
  ?*) echo "try_bundle.sh: unknown argument '$1' (known: --keep)" >&2; exit 2 ;;
esac
. "$root/scripts/fresh_root.sh"

make_root python3,python3-venv,ca-certificates
"$root/scripts/bundle.sh" "$fresh/root/isobath.tar.gz"
echo "installing the torch wheel ..."
in_root python3 -m venv /root/python
in_root /root/python/bin/pip install --quiet --no-deps torch==2.11.0 "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cupti==13.0.*"
cat >"$fresh/root/try.sh" <<'INSIDE'
set -euo pipefail
cd /root
tar xzf isobath.tar.gz
mv isobath somewhere-else  # checks that the bundle can be moved
cd somewhere-else
! command -v gcc cmake >/dev/null || { echo "this root has a compiler"; exit 1; }
expect() {  # CODE COMMAND...
  local wanted=$1 code=0
  shift
  echo "--- $*"
  "$@" || code=$?
  [[ $code == "$wanted" ]] || { echo "exit code $code, expected $wanted"; exit 1; }
}
expect 2 ./isobath --version
export ISOBATH_TORCH=$(echo /root/python/lib/python3*/site-packages/torch)
expect 0 ./isobath --version
unset ISOBATH_TORCH
export PATH=/root/python/bin:$PATH
expect 0 ./isobath plan configs/tiny.yaml
expect 143 timeout --preserve-status -s TERM 8 ./isobath train configs/tiny.yaml train.budget=2000000step
expect 0 ./isobath inspect runs/tiny
expect 0 ./isobath train configs/tiny.yaml train.budget=200step name=short
expect 0 ./isobath eval runs/short eval.final_tokens=4Ki
expect 0 ./isobath generate runs/short --prompt "namespace " -n 16
expect 2 ./isobath train configs/tiny.yaml device=cuda name=gpu
INSIDE
in_root bash /root/try.sh
echo "try_bundle.sh: everything as expected"
