"""Rows run in another order than they stand in, so that what they begin with is computed once; nothing else changes."""
import json
import random

import harness
from harness import MODEL, Case, row, write_rows

BEGINNINGS, ROWS_OF_EACH, BEGINNING, OWN = 40, 6, 64, 5  # two pages, and a few tokens more
FEW_PAGES = ["--max-num-seqs", "2", "--max-model-len", "96"]  # no room for what forty rows begin with


class RowOrder(Case):
    def write(self, beginning_of):
        draw = random.Random(8)
        beginnings = [[draw.randrange(3, 333) for _ in range(BEGINNING)] for _ in range(BEGINNINGS)]
        write_rows(self.path("in.jsonl"), [
            row(f"row-{i}", prompt=beginnings[beginning_of(i)] + [draw.randrange(3, 333) for _ in range(OWN)], max_tokens=3)
            for i in range(BEGINNINGS * ROWS_OF_EACH)])

    def batch(self, name, *options):
        """The results, and how many tokens were computed."""
        self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path(name), "--dtype", "f32",
                     "--deterministic-ids", "--offload-dir", self.folder, "--stats", self.path("stats.json"), *FEW_PAGES,
                     *options)
        with open(self.path("stats.json")) as file:
            tokens = json.load(file)["tokens"]["prompt"]
        with open(self.path(name), "rb") as file:
            return file.read(), tokens

    def test_rows_that_begin_alike_are_computed_once_wherever_they_stand(self):
        self.write(lambda i: i % BEGINNINGS)  # none beside its like
        apart, computed = self.batch("apart.jsonl")
        self.assertEqual(computed, BEGINNINGS * BEGINNING + BEGINNINGS * ROWS_OF_EACH * OWN)
        alone, every = self.batch("alone.jsonl", "--prefix-sharing", "false")
        self.assertEqual(every, BEGINNINGS * ROWS_OF_EACH * (BEGINNING + OWN))
        self.assertEqual(apart, alone)
        ids = [json.loads(line)["custom_id"] for line in apart.splitlines()]
        self.assertEqual(ids, [f"row-{i}" for i in range(BEGINNINGS * ROWS_OF_EACH)])

    def test_what_comes_through_a_pipe_is_ordered_too(self):
        self.write(lambda i: i % BEGINNINGS)
        with open(self.path("in.jsonl"), "rb") as file:
            done = self.succeed("batch", MODEL, "-i", "-", "-o", "-", "--dtype", "f32", "--deterministic-ids",
                                "--offload-dir", self.folder, *FEW_PAGES, stdin=file.read())
        self.assertEqual(done.stdout, self.batch("file.jsonl")[0])


if __name__ == "__main__":
    harness.main()
