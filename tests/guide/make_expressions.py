#!/usr/bin/env python3
"""Makes golden_expressions.json: which texts Python's re says that expressions match, as a whole and anywhere."""
import json
import os
import random
import re

HERE = os.path.dirname(os.path.abspath(__file__))

# Python's `$` also stands before a last line feed; texts with one at their end are left out below.
EXPRESSIONS = [
    "", "a", "abc", "a|b|", "(a|b)*c", "a*", "a+b?", "(ab)+", "(?:ab|cd){2,3}", "a{3}", "a{2,}", "a{0,2}b", "x{,2}y", "[abc]", "[^abc]",
    "[a-z0-9_]+", "[^a-z]+", r"\d+", r"\D+", r"\w+", r"\W", r"\s*x", r"\S+", r"[\d.]+", r"[^\d]", r"[\w-]+", "[a-]", "[-a]",
    r"[\]\\]", ".", ".*", "a.c", r"\.", r"\n", r"\t|\r", r"\x41\u00e9", "é+", "[à-ü]+", "[^à-ü]", "日本|語", "[一-龥]{1,3}", "😀|[😁-😎]+", "[^😀]",
    "[߿-ࠀ]", "[\uffff-\U00010000]", "^abc$", "^a|b$", "^(a|b)+$", "(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])", "a*?b", "(a+?)+", "(a*)*",
    "(a|aa)+b", "(|a)+", "((a?)?)?", "(a|b)*a(a|b){5}", r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", r'"([^"\\]|\\.)*"',
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", "a{,}",
    "{", "a{b", "a{1", "[{]", r"\{\}", "(yes|no)( please)?", "[[]", "[a^]", r"\/\-", r"[\b]", "[\\x00-\\x1f]", '["\\\\]+', "\x7f",
    "(a(b(c(d)?)?)?)?e", "x{2}y{0}z{1,1}", "[^\\n]*", "[a-fA-F0-9]{2}(:[a-fA-F0-9]{2}){2}",
]
# Braces that are no quantifier are characters to both, but not at the beginning, which is refused here.
EXPRESSIONS.remove("{")
ALPHABET = "abcdexyz019.-_@: \n\t\\\"{}[^é日😀à\x01\x1f\x7f"


def texts(expression, draw):
    """Some of the expression's own characters, and some that are not."""
    letters = [c for c in expression if c.isalnum() or ord(c) > 127] + list(ALPHABET)
    for _ in range(60):
        yield "".join(draw.choice(letters if draw.random() < .7 else ALPHABET) for _ in range(draw.randrange(0, 9)))
    for known in ("", "a", "b", "ab", "aab", "abab", "ababab", "abcd", "2024-05", "2024-13", "-12.5e+3", "01", "me@example.org", "1.2.3.255",
                  '"a\\"b"', "yes please", "日本", "語", "😀", "😁😎", "é", "aaaaab", "abbbbab", "a{,}", "a{b", "a{1", "ff:0A:11", "\ue000", "\uffff"):
        yield known


def main():
    draw = random.Random(4)
    out = []
    for expression in EXPRESSIONS:
        compiled = re.compile(expression, re.ASCII)
        cases = [[t, bool(compiled.fullmatch(t)), bool(compiled.search(t))] for t in sorted(set(texts(expression, draw)))
                 if not t.endswith("\n")]
        out.append({"expression": expression, "cases": cases})
    with open(os.path.join(HERE, "golden_expressions.json"), "w") as file:
        file.write("[" + ",\n".join(json.dumps(e) for e in out) + "]")
        file.write("\n")
    matched = sum(c[1] for e in out for c in e["cases"])
    print(f"{len(out)} expressions, {sum(len(e['cases']) for e in out)} texts, {matched} matched as a whole")


if __name__ == "__main__":
    main()
