#!/usr/bin/env python3
"""Checks in every #include which folder may see which (docs/architecture.md). Prints violations; exit code 1 when there are any."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAN = ["model/ledger", "model/sampling", "model/depth/plan.h", *(f"model/depth/{kind}/plan.h" for kind in ("dense", "mod", "nested", "scaled"))]
PLANNING = ["core", "config", "format", "data", *PLAN, "trainer/launch", "trainer/schedule", "trainer/metrics", "trainer/compare", "trainer/report", "trainer/generate", "trainer/export", "trainer/tasks"]
TRAINER = ["core", "config", "format", "data", "nn", "model", "trainer", "torch"]

# Folder or file -> what it may include; `torch` stands for LibTorch. The longest matching name counts.
MAY_SEE = {
    "src/core": ["core"],
    "src/config": ["core", "config"],
    "src/format": ["core", "format"],
    "data": ["core", "config", "format/gguf.h", "data"],  # a GGUF file holds its model's tokenizer
    "src/nn": ["core", "config", "nn", "torch"],
    "src/nn/backend/cuda": ["nn/backend/backend.h", "nn/backend/plugin.h", "nn/backend/cuda", "torch"],
    "src/model": ["core", "config", "format", "nn", "model", "torch"],
    **{f"src/{name.removesuffix('.h')}": ["core", "config", *PLAN] for name in PLAN},
    "trainer": TRAINER,
    **{f"trainer/{name}": PLANNING for name in ("launch", "schedule", "metrics", "compare", "report", "generate", "export", "tasks")},
    "trainer/cli": [*TRAINER, "trainer/cli"],
    "tests/fast": [*PLANNING, "tests/fast"],
    "tests/fuzz": [*PLANNING, "trainer/run/checkpoint.h", "trainer/run/state.h", "tests/fuzz", "tests/fast/data/tokenizer/imported_json.h"],
    "tests/torch": [*TRAINER, "nn/backend/cuda", "tests"],
}
# May be included only by folders whose list names them in full.
HIDDEN = ["trainer/cli", "nn/backend/cuda"]
OURS = re.compile(r"(core|config|format|data|nn|model|trainer|tests)/")
TORCH = re.compile(r"(ATen|torch|c10)/")


def below(name, folder):
    return name == folder or name.startswith(folder + "/") or name.startswith(folder + ".")


def problem(path, included, quoted):
    rule = max((folder for folder in MAY_SEE if below(path, folder)), key=len, default=None)
    seen = MAY_SEE[rule]
    if TORCH.match(included):
        if "torch" not in seen:
            return f"{rule} sees no LibTorch"
        if re.match(r"torch/torch\.h|torch/all\.h|ATen/ATen\.h", included) and not path.startswith("tests/"):
            return "include the header of the operator instead: this one costs 15 to 30 s"
        # Headers must stay cheap to include.
        module_header = path.startswith(("src/nn/", "src/model/")) and included == "torch/nn/module.h"
        if path.endswith(".h") and not path.startswith(("tests/", "src/nn/backend/cuda/")) and included != "ATen/core/Tensor.h" and not module_header:
            return "headers include <ATen/core/Tensor.h> at most (module headers of nn and model also <torch/nn/module.h>)"
        return None
    if not quoted or not OURS.match(included):
        return None
    if any(below(included, hidden) and hidden not in seen for hidden in HIDDEN):
        return f"{rule} may not see {included}"
    return None if any(below(included, folder) for folder in seen) else f"{rule} sees {', '.join(seen)} alone"


def main():
    problems = []
    for folder in ("src", "data", "trainer", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".cu", ".cuh"):
                continue
            name = path.relative_to(ROOT).as_posix()
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if found := re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line):
                    if reason := problem(name, found[2], found[1] == '"'):
                        problems.append(f"{name}:{number}: {found[2]}: {reason}")
    print("\n".join(problems) or "includes: fine")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
