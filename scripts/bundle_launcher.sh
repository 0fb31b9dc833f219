#!/usr/bin/env bash
# Starts the bundle's program with the LibTorch of a torch wheel: $ISOBATH_TORCH (its torch/ folder), else the active Python's.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
wanted=2.11

torch=${ISOBATH_TORCH:-}
if [[ -z $torch ]]; then
  for python in "${ISOBATH_PYTHON:-}" python3 python; do
    [[ -n $python ]] && command -v "$python" >/dev/null || continue
    torch=$("$python" -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null) || true
    [[ -z $torch ]] || break
  done
fi
if [[ -z $torch ]]; then
  echo "isobath: no LibTorch found: install torch $wanted for the active python3, or set ISOBATH_TORCH to the torch/ folder of one" >&2
  exit 2
fi
if [[ ! -e $torch/lib/libtorch_cpu.so ]]; then
  echo "isobath: ISOBATH_TORCH=$torch holds no lib/libtorch_cpu.so; it must name the torch/ folder of a wheel or an unpacked LibTorch" >&2
  exit 2
fi
found=$(sed -n "s/^__version__ = ['\"]\([0-9.]*\).*/\1/p" "$torch/version.py" 2>/dev/null || cat "$torch/build-version" 2>/dev/null || true)
if [[ -n $found && $found != "$wanted".* ]]; then
  echo "isobath: $torch is version $found; this bundle was built for $wanted, whose binary interface others do not share" >&2
  exit 2
fi

export LD_LIBRARY_PATH="$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export ISOBATH_TORCH=$torch
export ISOBATH_TORCH_INCLUDE_DIR=${ISOBATH_TORCH_INCLUDE_DIR:-$torch/include}
exec "$here/bin/isobath" "$@"
