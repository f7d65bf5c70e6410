#!/usr/bin/env python3
"""Multiple choice, scored: a model "answers" with the choice that it finds likeliest after the question.

    evaluation.py batch > in.jsonl                 the requests, one a line
    evaluation.py report in.jsonl out.jsonl        accuracy, as --json prints it with a line for each question before

Nothing is generated. A question is one row with a prompt for each choice, whose tokens' log-probabilities (echo with
max_tokens 0) are summed: `acc` goes by the sum, `acc_norm` by the sum for each byte of the choice, as in lm-eval.
What the prompts of a row have in common is computed once.
"""
import json

import rows
import shop

LETTERS = "abcd"


def stem(question):
    return f"Question: {question['question']}\nAnswer:"


def batch():
    for question in shop.table("questions.csv"):
        yield rows.request(question["id"], prompt=[f"{stem(question)} {question[letter]}" for letter in LETTERS],
                           max_tokens=0, echo=True, logprobs=0)


def sums(question, choices):
    """The log-probability of each choice, given the question."""
    ordered = sorted(choices, key=lambda choice: choice["index"])
    return [sum(rows.logprobs_from(choice, len(stem(question)))) for choice in ordered]


def best(values):
    return LETTERS[max(range(len(values)), key=values.__getitem__)]


def report(source, target):
    answers = rows.choices(target)
    right, right_norm = 0, 0
    for question in shop.table("questions.csv"):
        if question["id"] not in answers:
            continue
        scores = sums(question, answers[question["id"]])
        chosen = best(scores)
        chosen_norm = best([score / len(f" {question[letter]}".encode()) for score, letter in zip(scores, LETTERS)])
        right += chosen == question["answer"]
        right_norm += chosen_norm == question["answer"]
        print(json.dumps({"id": question["id"], "answer": question["answer"], "chosen": chosen,
                          "chosen_norm": chosen_norm, "logprobs": [round(score, 4) for score in scores]}))
    asked = rows.count(source)
    print(json.dumps({"questions": asked, "answered": len(answers), "acc": right / asked, "acc_norm": right_norm / asked,
                      "chance": 1 / len(LETTERS)}))
    return 0 if len(answers) == asked else 1


if __name__ == "__main__":
    rows.run(batch, report, __doc__)
