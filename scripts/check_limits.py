#!/usr/bin/env python3
"""Limits of length: no file above 400 lines, no function above 60 (tables aside), no more than six parameters (kernels aside).
Exit code 1 and one line for each that is over."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 60, 6
# Functions that are one table: a row a line.
TABLES = re.compile(r"(_fields\(\)|make_ops\(|plan_table\(|html_results\()")
# Kernels and operators take a parameter a tensor.
KERNELS = ("src/nn/backend/", "src/nn/ops/", "src/nn/attention/attend.")
CONTROL = re.compile(r"\b(if|for|while|switch|catch|return|else|do|namespace|struct|class|enum|union|extern)\b")


def blanked(text):
    """The text with comments, strings and characters blanked out, so that braces and commas are the code's own."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
    text = pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    return re.sub(r"^[ \t]*#(?:[^\n\\]|\\\n|\\)*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.M)


def functions(text):
    """(line, lines, head) of every function with a body outside of other functions."""
    code = blanked(text)
    stack, statement = [], 0  # stack: (is a function, where its head begins, where its body begins)
    for i, c in enumerate(code):
        if c == "{":
            head = code[statement:i]
            inside = any(frame[0] for frame in stack)
            is_function = not inside and ")" in head and "=" not in head.split("(")[0].replace("operator=", "").replace("==", "") and not CONTROL.match(
                head.strip())
            stack.append((is_function, statement, i))
            statement = i + 1
        elif c == "}" and stack:
            is_function, begin, _ = stack.pop()
            if is_function:
                head = code[begin:]
                first = begin + len(head) - len(head.lstrip())
                yield code.count("\n", 0, first) + 1, code.count("\n", first, i) + 1, text[first:text.index("{", first)] if "{" in text[first:] else ""
            statement = i + 1
        elif c == ";" and not (stack and stack[-1][0]) and code[statement:i].count("(") <= code[statement:i].count(")"):
            statement = i + 1
    return


def parameters(head):
    """How many parameters a function's head has."""
    begin = head.find("(")
    if begin < 0:
        return 0
    depth = count = 0
    for c in head[begin:]:
        depth += c in "(<[{"
        depth -= c in ")>]}"
        count += c == "," and depth == 1
        if depth == 0:
            break
    return count + 1 if head[begin + 1:].strip(" \n")[:1] != ")" else 0


def problems(path):
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, {FILE_LINES} are allowed"
    if not path.endswith((".cpp", ".h", ".cu", ".cuh")) or path.startswith("tests/"):
        return
    for line, count, head in functions(text):
        name = " ".join(head.split())[:60]
        if count > FUNCTION_LINES and not TABLES.search(" ".join(head.split()).split(" ", 1)[-1]):
            yield f"{path}:{line}: {count} lines, {FUNCTION_LINES} are allowed for a function: {name}"
        if parameters(head) > PARAMETERS and not path.startswith(KERNELS):
            yield f"{path}:{line}: {parameters(head)} parameters, {PARAMETERS} are allowed: {name}"


def main():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    sources = [f for f in listed if f.endswith((".cpp", ".h", ".cu", ".cuh", ".py", ".sh", ".cmake")) and (ROOT / f).exists()]
    found = [problem for path in sources for problem in problems(path)]
    print("\n".join(found) if found else "limits: fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
