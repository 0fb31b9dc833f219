#!/usr/bin/env bash
# Twenty minutes on a GPU: is training there right, and how fast is it? One JSON file, and a table at the end (docs/gpu.md).
#
#   scripts/gpu_check.sh [--output FILE] [--minutes M] [--parts A,B,...] [--device cuda|cpu] [--tiny]
#
# In the repository it builds the program when it is missing; in an unpacked bundle it takes the bundle's. --help says more.
set -euo pipefail
exec "${ISOBATH_PYTHON:-python3}" "$(dirname "$0")/gpu/check.py" "$@"
