#!/usr/bin/env bash
# Prints a Python that can import torch and safetensors: $ISOBATH_PYTHON, the arguments, the active python3, .venv. Exit 1: none.
here=$(cd "$(dirname "$0")" && pwd)
for python in "${ISOBATH_PYTHON:-}" "$@" python3 "$here/../.venv/bin/python"; do
  if [[ -n $python ]] && "$python" -c 'import torch, safetensors' 2>/dev/null; then
    echo "$python"
    exit 0
  fi
done
exit 1
