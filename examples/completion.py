#!/usr/bin/env python3
"""Texts that a model goes on with: the likeliest end, several drawn ones, answers of a chat.

    completion.py batch > in.jsonl                 the requests, one a line
    completion.py report in.jsonl out.jsonl        what the model made of them
"""

import rows

BEGINNINGS = [
    "The capital of France is",
    "Water boils at",
    "The opposite of cold is",
    "Once upon a time there was a clockmaker who",
]
QUESTIONS = [
    "Name three rivers of Europe.",
    "What is the plural of 'mouse'?",
]
DRAWN = 3  # of each beginning


def batch():
    for i, text in enumerate(BEGINNINGS):
        yield rows.request(f"likeliest-{i}", prompt=text, max_tokens=24, temperature=0, stop="\n")
        # A row's seed makes its draws the same wherever it stands; without one they go by its line.
        yield rows.request(f"drawn-{i}", prompt=text, max_tokens=24, n=DRAWN, temperature=0.8, top_p=0.95, seed=7,
                           stop="\n")
    for i, text in enumerate(QUESTIONS):
        yield rows.request(f"chat-{i}", "/v1/chat/completions", messages=[{"role": "user", "content": text}],
                           max_tokens=48, temperature=0)


def report(source, target):
    answers = rows.choices(target)
    for i, text in enumerate(BEGINNINGS):
        print(text)
        for name in (f"likeliest-{i}", f"drawn-{i}"):
            for choice in answers.get(name, []):
                print(f"  {name:<14}{choice['text']}")
    for i, text in enumerate(QUESTIONS):
        print(text)
        for choice in answers.get(f"chat-{i}", []):
            print(f"  {f'chat-{i}':<14}" + choice["message"]["content"].replace("\n", "\n" + " " * 16))
    asked = rows.count(source)
    print(f"\n{len(answers)} of {asked} rows answered")
    return 0 if len(answers) == asked else 1


if __name__ == "__main__":
    rows.run(batch, report, __doc__)
