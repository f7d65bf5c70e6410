"""Jobs in which the same work comes back: requests of data-wrangling tables, questions with choices, texts to be scored,
records to be copied from. As OpenAI Batch lines.

The tables are those of mixed_job.py. Samples are drawn by a fixed seed, so a job is the same on every machine."""
import csv
import json
import random

EXAMPLES = 10        # before an entity pair
SHOTS, CHOICES = 5, 4  # of a question
LETTERS = "ABCD"


def _line(number, body):
    return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": "/v1/completions", "body": body})


def _table(path, encoding="utf-8"):
    with open(path, newline="", encoding=encoding) as file:
        return list(csv.DictReader(file))


def _record(row, side):
    return ". ".join(f"{name[len(side):]}: {value}" for name, value in row.items()
                     if name.startswith(side) and name != side + "id")


def _pair(row):
    return (f"Product A is {_record(row, 'left_')}. Product B is {_record(row, 'right_')}. "
            "Are Product A and Product B the same?")


def matching(data, rows):
    """Pairs of products with the same ten examples, half of them matches: `Yes` or `No` is to be generated."""
    numbers = random.Random(0)
    train = _table(data / "Amazon-Google/train.csv")
    chosen = [row for label in "10" for row in numbers.sample([r for r in train if r["label"] == label], EXAMPLES // 2)]
    numbers.shuffle(chosen)
    shown = "\n\n".join(f"{_pair(row)} {'Yes' if row['label'] == '1' else 'No'}" for row in chosen)
    asked = _table(data / "Amazon-Google/test.csv")[:rows]
    return [_line(i, {"prompt": f"{shown}\n\n{_pair(row)}", "max_tokens": 3, "temperature": 0, "stop": "\n"})
            for i, row in enumerate(asked)]


def _question(numbers, row, makers):
    """Who makes a product, of four; the text and the right letter."""
    options = numbers.sample([maker for maker in makers if maker != row["manufacturer"]], CHOICES - 1)
    options.insert(numbers.randrange(CHOICES), row["manufacturer"])
    shown = "\n".join(f"{letter}. {maker}" for letter, maker in zip(LETTERS, options))
    described = f"{row['name']}. {row['description']}".strip()
    return f"Who is the manufacturer of: {described}?\n{shown}\nAnswer:", LETTERS[options.index(row["manufacturer"])]


def choices(data, questions, tokenize, same_examples):
    """Questions with five examples, each choice a prompt of its own that is scored, as lm-eval asks for it: token ids,
    echo, log-probabilities, one token. `tokenize`: a list of texts to lists of ids."""
    numbers = random.Random(0)
    table = [row for row in _table(data / "Buy/Buy.csv", "latin-1") if row["manufacturer"]]
    makers = sorted({row["manufacturer"] for row in table})
    numbers.shuffle(table)
    shown, asked = table[:200], table[200:200 + questions]
    texts = []
    for row in asked:
        examples = shown[:SHOTS] if same_examples else numbers.sample(shown, SHOTS)
        drawn = random.Random(1) if same_examples else numbers
        worked = "\n\n".join(f"{text} {letter}" for text, letter in (_question(drawn, example, makers) for example in examples))
        question, _ = _question(numbers, row, makers)
        texts += [f"{worked}\n\n{question} {letter}" for letter in LETTERS]
    ids = tokenize(texts)
    return [_line(i, {"prompt": ids[i * CHOICES:(i + 1) * CHOICES], "max_tokens": 1, "temperature": 0, "logprobs": 1,
                      "echo": True, "seed": 1234}) for i in range(questions)]


def scoring(rows, tokens, vocabulary):
    """Random texts of which every token's log-probability is asked for."""
    numbers = random.Random(0)
    return [_line(i, {"prompt": [numbers.randrange(300, vocabulary) for _ in range(tokens)], "max_tokens": 0, "echo": True,
                      "logprobs": 0, "temperature": 0}) for i in range(rows)]


def extraction(data, rows, tokens):
    """Records that are to be written down again as JSON: most of an answer stands in its prompt."""
    table = _table(data / "iTunes-Amazon/test.csv")
    lines = []
    for i, (example, row) in enumerate(zip(table[rows:2 * rows], table[:rows])):
        shown = "\n\n".join(f"Text: {_record(r, 'left_')}\nJSON: {answer}" for r, answer in
                            ((example, json.dumps(_fields(example), ensure_ascii=False)), (row, "")))
        lines.append(_line(i, {"prompt": shown.rstrip(), "max_tokens": tokens, "temperature": 0, "ignore_eos": True}))
    return lines


def _fields(row):
    return {name[len("left_"):]: value for name, value in row.items() if name.startswith("left_") and name != "left_id"}
