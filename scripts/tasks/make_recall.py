#!/usr/bin/env python3
"""Tasks of known difficulty: recalling what stood in the text.

    scripts/tasks/make_recall.py --out FOLDER [--pairs 2,4,8] [--distances 0,1,2] [--train-rows 20000] [--test-rows 1000] [--seed 1]

writes recall-train.jsonl and recall-test.jsonl ("ka ip . mo ut . ? ka" goes on with " ip") and, for even numbers of pairs from 4 on,
recall-two-hop-train.jsonl and recall-two-hop-test.jsonl ("ka mo . ut be . mo ip . be so . ? ka" goes on with " ip": two pairs form a chain).
The distance is the number of pairs between the pair that begins with the asked word and the question; without --distances all that there
are. Every pair that stands at such a distance is asked as often, so that guessing is right as often as is printed. No prompt comes twice.
"""

import argparse
import pathlib
import random
import sys

from rows import Problem, write_rows

CONSONANTS, VOWELS = "bdgklmnprstv", "aeiou"
OPEN = [c + v for c in CONSONANTS for v in VOWELS]
CLOSED = [v + c for c in CONSONANTS for v in VOWELS]
FILES = ("recall-train.jsonl", "recall-test.jsonl", "recall-two-hop-train.jsonl", "recall-two-hop-test.jsonl")
TRIES = 1000  # of a row that must differ from all before


def one_hop(chance, pairs, distance):
    """The pairs in their order, the asked word, its answer."""
    facts = list(zip(chance.sample(OPEN, pairs), chance.sample(CLOSED, pairs)))
    asked, answer = facts[pairs - 1 - distance]
    return facts, asked, answer


def two_hop(chance, pairs, distance):
    words = chance.sample(OPEN + CLOSED, 3 * (pairs // 2))
    chains = [words[i:i + 3] for i in range(0, len(words), 3)]
    (asked, middle, answer), others = chains[0], chains[1:]
    facts = [(middle, answer)] + [fact for a, b, c in others for fact in ((a, b), (b, c))]
    chance.shuffle(facts)
    facts.insert(pairs - 1 - distance, (asked, middle))
    return facts, asked, answer


MAKERS = {1: one_hop, 2: two_hop}


def guesses(facts, hops, distances):
    """How many answers are as likely to one who cannot recall, but knows how the task is made."""
    values = {second for _, second in facts}
    beginnings = [i for i, (first, _) in enumerate(facts) if hops == 1 or first not in values]
    return sum(len(facts) - 1 - i in distances for i in beginnings)


def make_rows(count, hops, kinds, chance, seen):
    """`count` rows, as many of each kind; a kind is a number of pairs and the distances that are asked."""
    rows, odds = [], 0.0
    for i in range(count):
        pairs, distances = kinds[i % len(kinds)]
        distance = distances[i // len(kinds) % len(distances)]
        for _ in range(TRIES):
            facts, asked, answer = MAKERS[hops](chance, pairs, distance)
            prompt = " ".join(f"{a} {b} ." for a, b in facts) + f" ? {asked}"
            if prompt not in seen:
                break
        else:
            raise Problem(f"no {count} different rows of {pairs} pairs at distance {distance}: ask for fewer rows or more pairs")
        seen.add(prompt)
        odds += 1 / guesses(facts, hops, distances)
        rows.append({"prompt": prompt, "answer": answer, "pairs": pairs, "distance": distance, "hops": hops})
    chance.shuffle(rows)
    return rows, odds / count


def kinds_of(hops, arguments):
    """(pairs, distances) for each number of pairs that the task can have."""
    kinds = []
    for pairs in arguments.pairs:
        if pairs > len(OPEN):
            raise Problem(f"--pairs {pairs}: 1 to {len(OPEN)} are possible")
        if hops == 2 and (pairs < 4 or pairs % 2):
            continue
        distances = [d for d in (arguments.distances or range(pairs)) if d < pairs]
        if not distances:
            raise Problem(f"--distances {','.join(map(str, arguments.distances))}: {pairs} pairs have distances 0 to {pairs - 1}")
        kinds.append((pairs, distances))
    return kinds


def write(folder, arguments):
    folder.mkdir(parents=True, exist_ok=True)
    for hops, name in ((1, "recall"), (2, "recall-two-hop")):
        kinds = kinds_of(hops, arguments)
        if not kinds:
            print(f"{name}: not made, it takes even numbers of pairs from 4 on")
            continue
        seen = set()
        for part, count in (("test", arguments.test_rows), ("train", arguments.train_rows)):
            chance = random.Random(f"{arguments.seed} {name} {part}")
            rows, guess = make_rows(count, hops, kinds, chance, seen)
            write_rows(folder / f"{name}-{part}.jsonl", rows)
            if part == "test":
                print(f"{name}: {arguments.train_rows} rows to train on, {count} to test, guessing is right {100 * guess:.1f} % of the time")


def numbers(least):
    def parse(text):
        values = [int(word) for word in text.split(",")]
        if min(values) < least or len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"{text}: different whole numbers from {least} on, such as {least},{least + 1}")
        return values
    parse.__name__ = "whole numbers with commas"
    return parse


def count(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one row")
    return int(text)


def parser():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    made.add_argument("--pairs", type=numbers(1), default=[2, 4, 8])
    made.add_argument("--distances", type=numbers(0), default=None, help="default: every distance that there is")
    made.add_argument("--train-rows", type=count, default=20_000)
    made.add_argument("--test-rows", type=count, default=1_000)
    made.add_argument("--seed", type=int, default=1)
    return made


def main():
    arguments = parser().parse_args()
    try:
        write(arguments.out, arguments)
    except (Problem, OSError) as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
