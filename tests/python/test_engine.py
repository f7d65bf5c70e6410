"""flexgen.Engine: prompts and files through an engine, and what comes of errors and interruptions."""
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading

from package import PackageCase, ROOT, SOURCE
import flexgen
import harness
from harness import MODEL, golden, read_rows, row, write_rows

GREEDY = dict(max_new_tokens=16, ignore_eos=True)


# The tiny model knows more ids than its tokenizer has texts for: these keep it to ids 3 to 258.
SPOKEN = dict(GREEDY, logit_bias={i: -100 for i in [0, 1, 2, *range(259, 333)]})


def oracle():
    return golden()["prompts"]


def process_is_there(pid):
    """Alive, or ended and not waited for."""
    return os.path.exists(f"/proc/{pid}")


class Prompts(PackageCase):
    def test_results_are_the_oracles_in_the_order_of_the_prompts(self):
        results = self.engine().generate([p["ids"] for p in oracle()], **GREEDY)
        self.assertEqual([r.token_ids for r in results], [p["greedy"][:16] for p in oracle()])
        self.assertEqual([r.prompt_token_ids for r in results], [p["ids"] for p in oracle()])

    def test_text_in_and_text_out(self):
        prompt = min((p for p in oracle() if len(p["ids"]) > 4), key=lambda p: len(p["ids"]))
        engine, text = self.text_engine(prompt["ids"])
        result = engine.generate(text, add_special_tokens=False, echo=True, max_tokens=0)[0]
        self.assertEqual((result.prompt, result.text, result.prompt_token_ids), (text, text, prompt["ids"]))
        spoken = engine.generate(text, **SPOKEN)[0]
        self.assertEqual(spoken.text, engine.detokenize([spoken.token_ids])[0])

    def test_one_prompt_is_a_list_of_one(self):
        engine = self.engine()
        one = engine.generate([5, 6, 7], **GREEDY)
        self.assertEqual([r.token_ids for r in one], [r.token_ids for r in engine.generate([[5, 6, 7]], **GREEDY)])
        self.assertEqual(len(one), 1)

    def test_no_prompts_are_no_results(self):
        self.assertEqual(self.engine().generate([]), [])

    def test_the_model_stays_open_between_calls(self):
        command = self.script("counted", f'echo "$1" >> {self.path("started")}\nexec {harness.flexgen} "$@"\n')
        engine = self.engine(command=command)
        first, second = (engine.generate([[5, 6, 7]], **GREEDY)[0] for _ in range(2))
        self.assertEqual(first.token_ids, second.token_ids)
        self.assertEqual(self.lines("started"), ["inspect", "batch"])

    def test_usage_choices_and_reasons(self):
        result = self.engine().generate([[5, 6, 7]], n=2, max_tokens=4, do_sample=True, ignore_eos=True)[0]
        self.assertEqual((len(result.choices), result.finish_reason), (2, "length"))
        self.assertEqual((result.usage.prompt_tokens, result.usage.completion_tokens, result.usage.total_tokens),
                         (3, 8, 11))

    def test_logprobs_are_the_oracles(self):
        prompt = max(oracle(), key=lambda p: len(p["ids"]))
        result = self.engine().generate([prompt["ids"]], echo=True, max_tokens=0, logprobs=2)[0]
        self.assertEqual(len(result.logprobs.tokens), len(prompt["ids"]))
        self.assertEqual((result.logprobs.token_logprobs[0], result.logprobs.top_logprobs[0]), (None, None))
        for given, wanted in zip(result.logprobs.token_logprobs[1:], prompt["logprobs"][1:]):
            self.assertAlmostEqual(given, wanted, delta=2e-4)
        self.assertGreaterEqual(max(result.logprobs.top_logprobs[1].values()), result.logprobs.token_logprobs[1])

    def test_chat_fills_the_template(self):
        engine, _ = self.text_engine()
        spoken = "<s>user: Hi</s>assistant: "
        chat = engine.chat("Hi", logprobs=1, **SPOKEN)[0]
        plain = engine.generate(spoken, add_special_tokens=False, logprobs=1, **SPOKEN)[0]
        self.assertEqual((chat.prompt_token_ids, chat.token_ids), (plain.prompt_token_ids, plain.token_ids))
        self.assertEqual((chat.logprobs.tokens, chat.logprobs.token_logprobs),
                         (plain.logprobs.tokens, plain.logprobs.token_logprobs))
        messages = [{"role": "user", "content": "Hi"}]
        self.assertEqual(engine.chat([messages], **SPOKEN)[0].token_ids, chat.token_ids)

    def test_more_goes_both_ways_than_pipes_hold(self):
        prompts = [[3 + i % 300, 4 + i % 200, *range(10, 40)] for i in range(1500)]
        results = self.engine().generate(prompts, max_tokens=1, logprobs=5, echo=True)
        self.assertEqual([r.prompt_token_ids for r in results], prompts)

    def test_calls_of_several_threads_do_not_mix(self):
        engine, found = self.engine(), {}

        def ask(first):
            found[first] = engine.generate([[first, i] for i in range(3, 23)], max_tokens=2)
        threads = [threading.Thread(target=ask, args=(first,)) for first in (11, 12, 13)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for first, results in found.items():
            self.assertEqual([r.prompt_token_ids for r in results], [[first, i] for i in range(3, 23)])
        self.assertEqual(len(found), 3)

    def test_tokens_and_back(self):
        engine, _ = self.text_engine()
        texts = ["Hello", "", "a\nb \"c\"", "\u00e9\U0001f600"]
        ids = engine.tokenize(texts, add_special_tokens=False)
        self.assertEqual(engine.detokenize(ids), texts)
        self.assertEqual(engine.tokenize(["Hello"]), [[1, *ids[0]]])


class FlexGensArguments(PackageCase):
    def tokens(self, **sampling):
        return self.engine().generate([[5, 6, 7]], ignore_eos=True, **sampling)[0].token_ids

    def test_default_is_greedy_and_32_tokens(self):
        self.assertEqual(self.tokens(), self.tokens(max_tokens=32, temperature=0))
        self.assertEqual(len(self.tokens()), 32)

    def test_do_sample_decides_over_temperature(self):
        greedy = self.tokens(max_new_tokens=16)
        self.assertEqual(self.tokens(max_new_tokens=16, do_sample=False, temperature=1.5), greedy)
        sampled = self.tokens(max_new_tokens=16, do_sample=True, seed=3)
        self.assertEqual(sampled, self.tokens(max_new_tokens=16, temperature=1, seed=3))
        self.assertNotEqual(sampled, greedy)
        self.assertNotEqual(sampled, self.tokens(max_new_tokens=16, do_sample=True, temperature=2, seed=3))

    def test_stop_may_be_a_token(self):
        greedy = self.tokens()
        stop = greedy[7]
        cut = self.tokens(stop=stop)
        self.assertEqual(cut, greedy[:greedy.index(stop) + 1])

    def test_stop_may_be_texts_and_tokens(self):
        engine, _ = self.text_engine()
        whole = engine.generate("AB", **SPOKEN)[0]
        text = whole.text[3:5]
        cut = engine.generate("AB", stop=[text, 300], **SPOKEN)[0]
        self.assertEqual((cut.text, cut.choices[0].stop_reason), (whole.text[:whole.text.index(text)], text))

    def test_two_names_of_one_thing_are_refused(self):
        with self.assertRaisesRegex(flexgen.UsageError, "max_new_tokens and max_tokens"):
            self.tokens(max_new_tokens=3, max_tokens=3)


class Names(PackageCase):
    def test_options_are_those_of_the_command(self):
        helped = set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", harness.run("batch", "--help").stdout.decode(), re.M))
        ours = {name.replace("_", "-") for name in flexgen.EngineOptions.__annotations__}
        of_one_job = {"input", "output", "resume", "overwrite", "retry-errors", "shard", "deterministic-ids",
                      "fail-on-row-error"}
        of_the_terminal = {"json", "quiet", "verbose", "no-progress", "color", "help"}
        self.assertEqual(ours, helped - of_one_job - of_the_terminal)

    def test_sampling_arguments_are_the_fields_of_a_row(self):
        with open(os.path.join(ROOT, "docs", "batch.md")) as file:
            table = re.search(r"### Fields of a body\n(.*?)\n\n`model`", file.read(), re.S)[1]
        first_cells = re.findall(r"^\|([^|]*)\|", table, re.M)
        fields = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
        spelt_otherwise = {"prompt", "messages", "max_completion_tokens", "top_logprobs", "return_token_ids"}
        self.assertEqual(set(flexgen.SamplingOptions.__annotations__) - {"max_new_tokens", "do_sample"},
                         fields - spelt_otherwise)

    def test_unknown_names_get_a_suggestion(self):
        with self.assertRaisesRegex(flexgen.UsageError, "did you mean host_memory"):
            self.engine(host_memmory="1G")
        with self.assertRaisesRegex(flexgen.UsageError, "did you mean max_tokens"):
            self.engine().generate([[5]], max_tokns=3)

    def test_options_reach_the_engine(self):
        engine = self.engine(percent=[50, 50, 100, 0, 100, 0], overlap=False, speculation=False, compress_cache=False,
                             deterministic=True, threads=1, max_num_seqs=3, seed=None, stats=self.path("stats.json"))
        engine.generate([[5, 6]], max_tokens=2)
        engine.close()
        with open(self.path("stats.json")) as file:
            stats = json.load(file)
        self.assertEqual((stats["outcome"], stats["policy"]["max_num_seqs"]), ("done", 3))

    def test_arguments_of_the_other_kind_are_refused(self):
        engine, _ = self.text_engine()
        with self.assertRaisesRegex(flexgen.UsageError, "add_generation_prompt goes with chat"):
            engine.generate("a", add_generation_prompt=True)
        with self.assertRaisesRegex(flexgen.UsageError, "echo goes with generate"):
            engine.chat("a", echo=True)


class Errors(PackageCase):
    def test_one_bad_prompt_does_not_lose_the_others(self):
        engine = self.engine()
        with self.assertRaises(flexgen.RequestError) as caught:
            engine.generate([[5], [99999], [7]], max_tokens=2)
        self.assertEqual(caught.exception.index, 1)
        self.assertIn("99999", str(caught.exception))
        self.assertEqual([r.error is None for r in caught.exception.results], [True, False, True])
        kept = engine.generate([[5], [99999], [7]], max_tokens=2, on_error="keep")
        self.assertEqual(kept, caught.exception.results)
        with self.assertRaisesRegex(ValueError, "99999"):
            kept[1].text

    def test_a_prompt_that_is_no_text_does_not_lose_the_others(self):
        engine, _ = self.text_engine()
        results = engine.generate(["\ud800", "A"], on_error="keep", **SPOKEN)
        self.assertEqual([r.error is None for r in results], [False, True])

    def test_an_engine_that_was_killed_between_calls_is_opened_again(self):
        command = self.script("known", f'echo $$ > {self.path("pid")}\nexec {harness.flexgen} "$@"\n')
        engine = self.engine(command=command)
        before = engine.generate([[5, 6, 7]], **GREEDY)
        os.kill(int(self.lines("pid")[0]), signal.SIGKILL)
        os.waitid(os.P_PID, int(self.lines("pid")[0]), os.WEXITED | os.WNOWAIT)
        self.assertEqual(engine.generate([[5, 6, 7]], **GREEDY), before)

    def test_a_value_that_makes_no_sense_is_a_usage_error(self):
        with self.assertRaisesRegex(flexgen.UsageError, "--dtype needs one of"):
            self.engine(dtype="f33").generate([[5]])

    def test_a_failure_is_told_in_the_engines_words(self):
        with self.assertRaisesRegex(flexgen.EngineError, "raise --host-memory") as caught:
            self.engine(host_memory=1000).generate([[5]])
        self.assertEqual(caught.exception.returncode, 1)

    def test_a_missing_model_is_told_at_once(self):
        with self.assertRaisesRegex(flexgen.EngineError, "No such file"):
            self.engine(self.path("nothing"))

    def test_an_unsupported_model_is_told_at_once(self):
        os.mkdir(self.path("odd"))
        with open(os.path.join(MODEL, "config.json")) as file:
            config = json.load(file)
        with open(os.path.join(self.path("odd"), "config.json"), "w") as file:
            json.dump({**config, "model_type": "perceptron"}, file)
        with self.assertRaisesRegex(flexgen.FlexGenError, "perceptron"):
            self.engine(self.path("odd"))

    def test_a_missing_command_is_told(self):
        with self.assertRaisesRegex(flexgen.CommandNotFound, "no program"):
            self.engine(command=self.path("nothing"))

    def test_an_engine_that_dies_is_an_error_and_the_next_call_opens_another(self):
        wanted = self.engine().generate([[5, 6, 7]], **GREEDY)[0].token_ids
        # dies before it has answered, the first time it is to answer
        command = self.script("dying", f'[ "$1" = inspect ] || [ -e {self.path("died")} ] || '
                                       f'{{ touch {self.path("died")}; kill -KILL $$; }}\nexec {harness.flexgen} "$@"\n')
        engine = self.engine(command=command)
        with self.assertRaisesRegex(flexgen.EngineError, "SIGKILL") as caught:
            engine.generate([[5, 6, 7]], **GREEDY)
        self.assertEqual(caught.exception.returncode, -9)
        self.assertEqual(engine.generate([[5, 6, 7]], **GREEDY)[0].token_ids, wanted)

    def test_a_closed_engine_says_so(self):
        engine = self.engine()
        engine.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            engine.generate([[5]])

    def test_with_ends_the_process(self):
        command = self.script("known", f'echo $$ > {self.path("pid")}\nexec {harness.flexgen} "$@"\n')
        with self.engine(command=command) as engine:
            engine.generate([[5]], max_tokens=1)
            pid = self.lines("pid")[0]
            self.assertTrue(process_is_there(pid))
        self.assertFalse(process_is_there(pid))


class Interruption(PackageCase):
    """The engine is a script that says when it wants the signal that Ctrl-C sends, so the moment is certain."""

    def interrupted_engine(self, text):
        command = self.script("slow", f'[ "$1" = inspect ] && exec {harness.flexgen} "$@"\n'
                                      f'echo $$ > {self.path("pid")}\n{text}')

        class Handler(logging.Handler):
            def emit(self, record):
                if record.getMessage() == "now":
                    os.kill(os.getpid(), signal.SIGINT)
        log, handler = logging.getLogger("flexgen"), Handler()
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        return self.engine(command=command)

    def test_ctrl_c_ends_the_engine_that_was_answering(self):
        engine = self.interrupted_engine("read line\necho now >&2\nexec sleep 600\n")
        with self.assertRaises(KeyboardInterrupt):
            engine.generate([[5]], max_tokens=1)
        self.assertFalse(process_is_there(self.lines("pid")[0]))

    def test_ctrl_c_lets_a_batch_end_in_good_order(self):
        engine = self.interrupted_engine(f'trap "echo in good order > {self.path("end")}; exit 130" INT\n'
                                         'echo now >&2\nwhile :; do sleep 0.1; done\n')
        with self.assertRaises(KeyboardInterrupt):
            engine.batch(self.path("in"), self.path("out"))
        self.assertEqual(self.lines("end"), ["in good order"])
        self.assertFalse(process_is_there(self.lines("pid")[0]))


class Batch(PackageCase):
    ROWS = [row("a", prompt=[5], max_tokens=2), row("b", prompt=[99999]), row("c", prompt=[7], max_tokens=2)]

    def test_a_file_is_answered_and_its_errors_are_counted(self):
        write_rows(self.path("in.jsonl"), self.ROWS)
        summary = self.engine().batch(self.path("in.jsonl"), self.path("out.jsonl"))
        self.assertEqual((summary.rows, summary.failed, summary.stats["command"]), (3, 1, "batch"))
        self.assertEqual([r["custom_id"] for r in read_rows(self.path("out.jsonl"))], ["a", "b", "c"])

    def test_what_is_there_is_not_overwritten_unasked(self):
        write_rows(self.path("in.jsonl"), self.ROWS)
        engine = self.engine()
        engine.batch(self.path("in.jsonl"), self.path("out.jsonl"))
        with self.assertRaisesRegex(flexgen.FlexGenError, "--overwrite"):
            engine.batch(self.path("in.jsonl"), self.path("out.jsonl"))
        engine.batch(self.path("in.jsonl"), self.path("out.jsonl"), overwrite=True)

    def test_the_open_model_makes_room_first(self):
        write_rows(self.path("in.jsonl"), self.ROWS)
        command = self.script("known", f'echo $$ >> {self.path("pids")}\nfor pid in $(cat {self.path("pids")}); do\n'
                                       f'[ ! -e /proc/$pid ] || [ $pid = $$ ] || echo $pid >> {self.path("beside")}\n'
                                       f'done\nexec {harness.flexgen} "$@"\n')
        engine = self.engine(command=command)
        before = engine.generate([[5, 6, 7]], **GREEDY)
        engine.batch(self.path("in.jsonl"), self.path("out.jsonl"))
        self.assertEqual(engine.generate([[5, 6, 7]], **GREEDY), before)
        self.assertEqual(len(self.lines("pids")), 4)
        self.assertFalse(os.path.exists(self.path("beside")))

    def test_shards(self):
        write_rows(self.path("in.jsonl"), self.ROWS)
        self.engine().batch(self.path("in.jsonl"), self.path("out.jsonl"), shard=(1, 2))
        self.assertEqual([r["custom_id"] for r in read_rows(self.path("out.jsonl"))], ["b"])


class Package(PackageCase):
    def test_nothing_beyond_the_standard_library_is_imported(self):
        done = subprocess.run([sys.executable, "-S", "-c", "import flexgen"], capture_output=True, text=True,
                              env={"PYTHONPATH": SOURCE})
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_version_is_the_projects(self):
        found = []
        for name, pattern in (("pyproject.toml", r'^version = "([0-9.]+)"'),
                              ("CMakeLists.txt", r"project\(flexgen VERSION ([0-9.]+)")):
            with open(os.path.join(ROOT, name)) as file:
                found.append(re.search(pattern, file.read(), re.M)[1])
        self.assertEqual(found[0], found[1])


if __name__ == "__main__":
    harness.main()
