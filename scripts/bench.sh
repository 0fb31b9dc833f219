#!/usr/bin/env bash
# The speed figures that README and docs quote, each measured interleaved in one run:
#   1. how much of the FLOPs that routing saves is saved in time, too (configs/bench.yaml)
#   2. a dense training step against the same step in eager PyTorch, widths 128 and 512 (needs a Python with torch: ISOBATH_PYTHON=...)
#   3. the ledger's linear FLOPs against PyTorch's counter
#   4. decoding with the key-value cache, dense against Mixture-of-Depths, by batch size and position in the text
#   5. the same dense model against Hugging Face transformers (needs a Python with torch and transformers)
# Run it on an otherwise idle machine. Arguments go to every `isobath bench`, e.g. --repeats 31
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(scripts/program.sh)
threads=$(nproc)

echo "=== 1. dense against Mixture-of-Depths: 8 layers, width 256, context 512, 8Ki tokens a step"
"$program" bench train configs/bench.yaml "$@"

echo "=== 4a. text from the cache: 8 layers, width 512, prompts of 256 tokens and 32 more; one text, 16, 64 at a time"
for batch in 1 16 64; do
  "$program" bench decode configs/bench-decode.yaml --batch "$batch" --prompt 256 --steps 32 "$@"
done
echo "=== 4b. what a token costs far into a text"
"$program" bench decode configs/bench-decode.yaml model.context=8224 train.batch_tokens=8224 --prompt 128,512,2048,8192 --steps 32 "$@"

if ! python=$(scripts/torch_python.sh); then
  echo "no Python with torch: set ISOBATH_PYTHON to one for the comparisons with PyTorch and transformers"
  exit 0
fi
shape() {  # layers width heads context batch
  "$program" bench train configs/bench.yaml "model.layers=$1" "model.width=$2" "model.heads=$3" "model.kv_heads=$3" "model.context=$4" \
    "train.batch_tokens=$(($4 * $5))" "train.threads=$threads" \
    --peer "eager=$python scripts/peers/train_step.py --layers $1 --width $2 --heads $3 --context $4 --batch $5 --vocab 512 --threads $threads" "${@:6}"
}
echo "=== 2a. against eager PyTorch: 4 layers, width 128, context 256, 4Ki tokens a step"
shape 4 128 4 256 16 "$@"
echo "=== 2b. against eager PyTorch: 4 layers, width 512, context 512, 4Ki tokens a step"
shape 4 512 8 512 8 "$@"

echo "=== 3. FLOPs of a forward pass by PyTorch's counter (aten.mm: the linear maps; aten.bmm: attention on the full square)"
"$python" scripts/peers/train_step.py --layers 8 --width 256 --heads 4 --context 512 --batch 16 --vocab 512 --flops

if ! "$python" -c 'import transformers' 2>/dev/null; then
  echo "no transformers beside that torch: nothing to compare decoding with"
  exit 0
fi
echo "=== 5. dense text from the cache against transformers' generate"
for batch in 1 16; do
  "$program" bench decode configs/bench-decode.yaml --batch "$batch" --prompt 256 --steps 32 \
    --peer "transformers=$python scripts/peers/decode.py --batch $batch --prompt 256 --threads $threads" "$@"
done
