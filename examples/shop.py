#!/usr/bin/env python3
"""A shop's offers through a language model: extraction and entity matching with known answers.

    shop.py batch > in.jsonl                 the requests, one a line
    shop.py report in.jsonl out.jsonl        some answers, and accuracy beside that of the majority answer

Extraction: a few worked examples, then an offer and the name of a field; the model writes the field.

Matching: "A = B" is scored, nothing is generated. If both name the same product, the model finds B likely
after A. The decision is the mean log-probability of B's tokens against a threshold, halfway between the
means of the same and the different pairs of the rows marked "calibrate", which do not count as answers.
"""
import collections
import csv
import os
import statistics
import sys

import rows

HERE = os.path.dirname(os.path.abspath(__file__))

# field: (label in the prompt, position in EXAMPLES)
FIELDS = {"brand": ("Brand", 1), "colour": ("Colour", 2), "city": ("Sent from", 3)}
EXAMPLES = [
    ("Dunmore garden shears, green grips, steel blades. Ships from Elmsworth.", "Dunmore", "green", "Elmsworth"),
    ("White rain jacket by Petrel & Sons, size M, stock in Hartwick.", "Petrel & Sons", "white", "Hartwick"),
    ("Sent from Elmsworth: the Kaplin coffee grinder, black, 150 watt.", "Kaplin", "black", "Elmsworth"),
    ("Aldo wall clock, 30 cm, red, on its way from Marlow End.", "Aldo", "red", "Marlow End"),
]
MATCHES = ("garden shears by Dunmore, 20 cm = Dunmore garden shears (20 cm)\n"
           "coffee grinder Kaplin 150 W = Kaplin coffee grinder, 150 watt\n")


def table(name):
    with open(os.path.join(HERE, name), newline="") as file:
        return list(csv.DictReader(file))


def extraction_prompt(text, field):
    label, column = FIELDS[field]
    shown = "".join(f"Text: {example[0]}\n{label}: {example[column]}\n\n" for example in EXAMPLES)
    return f"{shown}Text: {text}\n{label}:"


def pair_prefix(pair):
    return f"{MATCHES}{pair['a']} ="


def batch():
    for offer in table("offers.csv"):
        for field in FIELDS:
            yield rows.request(f"{field}-{offer['id']}", prompt=extraction_prompt(offer["text"], field), max_tokens=8,
                               temperature=0, stop="\n")
    for pair in table("pairs.csv"):
        yield rows.request(f"same-{pair['id']}", prompt=f"{pair_prefix(pair)} {pair['b']}", max_tokens=0, echo=True,
                           logprobs=0)


def likelihood(choice, pair):
    """Mean log-probability of the tokens of B in "A = B"."""
    return statistics.fmean(rows.logprobs_from(choice, len(pair_prefix(pair))))


def extraction(choices, field):
    """(id, text, answer, truth) of every offer."""
    for offer in table("offers.csv"):
        choice = choices.get(f"{field}-{offer['id']}")
        yield offer["id"], offer["text"], choice["text"].strip(" .") if choice else "(no answer)", offer[field]


def matching(choices):
    """The same for every pair that is not for calibration."""
    scored = [(pair, likelihood(choices[f"same-{pair['id']}"], pair)) for pair in table("pairs.csv")
              if f"same-{pair['id']}" in choices]
    means = [statistics.fmean(value for pair, value in scored if pair["use"] == "calibrate" and pair["same"] == same)
             for same in ("Yes", "No")]
    for pair, value in scored:
        if pair["use"] == "test":
            answer = "Yes" if value > statistics.fmean(means) else "No"
            yield pair["id"], f"{pair['a']} = {pair['b']}", answer, pair["same"]


def shorten(text, width=66):
    return text if len(text) <= width else text[:width - 3] + "..."


def report(source, target):
    asked = rows.count(source)
    choices = {name: answers[0] for name, answers in rows.choices(target).items()}
    tasks = {field: list(extraction(choices, field)) for field in FIELDS}
    tasks["same"] = list(matching(choices))

    print(f"{'row':<12}{'text':<68}{'answer':<16}truth")
    for task, answered in tasks.items():
        for name, text, answer, truth in answered[:4]:
            print(f"{task + '-' + name:<12}{shorten(text):<68}{answer:<16}{'' if answer == truth else truth}")
    print()
    print(f"{'task':<12}{'rows':>6}{'right':>8}{'accuracy':>11}{'majority answer':>18}")
    for task, answered in tasks.items():
        right = sum(answer == truth for _, _, answer, truth in answered)
        majority = collections.Counter(truth for *_, truth in answered).most_common(1)[0][1]
        print(f"{task:<12}{len(answered):>6}{right:>8}{right / len(answered):>11.0%}{majority / len(answered):>18.0%}")
    print(f"\n{len(choices)} of {asked} rows answered")
    return 0 if len(choices) == asked else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["batch"]:
        rows.show(batch())
    elif len(sys.argv) == 4 and sys.argv[1] == "report":
        sys.exit(report(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(__doc__)
