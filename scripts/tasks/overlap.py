#!/usr/bin/env python3
"""How much of the tasks a training text contains, word for word.

    scripts/tasks/overlap.py TASKS_FOLDER TEXT... [--words 13]

For every shipped task whose rows are in TASKS_FOLDER: the share of its rows of which so many words in a row also stand in the text (files, plain or
JSON Lines with a key `text`, also compressed). Case and punctuation do not count. Rows with fewer words are counted apart: they cannot be judged.
"""

import argparse
import pathlib
import re

from rows import SHIPPED, find, read_rows, read_text, task_file  # beside this file

WORD = re.compile(r"[a-z0-9']+")


def words_of(row):
    """The words of all texts of a row, one list a text."""
    texts = []
    for value in row.values():
        texts += [value] if isinstance(value, str) else [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    return [WORD.findall(text.lower()) for text in texts]


def grams(words, n):
    return (tuple(words[i:i + n]) for i in range(len(words) - n + 1))


def documents(path):
    if path.name.split(".")[1:2] == ["jsonl"]:
        for row in read_rows(path):
            yield row["text"]
    else:
        yield read_text(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", type=pathlib.Path)
    parser.add_argument("texts", nargs="+", type=pathlib.Path)
    parser.add_argument("--words", type=int, default=13)
    options = parser.parse_args()

    tasks, wanted = {}, {}
    for path in sorted(SHIPPED.glob("*.yaml")):
        source = find(options.tasks, task_file(path)["source"])
        if source is None or source in tasks:
            continue
        rows = [words_of(row) for row in read_rows(source)]
        tasks[source] = (len(rows), sum(all(len(words) < options.words for words in row) for row in rows))
        for number, row in enumerate(rows):
            for words in row:
                for gram in grams(words, options.words):
                    wanted.setdefault(gram, set()).add((source, number))
    found = {source: set() for source in tasks}
    for path in options.texts:
        for text in documents(path):
            for gram in grams(WORD.findall(text.lower()), options.words):
                for source, number in wanted.get(gram, ()):
                    found[source].add(number)
    print(f"| rows | items | with {options.words} words in a row of the text | too short to judge |\n|---|---|---|---|")
    for source, (items, short) in tasks.items():
        print(f"| `{source.name.split('.')[0]}` | {items} | {len(found[source])} ({100 * len(found[source]) / items:.2f} %) | {short} |")


if __name__ == "__main__":
    main()
