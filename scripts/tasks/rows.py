"""Files of rows (JSON Lines, also compressed) and task files, as the scripts of this folder read and write them. Standard library only."""

import gzip
import json
import pathlib
import re
import subprocess

FORMS = ("", ".zst", ".gz")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "configs" / "tasks"


class Problem(Exception):
    """What a person can cause; the message says it all."""


def read_bytes(path):
    """The bytes of a file, decompressed by its name's end."""
    path = pathlib.Path(path)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        if path.suffix != ".zst":
            return path.read_bytes()
        with open(path, "rb"):
            pass  # a file that is not there is named here, not by zstd
        done = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=False)
    except FileNotFoundError as error:
        if error.filename == "zstd":
            raise Problem(f"{path}: the program zstd is needed to read it, and it is not installed") from None
        raise Problem(f"{path}: no such file") from None
    except (OSError, EOFError) as error:
        raise Problem(f"{path}: {error}") from None
    if done.returncode != 0:
        raise Problem(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def read_text(path):
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"{path}: not UTF-8 at byte {error.start}") from None


def read_rows(path):
    """The rows of a JSON Lines file. Not splitlines(): a text may hold a line separator of Unicode."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise Problem(f"{path}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise Problem(f"{path}:{number}: a row is an object such as {{\"question\": ...}}, this is {line[:40]}")
            rows.append(row)
    return rows


def write_rows(path, rows):
    """Written beside and renamed, so that a file is whole or not there."""
    path = pathlib.Path(path)
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    part.replace(path)


def find(folder, name):
    """The file of this name in the folder, as it is or compressed; None if there is none."""
    return next((folder / (name + form) for form in FORMS if (folder / (name + form)).is_file()), None)


def task_file(path):
    """The keys of a shipped task file that stand on one line, with those of the file it includes. Texts lose their quotes; no more of YAML
    is understood, and the shipped files use no more for the keys that are asked here."""
    keys = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([a-z_]+): +(.*?) *$", line)
        if match:
            value = match.group(2)
            keys[match.group(1)] = value[1:-1] if value.startswith('"') else value
    if "include" in keys:
        keys = {**task_file(path.parent / keys["include"]), **keys}
    return keys


def template_fields(template):
    """The fields of the rows that a template names."""
    found = re.findall(r"\{([^{}|]+)", template.replace("{{", "").replace("}}", ""))
    return [name for name in found if name != "choice"]
