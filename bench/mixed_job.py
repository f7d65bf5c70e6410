"""A job of rows with mixed lengths from data-wrangling tables, as OpenAI Batch lines of token ids.

The tables are those of DeepMatcher (Amazon-Google, iTunes-Amazon), Ditto (Beer), HoloClean (Hospital) and Abt-Buy,
each in a folder of its name. Every second row has a worked example before it. Models here have random weights and no
tokenizer, so a piece of text (up to five letters, a digit, a mark) counts as a token and its hash is the id: equal
beginnings stay equal, and lengths are about those of real tokenizers."""
import csv
import json
import random
import re
import zlib

PIECES = re.compile(r" ?[A-Za-z]{1,5}|\d|[^\sA-Za-z\d]|\s")
PAIRS = {"Amazon-Google": "Product", "iTunes-Amazon": "Song"}
SHORTEST, LONGEST = 5, 60


def _fields(row, without=("id", "label")):
    return ". ".join(f"{name}: {value}" for name, value in row.items() if name not in without)


def _matching(folder, noun):
    with open(folder / "test.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            left, right = ({name[len(side):]: value for name, value in row.items() if name.startswith(side)}
                           for side in ("left_", "right_"))
            yield f"{noun} A is {_fields(left)}. {noun} B is {_fields(right)}. Are {noun} A and {noun} B the same?"


def _beer(folder):
    for line in (folder / "test.txt").read_text(encoding="utf-8").splitlines():
        left, right, _ = line.split("\t")
        plain = [re.sub(r"COL (\S+) VAL", r"\1:", side) for side in (left, right)]
        yield f"Product A is {plain[0]}. Product B is {plain[1]}. Are Product A and Product B the same?"


def _buy(folder):
    with open(folder / "Buy.csv", newline="", encoding="latin-1") as file:
        for row in csv.DictReader(file):
            yield f"{_fields(row, ('id', 'manufacturer'))}. Who is the manufacturer?"


def _hospital(folder):
    with open(folder / "hospital.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                yield f"Is there a x spelling error in {name}: {value}?"


def requests(data, rows, vocabulary):
    """Lines of `rows` requests, a fifth of them from each table, in an order that mixes them."""
    numbers = random.Random(0)
    sources = [list(_matching(data / name, noun)) for name, noun in PAIRS.items()]
    sources += [list(_beer(data / "Beer")), list(_buy(data / "Buy")), list(_hospital(data / "Hospital"))]
    lines = []
    for i in range(rows):
        texts = sources[i % len(sources)]
        text = numbers.choice(texts)
        if numbers.random() < 0.5:
            text = f"{texts[0]} No\n\n{text}"
        ids = [300 + zlib.crc32(piece.encode()) % (vocabulary - 300) for piece in PIECES.findall(text)]
        lines.append(json.dumps({"custom_id": f"row-{i}", "method": "POST", "url": "/v1/completions", "body": {
            "prompt": ids, "max_tokens": numbers.randint(SHORTEST, LONGEST), "temperature": 0, "ignore_eos": True}}))
    return lines


def sizes(lines):
    """Tokens in and out, and the longest row's."""
    bodies = [json.loads(line)["body"] for line in lines]
    lengths = [len(body["prompt"]) for body in bodies]
    return {"rows": len(lines), "prompt_tokens": sum(lengths), "shortest_prompt": min(lengths),
            "longest_prompt": max(lengths), "generated_tokens": sum(body["max_tokens"] for body in bodies)}
