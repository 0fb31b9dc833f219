#!/usr/bin/env bash
# Holds the dependency direction of docs/architecture.md fast: core <- data, core <- nn <- model, {core, data, model} <- trainer <- cli.
set -u
cd "$(dirname "$0")/.."

failed=0
# forbid FOLDER PATTERN REASON [EXCEPT]: no file under FOLDER may include a header that matches PATTERN (an extended regular expression).
forbid() {
  local hits
  hits=$(grep -rEn --include='*.h' --include='*.cpp' "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1" 2>/dev/null | grep -Ev "${4:-^$}")
  if [[ -n $hits ]]; then
    printf '%s\n  ^ %s\n' "$hits" "$3"
    failed=1
  fi
}

torch='ATen/|torch/|c10/'
forbid src/core "data/|nn/|model/|trainer/|$torch" "core stands on nothing of ours and sees no LibTorch"
forbid data "nn/|model/|trainer/|$torch" "data sees core only, and no LibTorch"
forbid src/nn "data/|model/|trainer/" "nn sees core only"
forbid src/model "data/|trainer/" "model sees core and nn only"
forbid src/cuda "core/|data/|model/|trainer/" "the CUDA plug-in sees nn/backend.h only"
for folder in src/core src/model data trainer; do
  forbid "$folder" "cuda/" "what CUDA offers comes through nn/device.h and nn/backend.h"
done
forbid trainer "trainer/cli/" "nobody includes the command line" '^trainer/cli/'
forbid tests "trainer/cli/" "nobody includes the command line"
for folder in src data trainer; do
  forbid "$folder" 'torch/torch\.h|torch/all\.h|ATen/ATen\.h' "include the header of the operator instead: this one costs 15 to 30 s"
done
for file in src/model/plan src/model/match src/model/sampler; do
  forbid "$file.h" "$torch|nn/" "the ledger and the sampler see no LibTorch"
  forbid "$file.cpp" "$torch|nn/" "the ledger and the sampler see no LibTorch"
done
for part in experiment report statistics schedule prompts text_stream; do
  for file in trainer/"$part"*; do
    [[ -e $file ]] && forbid "$file" "$torch|nn/|model/language_model|model/weights|model/generate" "this part of the trainer sees no LibTorch"
  done
done
# Public headers: <ATen/core/Tensor.h> at most; module headers of nn and model also <torch/nn/module.h>.
forbid_in_headers() {
  local hits
  hits=$(grep -rEn --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*<(ATen|torch|c10)/' src data trainer |
    grep -Ev '<ATen/core/Tensor\.h>' | grep -Ev '^src/(nn|model)/[^:]*:[0-9]+:.*<torch/nn/module\.h>')
  if [[ -n $hits ]]; then
    printf '%s\n  ^ %s\n' "$hits" "headers include <ATen/core/Tensor.h> at most (module headers of nn and model also <torch/nn/module.h>)"
    failed=1
  fi
}
forbid_in_headers

[[ $failed == 0 ]] && echo "includes: fine"
exit $failed
