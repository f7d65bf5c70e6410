"""examples/: each runs from its questions to its report with a tiny model, its report counts what is right, and with the
demo's model it answers as its page says.
"""
import contextlib
import csv
import json
import os
import subprocess
import sys
import unittest

import harness
from harness import Case, read_rows, text_model, write_rows

EXAMPLES = os.path.join(harness.ROOT, "examples")
REAL_MODEL = os.environ.get("FG_SMOLLM2_GGUF")


def table(name):
    with open(os.path.join(EXAMPLES, name), newline="") as file:
        return list(csv.DictReader(file))


class Examples(Case):
    def run_example(self, name, model, options="--dtype f32 --quiet"):
        """What is printed at the end, and the folder of what was written."""
        done = subprocess.run(
            [os.path.join(EXAMPLES, "run"), name, model], capture_output=True, text=True, timeout=280,
            env=harness.environment(FLEXGEN=harness.flexgen, OUT=self.folder, OPTIONS=options))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, os.path.join(self.folder, name)

    def tiny_model(self):
        """With room for prompts of letters that are tokens, and a word for every id that may be drawn."""
        model = self.path("model")
        text_model(model)
        config, tokenizer = (self.change(os.path.join(model, name)) for name in ("config.json", "tokenizer.json"))
        with config as said, tokenizer as told:
            said["max_position_embeddings"] = 2048
            vocab = told["model"]["vocab"]
            vocab.update((f"word{i}", i) for i in set(range(said["vocab_size"])) - set(vocab.values()))
        return model

    @contextlib.contextmanager
    def change(self, path):
        with open(path) as file:
            content = json.load(file)
        yield content
        with open(path, "w") as file:
            json.dump(content, file)

    def requests(self, script):
        done = self.python(script, "batch")
        with open(self.path("in.jsonl"), "w") as file:
            file.write(done.stdout)
        return read_rows(self.path("in.jsonl"))

    def report(self, script, answers):
        """`answers`: {custom_id: choices} of those that are there."""
        write_rows(self.path("out.jsonl"), [
            {"custom_id": name, "response": {"status_code": 200, "body": {"choices": choices}}, "error": None}
            for name, choices in answers.items()])
        return self.python(script, "report", self.path("in.jsonl"), self.path("out.jsonl"))

    def python(self, script, *arguments):
        return subprocess.run([sys.executable, "-B", os.path.join(EXAMPLES, script), *arguments], capture_output=True,
                              text=True)


class Completion(Examples):
    def test_shows_every_answer(self):
        said, folder = self.run_example("completion", self.tiny_model())
        rows = read_rows(os.path.join(folder, "out.jsonl"))
        self.assertIn(f"{len(rows)} of {len(rows)} rows answered", said)
        for answer in rows:
            choices = answer["response"]["body"]["choices"]
            self.assertEqual(said.count(f"\n  {answer['custom_id']} "), len(choices))
        self.assertEqual(len({choice["text"] for choice in rows[1]["response"]["body"]["choices"]}), 3)

    def test_rows_without_an_answer_are_told(self):
        self.requests("completion.py")
        done = self.report("completion.py", {"likeliest-0": [{"text": " Paris"}]})
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 of 10 rows answered", done.stdout)

    @unittest.skipUnless(REAL_MODEL, "FG_SMOLLM2_GGUF does not name the demo's model")
    def test_the_demos_model_knows_paris(self):
        said, _ = self.run_example("completion", REAL_MODEL, "--quiet")
        self.assertIn("likeliest-0    Paris", said)
        self.assertIn("mice", said)


class Extraction(Examples):
    def test_runs_to_its_report(self):
        said, _ = self.run_example("extraction", self.tiny_model())
        self.assertEqual([json.loads(line)["id"] for line in said.splitlines()], [o["id"] for o in table("offers.csv")])

    def test_counts_fields_that_are_right_and_nothing_else(self):
        offers = table("offers.csv")
        answers = {request["custom_id"]: json.dumps({k: o[k] for k in ("brand", "colour", "city")})
                   for request, o in zip(self.requests("extraction.py"), offers)}
        answers["o01"] = "no JSON"
        answers["o02"] = '{"brand": "Calder & Pine", "colour": "green"}'
        answers["o03"] = '{"brand": "Lumora", "colour": "black", "city": 5}'
        answers["o04"] = '{"brand": "Verdano", "colour": "blue", "city": "Quillfield"}'
        done = self.report("extraction.py", {name: [{"text": text}] for name, text in answers.items()})
        self.assertEqual(done.returncode, 0)
        n = len(offers)
        self.assertEqual(done.stderr, f"{n - 3} of {n} answers are objects with these fields; right: "
                                      f"brand {n - 3}, colour {n - 4}, city {n - 3}\n")
        told = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(told[0], {"id": "o01", "brand": None, "colour": None, "city": None})
        self.assertEqual(told[4], {k: offers[4][k] for k in ("id", "brand", "colour", "city")})

    @unittest.skipUnless(REAL_MODEL, "FG_SMOLLM2_GGUF does not name the demo's model")
    def test_the_demos_model_writes_objects(self):
        said, _ = self.run_example("extraction", REAL_MODEL, "--quiet")
        found = {row["id"]: row for row in map(json.loads, said.splitlines())}
        self.assertGreaterEqual(sum(row["brand"] is not None for row in found.values()), 20)
        self.assertGreaterEqual(sum(found[o["id"]]["colour"] == o["colour"] for o in table("offers.csv")), 18)


class Evaluation(Examples):
    def test_a_choice_is_scored_by_its_own_tokens(self):
        said, folder = self.run_example("evaluation", self.tiny_model())
        *told, figures, perplexity = map(json.loads, said.splitlines())
        self.assertEqual((figures["questions"], figures["answered"]), (20, 20))
        self.assertGreater(perplexity["perplexity"], 1)
        asked = table("questions.csv")
        for line, answer, question in zip(told, read_rows(os.path.join(folder, "out.jsonl")), asked):
            # a letter is a token, so that a choice is the last of them, with the space before it
            sums = [sum(choice["logprobs"]["token_logprobs"][-len(question[letter]) - 1:])
                    for letter, choice in zip("abcd", answer["response"]["body"]["choices"])]
            for is_, wanted in zip(line["logprobs"], sums):
                self.assertAlmostEqual(is_, wanted, places=3)
            self.assertEqual(line["chosen"], "abcd"[sums.index(max(sums))])
        self.assertEqual(figures["acc"], sum(line["chosen"] == q["answer"] for line, q in zip(told, asked)) / 20)

    def test_accuracy_goes_by_the_sum_and_by_the_sum_for_each_byte(self):
        answers = {}
        for request, question in zip(self.requests("evaluation.py"), table("questions.csv")):
            prompts = dict(zip("abcd", request["body"]["prompt"]))
            right = question["answer"] if question["id"] != "q20" else "a"
            answers[question["id"]] = [
                {"index": i, "logprobs": {"token_logprobs": [None, -9.0, -1.0 if letter == right else -20.0 - i],
                                          "text_offset": [0, 4, len(prompt) - len(question[letter]) - 1]}}
                for i, (letter, prompt) in enumerate(prompts.items())]
        done = self.report("evaluation.py", answers)
        figures = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual((figures["acc"], figures["acc_norm"], figures["chance"]), (0.95, 0.95, 0.25))

    @unittest.skipUnless(REAL_MODEL, "FG_SMOLLM2_GGUF does not name the demo's model")
    def test_the_demos_model_is_better_than_chance(self):
        said, _ = self.run_example("evaluation", REAL_MODEL, "--quiet")
        *_, figures, perplexity = map(json.loads, said.splitlines())
        self.assertGreaterEqual(min(figures["acc"], figures["acc_norm"]), 0.5)
        self.assertTrue(20 < perplexity["perplexity"] < 40, perplexity)


class Shop(Examples):
    """The demo's own job, with its answers made up: right ones are all right."""

    def test_right_answers_count_as_right(self):
        offers = {offer["id"]: offer for offer in table("offers.csv")}
        pairs = {pair["id"]: pair for pair in table("pairs.csv")}
        answers = {}
        for request in self.requests("shop.py"):
            task, name = request["custom_id"].split("-")
            if task == "same":
                value = -0.5 if pairs[name]["same"] == "Yes" else -4.0
                end = len(request["body"]["prompt"]) - len(pairs[name]["b"]) - 1
                answers[request["custom_id"]] = [{"logprobs": {"token_logprobs": [None, -30.0, value],
                                                               "text_offset": [0, 1, end]}}]
            else:
                answers[request["custom_id"]] = [{"text": f" {offers[name][task]}."}]
        done = self.report("shop.py", answers)
        self.assertEqual(done.returncode, 0, done.stderr)
        for task in ("brand", "colour", "city", "same"):
            self.assertRegex(done.stdout, rf"(?m)^{task} .* 100% ")

    def test_wrong_answers_do_not(self):
        wrong = {"text": "none", "logprobs": {"token_logprobs": [-1.0], "text_offset": [1 << 20]}}
        done = self.report("shop.py", {request["custom_id"]: [wrong] for request in self.requests("shop.py")})
        for task in ("brand", "colour", "city"):
            self.assertRegex(done.stdout, rf"(?m)^{task} .* 0% ")


if __name__ == "__main__":
    harness.main()
