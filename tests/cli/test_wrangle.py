#!/usr/bin/env python3
"""flexgen wrangle: prompts that are those of pandas and NumPy, tables with answers, and what goes wrong on the way.

The published data sets are compared where FG_WRANGLE_DATA names their folder.
"""
import csv
import hashlib
import json
import os
import signal
import time

import harness
import structured_model
from harness import Case

WRANGLE = os.path.join(harness.ROOT, "tests", "wrangle")
LETTERS = "abcdefghijklmnopqrst"
TEMPLATE = "Q {a} {b}"


def golden(name):
    with open(os.path.join(WRANGLE, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def prompts_of(requests):
    return [json.loads(line)["body"]["prompt"] for line in requests.decode().splitlines()]


def read_table(path, encoding="utf-8"):
    with open(path, newline="", encoding=encoding) as file:
        return list(csv.DictReader(file))


class Prompts(Case):
    def dry(self, *arguments):
        return prompts_of(self.succeed("wrangle", *arguments, "--dry-run", "-o", "-").stdout)

    def test_prompts_are_those_of_pandas(self):
        cases = golden("golden_prompts")
        self.assertGreater(len(cases), 30)
        for case in cases:
            folder = os.path.join(WRANGLE, "fixtures", case["folder"])
            manual = ["--examples", os.path.join(folder, case["manual"])] if "manual" in case else []
            prompts = self.dry("--data-dir", folder, "--dataset", case["dataset"], *case["arguments"], *manual)
            self.assertEqual(prompts, case["prompts"], (case["folder"], case["arguments"]))

    def test_prompts_of_published_data_are_those_of_pandas(self):
        data = os.environ.get("FG_WRANGLE_DATA")
        if not data:
            self.skipTest("FG_WRANGLE_DATA does not name the folder of the data sets")
        for case in golden("data_digests"):
            manual = ["--examples", os.path.join(harness.ROOT, "examples", "wrangling", "manual", case["manual"])] \
                if "manual" in case else []
            prompts = self.dry("--data-dir", os.path.join(data, case["dataset"]), *case["arguments"], *manual)
            self.assertEqual((len(prompts), hashlib.sha256("\0".join(prompts).encode()).hexdigest()),
                             (case["rows"], case["sha256"]), (case["dataset"], case["arguments"]))

    def test_examples_come_from_another_table(self):
        with open(self.path("solved.csv"), "w") as file:
            file.write("a,b,same\n" + "".join(f"x{i},y{i},{'Yes' if i % 3 else 'No'}\n" for i in range(9)))
        with open(self.path("t.csv"), "w") as file:
            file.write("b,a\n2,1\n")
        prompt, = self.dry("-i", self.path("t.csv"), "--template", TEMPLATE, "--examples", self.path("solved.csv"), "--k", "4",
                           "--class-balanced", "--label-column", "same", "--instruction", "Say it.")
        blocks = prompt.split("\n\n")
        self.assertEqual(blocks[-1], "Q 1 2")
        self.assertTrue(blocks[0].startswith("Say it. Q x"))
        self.assertEqual(len(blocks), 5)
        for block in blocks[:-1]:
            number = int(block.removeprefix("Say it. ")[3:].split()[0])
            self.assertTrue(block.endswith(f"Q x{number} y{number} {'Yes' if number % 3 else 'No'}"), block)

    def test_standard_input_is_a_table(self):
        done = self.succeed("wrangle", "-i", "-", "--template", "{a}{{}}", "--dry-run", "-o", "-", "--delimiter", ";",
                            stdin="\ufeffa;b\r\n\"x;y\";2\r\n")
        self.assertEqual(prompts_of(done.stdout), ["x;y{}"])

    def test_requests_are_a_batch_file(self):
        with open(self.path("t.csv"), "w") as file:
            file.write("a\nxyz\n")
        arguments = ["wrangle", "-i", self.path("t.csv"), "--template", "{a}", "--chat", "--max-tokens", "9", "--stop-token", "",
                     "--temperature", "0.5", "--dry-run", "-o", self.path("r.jsonl")]
        self.succeed(*arguments)
        self.assertEqual(harness.read_rows(self.path("r.jsonl")), [
            {"custom_id": "row-0", "method": "POST", "url": "/v1/chat/completions",
             "body": {"messages": [{"role": "user", "content": "xyz"}], "max_tokens": 9, "temperature": 0.5}}])
        self.assertIn("--overwrite replaces it", self.fail_with(1, *arguments))
        # Prompts stay what they are where only the answers may be written.
        for options, body in ((["--answers", "Yes, No way"], {"prompt": "xyz", "max_tokens": 5}),
                              (["--answers", "Yes, No way", "--guided"],
                               {"prompt": "xyz", "max_tokens": 8, "guided_choice": ["Yes", " Yes", "No way", " No way"]})):
            done = self.succeed("wrangle", "-i", self.path("t.csv"), "--template", "{a}", "--dry-run", "-o", "-", *options)
            self.assertEqual(json.loads(done.stdout)["body"], {**body, "temperature": 0, "stop": "\n"})
        self.succeed(*arguments, "--overwrite")


def name_all_ids(model):
    """Gives every id that the tiny model may choose a text."""
    path = os.path.join(model, "tokenizer.json")
    with open(path) as file:
        tokenizer = json.load(file)
    with open(os.path.join(model, "config.json")) as file:
        size = json.load(file)["vocab_size"]
    vocab = tokenizer["model"]["vocab"]
    vocab.update({f"w{i}": i for i in set(range(size)) - set(vocab.values())})
    with open(path, "w") as file:
        json.dump(tokenizer, file)


class Tables(Case):
    def setUp(self):
        super().setUp()
        self.model = self.path("model")
        harness.text_model(self.model)
        name_all_ids(self.model)
        self.table, self.out = self.path("t.csv"), self.path("out.csv")

    def write(self, text, encoding="utf-8"):
        with open(self.table, "wb") as file:
            file.write(text.encode(encoding))

    def command(self, *options):
        return ["wrangle", self.model, "-i", self.table, "-o", self.out, "--template", TEMPLATE, "--dtype", "f32", *options]

    def rows(self, count):
        return [f"{LETTERS[i % 20]}{i},{LETTERS[(i * 7) % 20]}" for i in range(count)]

    def answers(self, prompts, **body):
        """What a batch of the same prompts answers."""
        source, target = self.path("in.jsonl"), self.path("batch.jsonl")
        harness.write_rows(source, [harness.row(f"{i}", prompt=prompt, temperature=0, stop="\n", **body)
                                    for i, prompt in enumerate(prompts)])
        self.succeed("batch", self.model, "-i", source, "-o", target, "--dtype", "f32", "--quiet")
        return [row["response"]["body"]["choices"][0]["text"] for row in harness.read_rows(target)]

    def test_answers_stand_beside_the_users_own_bytes(self):
        rows = ['"say ""x""\ny", 5"', "b,", '"c,d",z']
        self.write("\ufeff\"a\",b\r\n\r\n" + "\r\n".join(rows))
        self.succeed(*self.command("--max-tokens", "4", "--out-column", "word", "--text-column", "text"))
        expected = self.answers(['Q say "x"\ny  5"', "Q b", "Q c,d z"], max_tokens=4)
        with open(self.out, "rb") as file:
            written = file.read()
        self.assertTrue(written.startswith(b"\xef\xbb\xbf\"a\",b,word,text\r\n\r\n\"say \"\"x\"\"\ny\", 5\","), written)
        table = read_table(self.out, "utf-8-sig")
        self.assertEqual([row["text"] for row in table], expected)
        self.assertEqual([row["word"] for row in table], [text.strip() for text in expected])
        self.assertEqual(sorted(os.listdir(self.folder)), ["batch.jsonl", "in.jsonl", "model", "out.csv", "t.csv"])

    def test_answers_that_fit_none_are_counted(self):
        self.write("a,b\nx,y\nz,w\n")
        said = self.succeed(*self.command("--answers", "Yes,No", "--no-progress")).stderr.decode()
        self.assertIn("2 of 2 rows answered with none of --answers", said)
        self.assertEqual([row["answer"] for row in read_table(self.out)], ["", ""])

    # A model of random weights, which says none of the answers by itself.
    def test_guided_rows_have_one_of_the_answers(self):
        model = structured_model.write(self.path("guided"), "smollm")
        answers = ["Yes", "No", "Not \u201csure\u201d", "Nothing"]
        self.write("a,b\n" + "".join(f"{row}\n" for row in self.rows(40)))
        command = ["wrangle", model, "-i", self.table, "-o", self.out, "--template", TEMPLATE, "--answers", ",".join(answers),
                   "--temperature", "1", "--text-column", "text", "--json", "--no-progress"]
        self.assertEqual(json.loads(self.succeed(*command, "--guided").stdout)["unmatched"], 0)
        table = read_table(self.out)
        self.assertEqual(len(table), 40)
        for row in table:
            self.assertIn(row["answer"], answers)
            self.assertEqual(row["text"].removeprefix(" "), row["answer"])
        self.assertGreater(len({row["answer"] for row in table}), 1)
        self.assertGreater(json.loads(self.succeed(*command, "--overwrite").stdout)["unmatched"], 30)

    def test_metrics_of_labelled_rows(self):
        self.write("a,b,label\nx,y,q\nz,w,Yes\nu,v,No\n")
        first = self.answers(["Q x y"], max_tokens=3)[0].strip()
        self.write(f"a,b,label\nx,y,\"{first.replace(chr(34), chr(34) * 2)}\"\nz,w,Yes\nu,v,No\n")
        done = self.succeed(*self.command("--label-column", "label", "--max-tokens", "3", "--metrics", self.path("m.json"), "--json"))
        printed = json.loads(done.stdout)
        with open(self.path("m.json")) as file:
            self.assertAlmostEqual(json.load(file)["metrics"]["accuracy"], 1 / 3)
        self.assertEqual(printed["task"], "template")
        self.assertEqual(printed["rows"], 3)
        self.assertAlmostEqual(printed["metrics"]["accuracy"], 1 / 3)
        self.assertEqual(printed["metrics"]["f1"], 0)
        self.assertGreater(printed["rows_per_s"], 0)

    def test_data_set_becomes_a_table_with_predictions(self):
        case = next(c for c in golden("golden_prompts") if c["folder"] == "schema" and "--k" in c["arguments"])
        folder = os.path.join(WRANGLE, "fixtures", "schema")
        done = self.succeed("wrangle", self.model, "--data-dir", folder, "--dataset", "Synthea", *case["arguments"], "-o", self.out,
                            "--dtype", "f32", "--json")
        table = read_table(self.out)
        texts = self.answers(case["prompts"], max_tokens=3)
        self.assertEqual([row["prediction"] for row in table], [text.strip() for text in texts])
        self.assertEqual([row["label"] for row in table], case["labels"])
        right = [text.strip().lower().startswith(label.lower()) for text, label in zip(texts, case["labels"])]
        self.assertEqual([row["correct"] for row in table], [str(int(r)) for r in right])
        metrics = json.loads(done.stdout)
        self.assertEqual((metrics["task"], metrics["dataset"], metrics["split"]), ("schema_matching", "Synthea", "test"))
        self.assertEqual(metrics["metrics"]["right"], sum(right))

    def test_latin_1_table_stays_latin_1(self):
        self.write("a,b\ncafé,ñ\n", "latin-1")
        self.succeed(*self.command("--max-tokens", "2"))
        with open(self.out, "rb") as file:
            self.assertTrue(file.read().startswith(b"a,b,answer\ncaf\xe9,\xf1,"))

    def test_table_without_rows(self):
        self.write("a,b\n")
        self.succeed(*self.command())
        with open(self.out) as file:
            self.assertEqual(file.read(), "a,b,answer\n")

    def test_finished_table_is_not_overwritten_unasked(self):
        self.write("a,b\nx,y\n")
        self.succeed(*self.command("--max-tokens", "1"))
        self.assertIn("it exists and is finished", self.fail_with(1, *self.command("--max-tokens", "1")))
        self.succeed(*self.command("--max-tokens", "1", "--overwrite"))

    def test_rows_that_fail_are_kept_for_another_try(self):
        self.write("a,b\nx,y\n" + "x" * 5000 + ",y\n")
        said = self.fail_with(3, *self.command("--max-tokens", "2", "--error-column", "why", "--fail-on-row-error"))
        self.assertIn("1 rows have no answer, the first: row 2: ", said)
        table = read_table(self.out)
        self.assertEqual([bool(row["why"]) for row in table], [False, True])
        self.assertEqual(table[1]["answer"], "")
        self.assertTrue(os.path.exists(self.out + ".answers"))
        again = self.succeed(*self.command("--max-tokens", "2", "--error-column", "why", "--retry-errors")).stderr.decode()
        self.assertIn("1 rows have no answer", again)
        self.assertEqual(read_table(self.out), table)

    def test_killed_run_goes_on_where_it_was(self):
        self.write("a,b\n" + "".join(row + "\n" for row in self.rows(400)))
        options = ["--max-tokens", "40", "--stop-token", "", "--max-num-seqs", "4", "--threads", "1", "--no-progress"]
        self.succeed(*self.command(*options))
        with open(self.out, "rb") as file:
            whole = file.read()
        os.remove(self.out)
        killed = 0
        for how in (signal.SIGKILL, signal.SIGTERM):
            process = harness.start(*self.command(*options))
            # Until some rows are safe, whatever the time that takes.
            while process.poll() is None and lines_in(self.out + ".answers") < 20 * (killed + 1):
                time.sleep(0.01)
            process.send_signal(how)
            process.communicate()
            killed += process.returncode == -how
            self.assertFalse(os.path.exists(self.out) and process.returncode == -how)
        self.assertEqual(killed, 2)
        before = lines_in(self.out + ".answers")
        self.assertGreaterEqual(before, 20)
        done = self.succeed(*self.command(*options, "--resume", "--json"))
        with open(self.out, "rb") as file:
            self.assertEqual(file.read(), whole)
        figures = json.loads(done.stdout)
        self.assertEqual(figures["rows"], 400)
        self.assertLess(figures["generated_tokens"], 400 * 40)
        self.assertFalse(os.path.exists(self.out + ".answers"))

    def test_changed_table_is_another_job(self):
        self.write("a,b\n" + "x" * 5000 + ",y\n")
        self.succeed(*self.command("--max-tokens", "2"))
        self.write("a,b\nother,y\n")
        self.assertIn("another job (input differs)", self.fail_with(1, *self.command("--max-tokens", "2")))

    def test_full_disk_is_said_and_nothing_is_lost(self):
        with harness.small_disk("200k") as folder:
            if not folder:
                self.skipTest("a small disk cannot be mounted")
            self.write("a,b\n" + "".join(f"{'x' * 900},{i}\n" for i in range(400)))
            self.out = os.path.join(folder, "out.csv")
            said = self.fail_with(1, *self.command("--max-tokens", "1"))
            self.assertIn("No space left on device", said)
            self.assertFalse(os.path.exists(self.out))


def lines_in(path):
    try:
        with open(path, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


class Refused(Case):
    def setUp(self):
        super().setUp()
        self.table = self.path("t.csv")
        with open(self.table, "w") as file:
            file.write("a,b,a\n1,2,3\n")

    def say(self, code, *arguments):
        said = self.fail_with(code, "wrangle", *arguments)
        self.assertEqual(said.count("\n"), 1, said)
        return said

    def ask(self, code, *arguments, model=("model",)):
        return self.say(code, *model, "-i", self.table, "-o", self.path("o.csv"), *arguments)

    def test_options_that_do_not_go_together(self):
        for arguments, why in (
                (["m"], "either --template"),
                (["m", "--template", "x", "--data-dir", "d"], "either --template"),
                (["m", "--template", "x"], "-o OUT.csv is missing"),
                (["m", "--template", "x", "-o", "o"], "-i TABLE.csv is missing"),
                (["m", "--template", "x", "-o", "-", "-i", "t"], "-o must be a file"),
                (["--template", "x", "-o", "o", "-i", "t"], "MODEL is missing"),
                (["m", "n", "--template", "x", "-o", "o", "-i", "t"], "'n' is one too many"),
                (["m", "--data-dir", "d", "-o", "o", "-i", "t"], "-i goes with --template"),
                (["m", "--data-dir", "d", "-o", "o", "--answers", "a"], "--answers goes with --template"),
                (["m", "--data-dir", "d", "-o", "o", "--sample-method", "manual"], "needs --examples FILE.json"),
                (["m", "--data-dir", "d", "-o", "o", "--examples", "e"], "--sample-method manual"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--examples", "e"], "--examples needs --label-column"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--k", "3"], "--k goes with --examples"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--num-run", "3"], "--num-run goes with --data-dir"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--answers", "a,,b"], "--answers: an empty answer"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--guided"], "--guided goes with --answers"),
                (["m", "--data-dir", "d", "-o", "o", "--guided"], "--guided goes with --answers"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--delimiter", "ab"], "--delimiter needs one character"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--temperature", "3"], "--temperature needs"),
                (["m", "--template", "x", "-o", "o", "-i", "t", "--resume", "--overwrite"], "exclude each other")):
            self.assertIn(why, self.say(2, *arguments))

    def test_table_is_looked_at_before_a_model(self):
        self.assertIn("there is no column 'x'; the columns are a, b, a", self.ask(1, "--template", "{x}"))
        self.assertIn("2 columns are named 'a'", self.ask(1, "--template", "{a}"))
        self.assertIn("a brace without its partner", self.ask(1, "--template", "{b"))
        self.assertIn("it has a column 'b' already", self.ask(1, "--template", "{b}", "--out-column", "b"))
        self.assertIn("there is no column 'z'", self.ask(1, "--template", "{b}", "--label-column", "z"))
        self.ask(1, "--template", "{x}", "--dry-run", model=())
        self.assertEqual(os.listdir(self.folder), ["t.csv"])
        with open(self.table, "a") as file:
            file.write("4,5\n")
        self.assertIn("t.csv: line 3: 2 cells, the header has 3 columns", self.ask(1, "--template", "{b}"))
        self.table = self.path("none.csv")
        self.assertIn("none.csv: cannot open: No such file", self.ask(1, "--template", "{b}"))

    def test_output_must_be_an_ordinary_file(self):
        self.assertIn("no ordinary file", self.say(1, "m", "-i", self.table, "--template", "{b}", "-o", "/dev/null"))

    def test_unknown_data_sets_and_missing_files(self):
        self.assertIn("there is no data set 'none'; --dataset takes Fodors-Zagats, Beer",
                      self.say(1, "m", "--data-dir", "/tmp/none/", "-o", self.path("o.csv")))
        self.assertIn("there is no test set for Beer here",
                      self.say(1, "m", "--data-dir", self.folder, "--dataset", "Beer", "--k", "0", "-o", self.path("o.csv")))

    def test_manual_examples_without_the_rows_key(self):
        with open(self.path("m.json"), "w") as file:
            json.dump({"by": "venue", "examples": {"vldb": "x"}}, file)
        folder = os.path.join(WRANGLE, "fixtures", "joined")
        self.assertIn("there are no examples for venue '",
                      self.say(1, "--data-dir", folder, "--dataset", "DBLP-GoogleScholar", "--sample-method", "manual", "--examples",
                               self.path("m.json"), "--dry-run", "-o", "-"))


if __name__ == "__main__":
    harness.main()
