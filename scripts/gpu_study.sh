#!/usr/bin/env bash
# The registered isoFLOP study on a GPU (docs/gpu.md): dense and Mixture-of-Depths models of four sizes at equal training FLOPs.
#
#   scripts/gpu_study.sh prepare [--data DIR] [--sources TEXT ...]               on any machine
#   scripts/gpu_study.sh run --minutes M [--jobs J] [--data DIR] [--output DIR]  on the GPU, as often as you like
#   scripts/gpu_study.sh show [--output DIR]
#
# In the repository it builds the program when it is missing; in an unpacked bundle it takes the bundle's. --help says more.
set -euo pipefail
exec "${ISOBATH_PYTHON:-python3}" "$(dirname "$0")/gpu/study.py" "$@"
