#!/usr/bin/env python3
"""Text for configs/depth-mixture.yaml: easy documents and hard ones, as many bytes of either.

    scripts/easy_and_hard.py OUT --easy stories.jsonl:story --hard articles.jsonl:passage

takes the distinct values of a key from JSON Lines, sets one in eight aside for validation, joins the others into documents of about
20 kB, so that few windows see two of them, and writes OUT/train.jsonl and OUT/valid.jsonl.
"""

import argparse
import json
import pathlib

VALIDATION = 8
DOCUMENT_BYTES = 20_000


def distinct(sources):
    texts = {}
    for source in sources:
        path, _, key = source.rpartition(":")
        for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
            texts[json.loads(line)[key].strip()] = None
    return list(texts)


def documents(texts, limit):
    total, document = 0, ""
    for text in texts:
        if total >= limit:
            break
        document += text + "\n"
        total += len(text.encode()) + 1
        if len(document.encode()) >= DOCUMENT_BYTES:
            yield document
            document = ""
    if document:
        yield document


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--easy", action="append", required=True, metavar="FILE:KEY")
    parser.add_argument("--hard", action="append", required=True, metavar="FILE:KEY")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kinds = {"easy": distinct(arguments.easy), "hard": distinct(arguments.hard)}
    parts = {
        "train": {kind: [text for i, text in enumerate(texts) if i % VALIDATION != 0] for kind, texts in kinds.items()},
        "valid": {kind: texts[::VALIDATION] for kind, texts in kinds.items()},
    }
    for part, of_kind in parts.items():
        limit = min(sum(len(text.encode()) + 1 for text in texts) for texts in of_kind.values())
        with open(arguments.out / f"{part}.jsonl", "w", encoding="utf-8") as file:
            for kind, texts in of_kind.items():
                for number, document in enumerate(documents(texts, limit)):
                    file.write(json.dumps({"title": f"{kind} {number}", "text": document}, ensure_ascii=False) + "\n")
        print(f"{part}: {limit} bytes of either kind")


if __name__ == "__main__":
    main()
