#!/usr/bin/env python3
"""Passages whose last word is asked, made from any books in the manner of LAMBADA, for configs/tasks/last-word.yaml.

    scripts/tasks/make_cloze.py BOOKS... --out last-word.jsonl [--items 500] [--seed 1]

BOOKS are texts, or JSON Lines with a key `text` (and `title`), each possibly compressed (.zst, .gz). A passage is 50 to 120 words of whole
sentences. Its last word, of at least four small letters, stands earlier in the passage, too, but not in the last sentence: one who has
only that sentence must guess. Words such as "them" or "there" are not asked. Which passages are taken depends on the seed and the books,
not on the order of the files. A row has the fields context (all before the word), sentence (of the context, what belongs to the last
sentence), word, words (of the whole passage), distance (words between the one that stands earlier and the last) and title.
"""

import argparse
import hashlib
import pathlib
import re
import statistics
import sys

from rows import Problem, read_rows, read_text, write_rows

LEAST_WORDS, MOST_WORDS = 50, 120
LEAST_SENTENCES = 3
LEAST_BEFORE = 5  # words of the last sentence before the one that is asked
LEAST_LETTERS = 4

# What could be guessed from grammar alone, and what stands in every passage.
FUNCTION_WORDS = frozenset("""
    about above after again against ahead almost alone along already also although always among another anyone anything around aside away
    back because been before behind being below beneath beside besides between beyond both cannot could does doing done down during each
    either else enough even ever every everyone everything except first forth from further gone half have having here herself
    himself however indeed instead into itself just last least less like made many might mine more most much must myself near neither never
    none nothing often once only other others ought ours ourselves over perhaps quite rather said same shall should since some someone something
    soon still such than that their theirs them themselves then there therefore these they this those though through thus together
    toward towards twice under until upon very well were what when where whether which while whom whose will with within without would yours
    yourself yourselves your
""".split())

# A full stop behind these ends no sentence.
SHORT_FORMS = frozenset("Mr Mrs Ms Dr St Prof Capt Col Gen Lieut Lt Sergt Rev Hon Sr Jr Messrs Mme Mlle vs etc viz No Vol Fig pp".split())

SENTENCE_END = re.compile(r"""(?:[.!?]+|[.!?]*…)["'”’)]*(?=\s+["'“‘(]*[A-Z])""")
PROSE_END = re.compile(r"""[.!?:;,—-]["'”’)]*$""")
NO_PROSE = re.compile(r"[*_#|\[\]<>{}\\=~^]|\bhttp")
LAST_WORD = re.compile(r"(\S+) ([a-z]{%d,})[.!?]$" % LEAST_LETTERS)


def letters(word):
    """A word as it is compared: small, without what stands around it."""
    return re.sub(r"^\W+|\W+$", "", word).casefold()


def sentences(paragraph):
    """The sentences of a paragraph of prose; none of anything else (headings, tables, lists, marked-up text)."""
    if not PROSE_END.search(paragraph) or NO_PROSE.search(paragraph) or paragraph == paragraph.upper():
        return []
    found, begin = [], 0
    for match in SENTENCE_END.finditer(paragraph):
        before = paragraph[begin:match.start()].split(" ")[-1].lstrip("\"'“‘(")
        if match.group()[0] == "." and (before in SHORT_FORMS or re.fullmatch(r"[A-Z]", before)):
            continue
        found.append(paragraph[begin:match.end()])
        begin = match.end() + 1
    return [*found, paragraph[begin:]]


def runs(text):
    """Lists of (sentence, whether it begins a paragraph) from paragraphs that follow each other without anything but prose between."""
    run = []
    for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        paragraph = " ".join(paragraph.split())
        found = sentences(paragraph) if paragraph else None
        if found:
            run += [(sentence, i == 0) for i, sentence in enumerate(found)]
        elif found is not None:
            yield run
            run = []
    yield run


def order(seed, *parts):
    """A number that is different for each seed, and as if drawn."""
    return int.from_bytes(hashlib.sha256("\0".join((str(seed), *parts)).encode()).digest()[:8], "big")


def passage(run, end, seed):
    """The row whose last sentence is number `end` of the run, and the number of its first sentence; None if there is none."""
    sentence = run[end][0]
    match = LAST_WORD.search(sentence)
    if not match or match.group(2) in FUNCTION_WORDS:
        return None
    word, alone = match.group(2), sentence[:match.start(2)].rstrip(" ")
    if len(alone.split()) < LEAST_BEFORE or word in map(letters, re.split(r"[\s—-]+", alone)):
        return None
    wanted = LEAST_WORDS + order(seed, "length", sentence) % (MOST_WORDS - LEAST_WORDS - 20)
    count, first = len(sentence.split()), end
    while first > 0 and (count < wanted or end - first + 1 < LEAST_SENTENCES):
        first -= 1
        count += len(run[first][0].split())
    if not wanted <= count <= MOST_WORDS or end - first + 1 < LEAST_SENTENCES:
        return None
    before = run[first][0] + "".join(("\n\n" if begins else " ") + text for text, begins in run[first + 1:end])
    context = before + ("\n\n" if run[end][1] else " ") + alone
    words = context.split()
    earlier = [i for i, other in enumerate(words) if letters(other) == word]
    if not earlier:
        return None
    return {"context": context, "sentence": alone, "word": word, "words": count, "distance": len(words) - 1 - earlier[-1]}, first


def documents(path):
    """(title, text) of each book of a file."""
    name = pathlib.Path(path).name.removesuffix(".zst").removesuffix(".gz")
    if not name.endswith(".jsonl"):
        yield pathlib.Path(name).stem, read_text(path)
        return
    for number, row in enumerate(read_rows(path), start=1):
        if not isinstance(row.get("text"), str):
            raise Problem(f"{path}: row {number} has no key `text`; it has {', '.join(row)}")
        yield str(row.get("title") or pathlib.Path(name).stem), row["text"]


def candidates(books, seed):
    """(order, run, first sentence, last sentence, row) of every passage that could be asked; a book that is given twice counts once."""
    found = []
    for book in sorted({(title, text) for path in books for title, text in documents(path)}):
        for run in runs(book[1]):
            place = hashlib.sha256("\0".join((book[0], *(text for text, _ in run))).encode()).hexdigest()
            for end in range(len(run)):
                made = passage(run, end, seed)
                if made:
                    row, first = made
                    row["title"] = book[0]
                    found.append((order(seed, row["context"], row["word"]), place, first, end, row))
    return sorted(found, key=lambda item: item[:4])


def choose(found, items):
    """The first ones that share no sentence and no context."""
    taken, rows, contexts = set(), [], set()
    for _, run, first, end, row in found:
        mine = {(run, i) for i in range(first, end + 1)}
        if len(rows) < items and not mine & taken and row["context"] not in contexts:
            taken |= mine
            contexts.add(row["context"])
            rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("books", nargs="+", metavar="BOOKS")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FILE")
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.items < 1:
        parser.error(f"--items {arguments.items}: at least one")
    try:
        found = candidates(arguments.books, arguments.seed)
        rows = choose(found, arguments.items)
        if len(rows) < arguments.items:
            raise Problem(f"--items {arguments.items}: the books have {len(found)} candidates, {len(rows)} of them without common sentences; "
                          "give more books or ask for fewer items")
        write_rows(arguments.out, rows)
    except (Problem, OSError) as problem:
        sys.exit(f"error: {problem}")
    middle = [statistics.median(row[key] for row in rows) for key in ("words", "distance")]
    print(f"{arguments.out}: {len(rows)} of {len(found)} candidates, from {len({row['title'] for row in rows})} books; half of them have at most "
          f"{middle[0]:g} words and a distance of at most {middle[1]:g}")


if __name__ == "__main__":
    main()
