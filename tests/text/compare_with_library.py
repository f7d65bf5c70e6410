#!/usr/bin/env python3
"""Random Unicode lines through `flexgen tokenize` and through the library: ids and texts must be equal.

    compare_with_library.py FLEXGEN [--lines N] [--seed S] FOLDER...

A folder with a tokenizer.json is compared with tokenizers, one with a tokenizer.model only with sentencepiece; one
whose tokenizer_config.json names further tokens is left out, because tokenizers does not read that file.

Lines with characters newer than Unicode 14 are left out: the two sides follow different versions. The library's tables
of punctuation and of compatibility forms are older still, so with those only characters of Unicode 3.2 are used.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import unicodedata

from tokenizers import Tokenizer

import spm_models

WORDS = "the of and to in a is that for it was with they're isn't I'll engine weights reader LAYER Token".split()
SPACES = [" "] * 12 + ["\n", "\r\n", "\t", "  ", "   ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x0b", "\x0c",
                       "\x1c", "\x85", "\u1680", "\u180e", "\u202f", "\u205f", "\ufeff"]
SHORT = ["'s", "'T", "'RE", "'ve", "'\u017f", "\u2019s", "'", "''", ".", ",", "!?", "...", "(", ")", "\u2014", "/", "_", "0", "12"]
RANGES = [(0x20, 0x7e)] * 6 + [(0, 0x1f), (0xa0, 0x17f), (0x300, 0x36f), (0x370, 0x4ff), (0x590, 0x6ff), (0x900, 0x97f),
                               (0xe00, 0xe7f), (0x1100, 0x11ff), (0x1e00, 0x1eff), (0x2000, 0x218f), (0x2460, 0x24ff),
                               (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfb4f), (0xfe00, 0xffef),
                               (0x1d400, 0x1d7ff), (0x1f1e6, 0x1f6ff), (0x20000, 0x20100), (0xe0100, 0xe01ef)]


def fragment(r, added):
    kind = r.random()
    if kind < 0.3:
        return r.choice(WORDS)
    if kind < 0.45:
        return r.choice(SPACES)
    if kind < 0.6:
        return r.choice(SHORT)
    if kind < 0.66 and added:
        return r.choice(added)
    if kind < 0.69:
        return r.choice(["a", "ab", " ", ".", "\n", "é", "日"]) * r.randint(2, 60)
    if kind < 0.72:
        return chr(r.choice([r.randrange(0xd800), r.randrange(0xe000, 0x110000)]))
    low, high = r.choice(RANGES)
    return "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 5)))


def line(r, added, known):
    while True:
        text = "".join(fragment(r, added) for _ in range(r.randint(0, 16)))
        if all(known.category(c) != "Cn" for c in text):
            return text


def fuzz_lines(count, seed):
    """Lines with nothing newer than Unicode 3.2, which all versions of all libraries see alike."""
    r = random.Random(seed)
    return [line(r, ["<s>", "<|end|>", "  ", "▁"], unicodedata.ucd_3_2_0) for _ in range(count)]


def run(command, values):
    text = "".join(json.dumps(v) + "\n" for v in values)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [json.loads(out) for out in done.stdout.split("\n")[:-1]]


def report(name, what, cases, ours, theirs):
    wrong = [(c, a, b) for c, a, b in zip(cases, ours, theirs) if a != b]
    print(f"{name}: {what}: {len(cases)} compared, {len(wrong)} differ")
    for case, a, b in wrong[:3]:
        print(f"  {case!a}\n    ours   {a!a}\n    theirs {b!a}")
    return len(wrong) + abs(len(cases) - len(ours))


def compare_spm(flexgen, folder, lines, r):
    reader = spm_models.Reader(folder)
    added = [p for p in map(reader.first.id_to_piece, range(reader.size)) if p.startswith("<") and len(p) != 6]
    texts = [line(r, added + list(reader.added), unicodedata) for _ in range(lines)]
    ids = [reader.random_ids(r) for _ in range(lines // 2)]
    tokenize = [flexgen, "tokenize", folder]
    wrong = report(folder, "ids", texts, run(tokenize + ["--jsonl"], texts), [reader.encode(t) for t in texts])
    wrong += report(folder, "texts", ids, run(tokenize + ["--decode"], ids), [reader.decode(i) for i in ids])
    return wrong + report(folder, "texts without special tokens", ids, run(tokenize + ["--decode", "--skip-special"], ids),
                          [reader.decode(i, True) for i in ids])


def compare(flexgen, folder, lines, r):
    if not os.path.exists(folder + "/tokenizer.json"):
        return compare_spm(flexgen, folder, lines, r)
    if os.path.exists(folder + "/tokenizer_config.json"):
        print(f"{folder}: left out: it has a tokenizer_config.json")
        return 0
    library = Tokenizer.from_file(folder + "/tokenizer.json")
    added = [t.content for t in library.get_added_tokens_decoder().values()]
    old = any(word in library.to_str() for word in ('"NFK', '"NFD', '"Punctuation"', '"Bert', '"StripAccents'))
    texts = [line(r, added, unicodedata.ucd_3_2_0 if old else unicodedata) for _ in range(lines)]
    size = max(library.get_vocab().values()) + 1
    ids = [[r.randrange(size) for _ in range(r.randint(0, 12))] for _ in range(lines // 2)]
    tokenize = [flexgen, "tokenize", folder]
    wrong = report(folder, "ids", texts, run(tokenize + ["--jsonl"], texts), [e.ids for e in library.encode_batch(texts)])
    wrong += report(folder, "texts", ids, run(tokenize + ["--decode"], ids), library.decode_batch(ids, skip_special_tokens=False))
    return wrong + report(folder, "texts without special tokens", ids, run(tokenize + ["--decode", "--skip-special"], ids),
                          library.decode_batch(ids, skip_special_tokens=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("flexgen")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"seed {args.seed}")
    sys.exit(1 if sum(compare(args.flexgen, f, args.lines, random.Random(args.seed)) for f in args.folders) else 0)


if __name__ == "__main__":
    main()
