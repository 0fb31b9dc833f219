#!/usr/bin/env bash
# Configures and builds the release preset into build/; arguments are targets (default: all).
set -euo pipefail
cd "$(dirname "$0")/.."

# One compiler process that reads LibTorch's headers takes up to 1.5 GB of memory.
cores=$(nproc)
memory_jobs=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
jobs=$((memory_jobs < cores ? memory_jobs : cores))
jobs=$((jobs < 1 ? 1 : jobs))

cmake --preset release | sed -n '/LibTorch/p'
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build build -j "$jobs" "${targets[@]}"
