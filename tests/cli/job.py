"""The batch that tests of interruption run: sampled and greedy rows, several answers, seeds, common beginnings, rows that
fail."""
import random

import harness
from harness import MODEL, row

ROWS = 300


def rows(count=ROWS, seed=20):
    """Rows of every kind, the same for the same seed; two of five begin like others and run next to them."""
    draw = random.Random(seed)
    starts = [[draw.randrange(3, 333) for _ in range(length)] for length in (40, 70)]
    for i in range(count):
        prompt = [draw.randrange(3, 333) for _ in range(draw.randrange(1, 60))]
        if i % 5 < 2:
            prompt = starts[i % 5] + prompt
        body = {"prompt": prompt, "max_tokens": draw.randrange(1, 160), "ignore_eos": draw.random() < 0.5}
        if i % 3 == 0:
            body["temperature"] = 0
        if i % 4 == 1:
            body["n"] = draw.randrange(2, 4)
        if i % 5 == 2:
            body["seed"] = draw.randrange(1 << 40)
        if i % 7 == 3:
            body.update(logprobs=2, echo=True)
        if i % 31 == 30:
            yield "{ this line is broken"
        elif i % 37 == 36:
            yield row(f"row-{i}", prompt=[100000])
        elif i % 41 == 40:
            yield row(f"row-{i}", url="/v1/embeddings", input="x")
        else:
            yield row(f"row-{i}", **body)


def command(folder, source, target, *options):
    """Arguments of a job whose results are bytes that can be compared; few rows at once, so that it takes time."""
    return ["batch", MODEL, "-i", source, "-o", target, "--dtype", "f32", "--deterministic-ids", "--quiet",
            "--offload-dir", folder, "--max-num-seqs", "5", "--threads", "1", *options]


def finished_rows(target):
    """How many rows are safe: lines of OUT; the journal's share is not counted."""
    try:
        with open(target, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0
