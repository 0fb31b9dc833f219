#!/usr/bin/env python3
"""A text in which depth is needed at known tokens, and nowhere else: the positive control of configs/needs-depth.yaml.

    scripts/make_hops.py --out FOLDER [--hops 6] [--values 16] [--functions 8] [--tokens 8M] [--seed 1]

writes hops-train.jsonl and hops-valid.jsonl, rows {"text"}. A problem is 1 to --hops functions, a value and the answer, such as "el ak ba TE":
ak is applied to ba, el to the result, and what comes out is the next word, in capitals. Each function is a permutation of the values, drawn once by the
seed and never written down, so a model learns them by heart; applied one after the other they have no short cut, and the number of
different problems is too large to be learned by heart. So at the value, where the answer is predicted, as many look-ups one after the other are
needed as the problem has functions. Before it nothing can be looked up, since the value is not known. It is one word in eight. All other words are
unpredictable (values, functions) or easy (counting, set phrases, copies).
"""

import argparse
import json
import pathlib
import random
import sys

CONSONANTS, VOWELS = "bdgklmnprstvz", "ae"
VALUES = [c + v for v in VOWELS for c in CONSONANTS]
FUNCTIONS = [v + c for v in VOWELS for c in CONSONANTS]
NUMBERS = "one two three four five six seven eight nine".split()
PHRASES = ["so it goes on and on .", "in the end all was well .", "here is the next of them :", "once more , with care ."]
PERIOD = 8  # words a problem, with what stands between problems
PROBLEMS = 64  # of a document


def permutations(arguments):
    """What each function makes of each value."""
    chance = random.Random(f"{arguments.seed} functions")
    values = VALUES[:arguments.values]
    return {name: dict(zip(values, chance.sample(values, len(values)))) for name in FUNCTIONS[:arguments.functions]}


def zipf(chance, words):
    """One of the words, the n-th as often as 1 / n: with all alike, neither function nor value alone would say anything of an answer, and models
    would take very long to find out that both together do."""
    return chance.choices(words, [1 / (i + 1) for i in range(len(words))])[0]


def problem(chance, functions, hops):
    """The words of a problem, its answer last."""
    value = zipf(chance, list(next(iter(functions.values()))))
    words = [value]
    for _ in range(hops):
        name = zipf(chance, list(functions))
        words.insert(0, name)
        value = functions[name][value]
    return words + [value.upper()]


def easy(chance):
    """Words that one or two layers can predict, but for where they begin."""
    kind = chance.randrange(3)
    if kind == 0:
        first = chance.randrange(3)
        return ["count", *NUMBERS[first:first + 6], "."]
    if kind == 1:
        words = chance.sample(NUMBERS, 3)
        return ["say", *words, "again", *words, "."]
    return chance.choice(PHRASES).split()


def document(chance, functions, most_hops):
    words, owed = [], 0
    for _ in range(PROBLEMS):
        [hops] = chance.choices(range(1, most_hops + 1), [2] + [1] * (most_hops - 1))
        one = problem(chance, functions, hops)
        words += one
        owed += PERIOD - len(one)
        while owed > 4:  # half of the shortest easy piece
            between = easy(chance)
            words += between
            owed -= len(between)
    return " ".join(words)


def write(path, count, chance, functions, most_hops):
    words = 0
    with open(path, "w", encoding="utf-8") as file:
        while words < count:
            text = document(chance, functions, most_hops)
            words += text.count(" ") + 1
            file.write(json.dumps({"text": text}) + "\n")
    return words


def count(text):
    units = {"k": 1_000, "M": 1_000_000}
    number = int(float(text.rstrip("kM")) * units.get(text[-1], 1))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1, such as 500k or 8M")
    return number


def number(least, most):
    def parse(text):
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text}: {least} to {most} are possible")
        return int(text)
    parse.__name__ = "number"
    return parse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--hops", type=number(1, 8), default=5, help="most functions of a problem")
    parser.add_argument("--values", type=number(2, len(VALUES)), default=16)
    parser.add_argument("--functions", type=number(2, len(FUNCTIONS)), default=8)
    parser.add_argument("--tokens", type=count, default=count("8M"), help="words to train on; 1 %% more for validation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    functions = permutations(arguments)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for part, share in (("train", 1), ("valid", 0.01)):
            path = arguments.out / f"hops-{part}.jsonl"
            words = write(path, max(1, int(arguments.tokens * share)), random.Random(f"{arguments.seed} {part}"), functions, arguments.hops)
            print(f"{path}: {words} words, one in {PERIOD} a value, problems of 1 to {arguments.hops} functions")
    except OSError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
