#!/usr/bin/env python3
"""From free text to JSON: the brand, the colour and the place of dispatch of every offer in offers.csv.

    extraction.py batch > in.jsonl                 the requests, one a line
    extraction.py report in.jsonl out.jsonl        one JSON object an offer; how many are right on standard error

A few worked examples show the form; the answer ends with its line.
"""
import json
import sys

import rows
import shop

FIELDS = list(shop.FIELDS)


def example(text, *values):
    return f"Offer: {text}\nJSON: {json.dumps(dict(zip(FIELDS, values)), ensure_ascii=False)}\n\n"


def batch():
    shown = "".join(example(*worked) for worked in shop.EXAMPLES)
    for offer in shop.table("offers.csv"):
        yield rows.request(offer["id"], prompt=f"{shown}Offer: {offer['text']}\nJSON:", max_tokens=64, temperature=0,
                           stop="\n")


def read(text):
    """The object that an answer is; None where it is none, or one with other fields."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    strings = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if strings and sorted(found) == sorted(FIELDS) else None


def report(source, target):
    answers = rows.choices(target)
    offers = shop.table("offers.csv")
    valid, right = 0, dict.fromkeys(FIELDS, 0)
    for offer in offers:
        found = read(answers[offer["id"]][0]["text"]) if offer["id"] in answers else None
        print(json.dumps({"id": offer["id"], **(found or dict.fromkeys(FIELDS))}, ensure_ascii=False))
        valid += found is not None
        for field in FIELDS:
            right[field] += found is not None and found[field] == offer[field]
    print(f"{valid} of {len(offers)} answers are objects with these fields; right: "
          + ", ".join(f"{field} {number}" for field, number in right.items()), file=sys.stderr)
    return 0 if len(answers) == rows.count(source) else 1


if __name__ == "__main__":
    rows.run(batch, report, __doc__)
