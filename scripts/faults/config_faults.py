#!/usr/bin/env python3
"""Gives `isobath plan` every key of the schema at the borders of what is allowed, and far out.

    scripts/faults/config_faults.py PROGRAM

The exit code must be 0, or that of a configuration that makes no sense (2), of data or a model that is not there (3, 4) or of memory (6), within 20
seconds. What is refused by the configuration itself (misspelt keys, values that a key cannot take) is tested by tests/fast/config/test_config_faults.cpp.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ALLOWED = {0, 2, 3, 4, 6}


def values_of(rule):
    """Values of a key: JSON Schema's enumeration or range, as text for the command line."""
    if "anyOf" in rule:
        return [value for each in rule["anyOf"] for value in values_of(each)]
    if "enum" in rule:
        return [str(value).lower() if isinstance(value, bool) else str(value) for value in rule["enum"]]
    kind = rule.get("type")
    if kind == "array":
        return ["[%s]" % value for value in values_of(rule.get("items", {}))] + ["[]"]
    if kind in ("integer", "number"):
        numbers = [rule[key] for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if key in rule]
        return [format(number, ".17g") for number in numbers] + ["1", "9007199254740991", "1e300"]
    if kind == "boolean":
        return ["true", "false"]
    # Durations, percentages and counts are texts with a pattern.
    return ["1", "x", "0%", "100%", "1step", "9007199254740992step", "1tok", "9000000Ttok", "1e300flop", "1e-300flop", "1flop", "1e18epoch", "1e300s", "9000000T"]


def keys_of(schema, rule, prefix=""):
    for name, inner in rule.get("properties", {}).items():
        if "$ref" in inner:
            inner = schema["definitions"][inner["$ref"].rsplit("/", 1)[1]]
        if "properties" in inner:
            yield from keys_of(schema, inner, prefix + name + ".")
        else:
            yield prefix + name, inner


def main():
    program = sys.argv[1]
    schema = json.loads(subprocess.run([program, "config", "schema"], check=True, capture_output=True).stdout)
    runs = 0
    findings = 0

    def finding(text):
        nonlocal findings
        findings += 1
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="isobath-faults-") as folder:
        text = Path(folder, "text.txt")
        text.write_text("the cat sat on a mat while seven small birds sang of rain and old stone towers. " * 200)
        config = Path(folder, "tiny.yaml")
        config.write_text('run_dir: "%s/runs"\ndata: {sources: ["%s"], cache_dir: "%s/cache", split: tail, valid_fraction: 0.1}\ntokenizer: {kind: byte}\n'
                          "model: {layers: 4, width: 32, heads: 2, context: 64}\ndepth: {kind: mod, capacity: 0.25}\n"
                          "train: {budget: 60step, batch_tokens: 512}\n" % (folder, text, folder))
        for key, rule in keys_of(schema, schema):
            if key.startswith(("compare.arms", "compare.tune.keys")) or key == "include":
                continue
            for value in dict.fromkeys(values_of(rule)):
                runs += 1
                try:
                    done = subprocess.run([program, "plan", str(config), key + "=" + value], capture_output=True, text=True, timeout=20, cwd=folder)
                except subprocess.TimeoutExpired:
                    finding("%s=%s: no end within 20 s" % (key, value))
                    continue
                if done.returncode not in ALLOWED or (done.returncode == 2 and key.rsplit(".", 1)[-1] not in done.stderr):
                    finding("%s=%s: exit code %d: %s" % (key, value, done.returncode, done.stderr.strip()[-300:]))
    print("%d runs of plan, %d findings" % (runs, findings))
    return findings > 0


if __name__ == "__main__":
    sys.exit(main())
