"""Every command on a tiny model, against the oracle's results and against each other."""
import json
import math
import os
import shutil
import subprocess

import harness
from harness import Case, MODEL, golden, read_rows, row, run, text_model, write_rows

BENCH_KEYS = {"prompt_tokens", "generated_tokens", "prefill_s", "decode_s", "total_s", "prefill_tokens_per_s",
              "decode_tokens_per_s", "generated_tokens_per_s", "peak_memory_bytes", "bytes_read", "policy", "predicted"}
EOS = 2


def prompts():
    return golden()["prompts"]


class Batch(Case):
    def batch(self, rows, *options, model=MODEL, code=0):
        write_rows(self.path("in.jsonl"), rows)
        done = run("batch", model, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--dtype", "f32", *options)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        self.said = done.stderr.decode()
        return read_rows(self.path("out.jsonl")) if os.path.exists(self.path("out.jsonl")) else None

    def bytes(self):
        with open(self.path("out.jsonl"), "rb") as file:
            return file.read()

    def test_rows_come_back_in_order_with_the_oracles_tokens(self):
        oracle = prompts()
        # the longest first, so that it is not the first to finish
        order = sorted(range(len(oracle)), key=lambda i: -len(oracle[i]["ids"]))
        out = self.batch([row(f"r{i}", prompt=oracle[i]["ids"], max_tokens=24, temperature=0, ignore_eos=True,
                              return_token_ids=True, return_tokens_as_token_ids=True) for i in order])
        self.assertEqual([r["custom_id"] for r in out], [f"r{i}" for i in order])
        for i, r in zip(order, out):
            self.assertEqual(r["response"]["body"]["choices"][0]["token_ids"], oracle[i]["greedy"][:24])

    def test_standard_streams(self):
        lines = json.dumps(row("a", prompt=[5, 6, 7], max_tokens=3, temperature=0)) + "\n"
        done = self.succeed("batch", MODEL, "-i", "-", "-o", "-", stdin=lines)
        self.assertEqual(json.loads(done.stdout)["custom_id"], "a")

    def test_bad_rows_are_counted_and_do_not_stop_the_job(self):
        rows = [row("a", prompt=[5], max_tokens=2), "this is no JSON", row("b", prompt=[99999]), row("c", prompt=[7])]
        out = self.batch(rows)
        self.assertEqual([r["custom_id"] for r in out], ["a", None, "b", "c"])
        self.assertIn("4 rows, 2 with errors", self.said)
        self.batch(rows, "--overwrite", "--fail-on-row-error", code=3)

    def test_good_rows_do_not_fail_the_job(self):
        self.batch([row("a", prompt=[5], max_tokens=2)], "--fail-on-row-error")

    def test_shards_are_a_partition(self):
        rows = [row(f"r{i}", prompt=[5 + i], max_tokens=2, temperature=0) for i in range(7)]
        shares = [[r["custom_id"] for r in self.batch(rows, "--overwrite", "--shard", f"{i}/3")] for i in range(3)]
        self.assertEqual(shares, [["r0", "r3", "r6"], ["r1", "r4"], ["r2", "r5"]])

    def test_deterministic_ids_give_the_same_bytes(self):
        rows = [row(f"r{i}", prompt=[5 + i], max_tokens=8, n=2) for i in range(5)]
        self.batch(rows, "--deterministic-ids")
        first = self.bytes()
        self.batch(rows, "--deterministic-ids", "--overwrite")
        self.assertEqual(self.bytes(), first)

    def test_seed_decides_rows_that_bring_none(self):
        rows = [row("own", prompt=[5], max_tokens=16, seed=1, return_token_ids=True, ignore_eos=True),
                row("none", prompt=[5], max_tokens=16, return_token_ids=True, ignore_eos=True)]

        def tokens(seed):
            out = self.batch(rows, "--overwrite", "--seed", str(seed))
            return [r["response"]["body"]["choices"][0]["token_ids"] for r in out]
        one, again, other = tokens(1), tokens(1), tokens(2)
        self.assertEqual(one, again)
        self.assertEqual(one[0], other[0])
        self.assertNotEqual(one[1], other[1])

    def test_output_of_another_job_is_refused_unless_overwritten(self):
        self.batch([row("a", prompt=[5], max_tokens=2)])
        before = self.bytes()
        self.batch([row("b", prompt=[6], max_tokens=2)], code=1)
        self.assertEqual(self.bytes(), before)
        self.batch([row("b", prompt=[6], max_tokens=2)], "--resume", code=1)
        self.assertEqual(self.batch([row("b", prompt=[6], max_tokens=2)], "--overwrite")[0]["custom_id"], "b")

    def test_finished_job_leaves_no_journal(self):
        self.batch([row("a", prompt=[5], max_tokens=2)])
        self.assertFalse(os.path.exists(self.path("out.jsonl.journal")))

    def test_stats_and_trace_are_written(self):
        self.batch([row("a", prompt=[5, 6], max_tokens=4, ignore_eos=True)], "--stats", self.path("stats.json"),
                   "--trace", self.path("trace.json"))
        with open(self.path("stats.json")) as file:
            stats = json.load(file)
        self.assertEqual(stats["outcome"], "done")
        self.assertEqual(stats["rows"], {"done": 1, "failed": 0, "total": 1})
        self.assertEqual((stats["tokens"]["prompt"], stats["tokens"]["generated"]), (2, 4))
        self.assertIsNone(stats["predicted"])
        self.assertLessEqual(stats["tiers"]["host"]["process_peak_bytes"], stats["tiers"]["host"]["peak_bytes"])
        with open(self.path("trace.json")) as file:
            events = json.load(file)
        self.assertIn("compute", {e["name"] for e in events})

    def test_stats_that_cannot_be_written_fail_the_command_not_the_rows(self):
        out = self.batch([row("a", prompt=[5], max_tokens=2)], "--stats", self.path("no/stats.json"), code=1)
        self.assertEqual(len(out), 1)

    def test_json_summary_is_one_object_on_standard_output(self):
        write_rows(self.path("in.jsonl"), [row("a", prompt=[5], max_tokens=2)])
        done = self.succeed("batch", MODEL, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--json")
        self.assertEqual(json.loads(done.stdout)["rows"]["done"], 1)

    def test_quiet_job_says_nothing(self):
        self.batch([row("a", prompt=[5], max_tokens=2)], "--quiet")
        self.assertEqual(self.said, "")

    def test_no_carriage_returns_in_a_log(self):
        self.batch([row("a", prompt=[5], max_tokens=2)])
        self.assertNotIn("\r", self.said)
        self.assertNotIn("\033", self.said)

    def test_small_max_num_seqs_wins_over_the_block_with_a_warning(self):
        self.batch([row("a", prompt=[5], max_tokens=2)], "--gpu-batch-size", "4", "--num-gpu-batches", "2",
                   "--max-num-seqs", "3")
        self.assertIn("warning", self.said)
        self.assertIn("--max-num-seqs", self.said)

    def test_device_memory_is_an_error_on_the_cpu(self):
        self.batch([row("a", prompt=[5])], "--device-memory", "1G", code=2)
        self.assertIn("--device-memory", self.said)

    def test_missing_input_is_told_before_the_model_is_packed(self):
        said = self.fail_with(1, "batch", MODEL, "-i", self.path("none.jsonl"), "-o", self.path("out.jsonl"),
                              "--offload-dir", self.path("untouched"))
        self.assertIn("none.jsonl: cannot read it", said)
        self.assertFalse(os.path.exists(self.path("untouched")))

    def test_job_that_cannot_fit_is_refused_with_numbers(self):
        self.batch([row("a", prompt=[5])], "--host-memory", "1M", code=1)
        self.assertIn("--host-memory", self.said)


class Text(Case):
    """On a model whose tokenizer has one token a byte."""

    def setUp(self):
        super().setUp()
        self.oracle = next(p for p in prompts() if len(p["ids"]) == 40)
        self.model = self.path("model")
        self.prompt = text_model(self.model, self.oracle["ids"])

    def expected_text(self, count):
        """What the oracle's greedy tokens say, up to the end of the text."""
        with open(os.path.join(self.model, "tokenizer.json")) as file:
            token_of = {i: t for t, i in json.load(file)["model"]["vocab"].items()}
        byte_of = {letter: b for b, letter in enumerate(harness.byte_letters())}
        ids = self.oracle["greedy"][:count]
        ids = ids[:ids.index(EOS)] if EOS in ids else ids
        return bytes(byte_of[c] for i in ids for c in token_of.get(i, "")).decode(errors="replace")

    def test_generate_prints_the_oracles_continuation(self):
        done = self.succeed("generate", self.model, "-p", self.prompt, "--max-tokens", "30", "--dtype", "f32")
        # the tokenizer puts <s> in front; the oracle's prompt has none
        plain = self.succeed("generate", self.no_special(), "-p", self.prompt, "--max-tokens", "30", "--dtype", "f32")
        self.assertEqual(plain.stdout.decode(), self.expected_text(30) + "\n")
        self.assertNotEqual(done.stdout, plain.stdout)

    def no_special(self):
        """The same model without a post-processor."""
        folder = self.path("plain")
        shutil.copytree(self.model, folder)
        with open(os.path.join(folder, "tokenizer.json")) as file:
            tokenizer = json.load(file)
        with open(os.path.join(folder, "tokenizer.json"), "w") as file:
            json.dump({**tokenizer, "post_processor": None}, file)
        return folder

    def test_generate_reads_files_and_keeps_the_order_of_prompts(self):
        with open(self.path("prompt"), "w") as file:
            file.write(self.prompt + "\n")
        both = self.succeed("generate", self.model, "-p", "ABC", "-f", self.path("prompt"), "--json", "--max-tokens", "9")
        answers = [json.loads(line) for line in both.stdout.splitlines()]
        self.assertEqual([a["prompt"] for a in answers], ["ABC", self.prompt])
        self.assertEqual([a["prompt_tokens"] for a in answers], [4, 41])
        alone = self.succeed("generate", self.model, "-f", "-", "--max-tokens", "9", stdin=self.prompt)
        self.assertEqual(alone.stdout.decode(), answers[1]["text"] + "\n")

    def test_generate_fills_the_chat_template(self):
        done = self.succeed("generate", self.model, "--chat", "-p", "hi", "--json", "--max-tokens", "2")
        # <s>, "user: hi", </s>, "assistant: "
        self.assertEqual(json.loads(done.stdout)["prompt_tokens"], 1 + 8 + 1 + 11)

    def test_generate_samples_by_its_seed(self):
        def text(seed):
            return self.succeed("generate", self.model, "-p", "A", "--temperature", "1.5", "--seed", seed).stdout
        self.assertEqual(text(3), text(3))
        self.assertNotEqual(text(3), text(4))

    def test_generate_refuses_a_prompt_beyond_the_context(self):
        self.assertIn("prompt 1", self.fail_with(1, "generate", self.model, "-p", "A" * 600))

    def test_eval_is_the_sum_of_the_oracles_log_probabilities(self):
        with open(self.path("text"), "w") as file:
            file.write(self.prompt)
        done = self.succeed("eval", self.model, "--text", self.path("text"), "--dtype", "f32", "--json")
        result = json.loads(done.stdout)
        wanted = sum(self.oracle["logprobs"][1:])
        self.assertEqual(set(result), {"sum_logprob", "scored_tokens", "perplexity"})
        self.assertEqual(result["scored_tokens"], 39)
        self.assertAlmostEqual(result["sum_logprob"], wanted, delta=39 * golden()["tolerance"])
        self.assertAlmostEqual(result["perplexity"], math.exp(-result["sum_logprob"] / 39), delta=1e-6)

    def test_eval_windows_do_not_share_context(self):
        def score(text, *options):
            done = self.succeed("eval", self.model, "--text", "-", "--dtype", "f32", "--json", *options, stdin=text)
            return json.loads(done.stdout)
        parts = [score(self.prompt[a:b]) for a, b in ((0, 16), (16, 32), (32, 40))]
        whole = score(self.prompt, "--window", "16")
        self.assertEqual(whole["scored_tokens"], 15 + 15 + 7)
        self.assertAlmostEqual(whole["sum_logprob"], sum(p["sum_logprob"] for p in parts), places=9)

    def test_eval_leaves_out_a_last_window_of_one_token(self):
        done = self.succeed("eval", self.model, "--text", "-", "--window", "3", "--json", stdin="ABCD")
        self.assertEqual(json.loads(done.stdout)["scored_tokens"], 2)

    def test_eval_of_nothing_is_an_error(self):
        self.assertIn("at least 2", self.fail_with(1, "eval", self.model, "--text", "-", stdin="A"))

    def test_eval_window_beyond_the_context_is_an_error(self):
        self.fail_with(1, "eval", self.model, "--text", "-", "--window", "513", stdin="ABCD")

    def test_tokenize_gives_the_ids_that_the_tokenizer_has(self):
        self.assertEqual(json.loads(self.succeed("tokenize", self.model, stdin=self.prompt).stdout),
                         [1] + self.oracle["ids"])
        plain = self.succeed("tokenize", self.model, "--no-special", stdin=self.prompt)
        self.assertEqual(json.loads(plain.stdout), self.oracle["ids"])

    def test_tokenize_lines_and_back(self):
        texts = ["A", "", "two\nlines", "caf\u00e9 \U0001f600", "\u0000"]
        ids = self.succeed("tokenize", self.model, "--jsonl", stdin="".join(json.dumps(t) + "\n" for t in texts)).stdout
        self.assertEqual(len(ids.splitlines()), len(texts))
        back = self.succeed("tokenize", self.model, "--decode", "--skip-special", stdin=ids.decode()).stdout
        self.assertEqual([json.loads(line) for line in back.splitlines()], texts)

    def test_tokenize_answers_line_by_line(self):
        with subprocess.Popen([harness.flexgen, "tokenize", self.model, "--jsonl"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            for text in ("A", "B"):
                process.stdin.write(json.dumps(text).encode() + b"\n")
                process.stdin.flush()
                self.assertTrue(json.loads(process.stdout.readline()))

    def test_tokenize_needs_no_weights(self):
        for name in ("model.safetensors", "config.json"):
            os.remove(os.path.join(self.model, name))
        self.succeed("tokenize", self.model, stdin="A")

    def test_tokenize_names_the_line_that_is_wrong(self):
        self.assertIn("standard input:2", self.fail_with(1, "tokenize", self.model, "--jsonl", stdin='"a"\nb\n'))
        self.assertIn("standard input:1", self.fail_with(1, "tokenize", self.model, "--decode", stdin='[1, "x"]\n'))
        self.fail_with(1, "tokenize", self.model, "--decode", stdin="[100000]\n")
        self.fail_with(1, "tokenize", self.model, stdin=b"\xff")


class Bench(Case):
    def test_bench_counts_what_it_was_asked_for(self):
        done = self.succeed("bench", MODEL, "--prompt-len", "20", "--gen-len", "5", "--num-prompts", "6", "--json")
        result = json.loads(done.stdout)
        self.assertEqual(set(result), BENCH_KEYS)
        self.assertEqual((result["prompt_tokens"], result["generated_tokens"]), (120, 30))
        self.assertAlmostEqual(result["prefill_s"] + result["decode_s"], result["total_s"], places=6)
        self.assertAlmostEqual(result["generated_tokens_per_s"] * result["total_s"], 30, places=3)
        self.assertAlmostEqual(result["decode_tokens_per_s"] * result["decode_s"], 24, places=3)
        self.assertIsNone(result["predicted"])

    def test_bench_lengths_stay_in_their_range(self):
        result = json.loads(self.succeed("bench", MODEL, "--input-len-range", "3:9", "--gen-len", "1", "--num-prompts",
                                         "50", "--json").stdout)
        self.assertTrue(50 * 3 < result["prompt_tokens"] < 50 * 9)

    def test_bench_runs_the_block_by_default(self):
        result = json.loads(self.succeed("bench", MODEL, "--prompt-len", "4", "--gen-len", "2", "--gpu-batch-size", "3",
                                         "--num-gpu-batches", "2", "--json").stdout)
        self.assertEqual(result["generated_tokens"], 12)

    def test_bench_beyond_the_context_is_an_error(self):
        self.fail_with(1, "bench", MODEL, "--prompt-len", "600", "--gen-len", "1")


class Stores(Case):
    def pack(self):
        done = self.succeed("pack", MODEL, "--store", self.path("stores"))
        return done.stdout.decode().rstrip("\n")

    def test_packed_store_is_a_model(self):
        store = self.pack()
        self.assertEqual(os.path.dirname(store), self.path("stores"))
        rows = [row("a", prompt=[5, 6], max_tokens=8, temperature=0, return_token_ids=True, ignore_eos=True)]
        write_rows(self.path("in.jsonl"), rows)
        tokens = []
        for name, model in (("one", MODEL), ("two", store)):
            self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--dtype", "f32")
            tokens.append(read_rows(self.path(name))[0]["response"]["body"]["choices"][0]["token_ids"])
        self.assertEqual(*tokens)

    def test_packing_twice_reuses_the_store(self):
        store = self.pack()
        before = os.stat(store).st_mtime_ns
        self.assertEqual(self.pack(), store)
        self.assertEqual(os.stat(store).st_mtime_ns, before)

    def test_run_uses_the_packed_store(self):
        store = self.pack()
        self.succeed("bench", MODEL, "--prompt-len", "4", "--gen-len", "1", "--offload-dir", self.path("stores"))
        self.assertEqual(os.listdir(self.path("stores")), [os.path.basename(store)])

    def test_list_verify_clear(self):
        store = self.pack()
        listed = json.loads(self.succeed("store", "list", "--json", "--offload-dir", self.path("stores")).stdout)
        self.assertEqual([e["path"] for e in listed], [store])
        self.assertEqual(listed[0]["bytes"], os.path.getsize(store))
        self.succeed("store", "verify", "--offload-dir", self.path("stores"))
        self.succeed("store", "clear", os.path.basename(store), "--offload-dir", self.path("stores"))
        self.assertEqual(os.listdir(self.path("stores")), [])

    def test_cap_removes_the_oldest_first(self):
        old = self.pack()
        self.succeed("pack", MODEL, "--weight-dtype", "bf16", "--store", self.path("stores"))
        new = next(os.path.join(self.path("stores"), n) for n in os.listdir(self.path("stores"))
                   if n != os.path.basename(old))
        os.utime(old, (1, 1))
        self.succeed("store", "clear", "--cap", os.path.getsize(new), "--offload-dir", self.path("stores"))
        self.assertEqual(os.listdir(self.path("stores")), [os.path.basename(new)])

    def test_corrupted_store_is_found(self):
        store = self.pack()
        with open(store, "r+b") as file:
            file.seek(4096 + 100)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        self.assertIn(os.path.basename(store), self.fail_with(1, "store", "verify", "--offload-dir", self.path("stores")))

    def test_cut_store_is_not_read(self):
        store = self.pack()
        os.truncate(store, os.path.getsize(store) // 2)
        self.fail_with(1, "bench", store, "--prompt-len", "4", "--gen-len", "1")


class Inspect(Case):
    def inspect(self, *arguments):
        return json.loads(self.succeed("inspect", "--json", *arguments).stdout)

    def test_folder(self):
        with open(os.path.join(MODEL, "config.json")) as file:
            config = json.load(file)
        found = self.inspect(MODEL)
        self.assertEqual((found["kind"], found["supported"], found["architecture"]), ("folder", True, "llama"))
        self.assertEqual((found["layers"], found["hidden"], found["vocab"], found["context"]),
                         (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"],
                          config["max_position_embeddings"]))
        self.assertEqual(found["weights"], {"f32": found["parameters"] * 4})
        self.assertEqual((found["tokenizer_size"], found["chat_template"]), (None, False))

    def test_folder_with_a_tokenizer(self):
        text_model(self.path("model"))
        found = self.inspect(self.path("model"))
        self.assertEqual((found["tokenizer_size"], found["chat_template"]), (259, True))

    def test_gguf(self):
        found = self.inspect(os.path.join(harness.ORACLE, "models", "gguf-llama-mixed.gguf"))
        self.assertEqual((found["kind"], found["supported"]), ("file", True))
        self.assertIn("q4_0", found["weights"])

    def test_store(self):
        store = self.succeed("pack", MODEL, "--store", self.folder).stdout.decode().rstrip("\n")
        found = self.inspect(store)
        self.assertEqual((found["kind"], found["supported"]), ("store", True))
        self.assertEqual(found["parameters"], self.inspect(MODEL)["parameters"])

    def test_shape(self):
        found = self.inspect("opt-175b", "--synthetic")
        self.assertEqual((found["kind"], found["layers"], found["hidden"]), ("shape", 96, 12288))
        self.assertTrue(1.70e11 < found["parameters"] < 1.80e11)

    def test_unknown_shape_is_named(self):
        self.assertIn("opt-176b", self.fail_with(1, "inspect", "opt-176b", "--synthetic"))

    def test_unsupported_architecture_is_said_not_failed(self):
        os.mkdir(self.path("model"))
        with open(self.path("model/config.json"), "w") as file:
            json.dump({"model_type": "perceptron", "architectures": ["PerceptronForCausalLM"]}, file)
        found = self.inspect(self.path("model"))
        self.assertEqual(found["supported"], False)
        self.assertIn("perceptron", found["reason"])

    def with_config(self, **keys):
        """The tiny model with other entries in its configuration."""
        shutil.rmtree(self.path("model"), ignore_errors=True)
        shutil.copytree(MODEL, self.path("model"))
        with open(self.path("model/config.json")) as file:
            config = json.load(file)
        with open(self.path("model/config.json"), "w") as file:
            json.dump({**config, **keys}, file)
        return self.path("model")

    def test_all_that_a_configuration_is_refused_for_is_listed(self):
        folder = self.with_config(hidden_act="mish", logit_scale=2, num_experts=8, rope_parameters={"rope_type": "spiral"})
        found = self.inspect(folder)
        self.assertFalse(found["supported"])
        self.assertEqual(len(found["reasons"]), 4)
        for said, word in zip(found["reasons"], ("mish", "logit_scale", "num_experts", "spiral")):
            self.assertIn(word, said)
            self.assertIn("config.json", said)
        self.assertTrue(found["reason"].endswith(found["reasons"][0]))
        said = self.succeed("inspect", folder).stdout.decode()
        for word in ("mish", "logit_scale", "num_experts", "spiral"):
            self.assertIn(word, said)
        self.assertEqual(self.fail_with(1, "pack", folder, "--store", self.folder).count("is not supported"), 1)

    def test_all_tensors_that_are_missing_or_do_not_fit_are_listed(self):
        with open(os.path.join(MODEL, "config.json")) as file:
            config = json.load(file)
        layers = config["num_hidden_layers"]
        found = self.inspect(self.with_config(num_hidden_layers=layers + 1, vocab_size=config["vocab_size"] + 1))
        missing = [said for said in found["reasons"] if f"layers.{layers}." in said and "missing" in said]
        shaped = [said for said in found["reasons"] if "has the shape" in said]
        self.assertEqual((len(missing), len(shaped)), (9, 2))
        self.assertEqual(len(found["reasons"]), 11)
        found = self.inspect(self.with_config(num_hidden_layers=layers + 10))
        self.assertEqual((len(found["reasons"]), found["reasons"][-1]), (33, "and 58 more"))

    def test_types_that_cannot_be_used_are_listed_beside_what_else_is_wrong(self):
        found = self.inspect(os.path.join(harness.ROOT, "tests", "format", "fixtures", "sized.gguf"))
        for word in ("iq2_xxs", "tq1_0", "nvfp4", "llama.block_count is missing", "llama.embedding_length is missing"):
            self.assertEqual(sum(word in said for said in found["reasons"]), 1, word)
        self.assertEqual(found["weights"]["iq2_xxs"], 66)

    def test_a_file_that_cannot_be_read_at_all_is_said_not_failed(self):
        with open(self.path("model.gguf"), "wb") as file:
            file.write(b"GGUF" + b"\xff" * 60)
        found = self.inspect(self.path("model.gguf"))
        self.assertFalse(found["supported"])
        self.assertEqual(found["reasons"], [found["reason"]])
        self.assertIn("GGUF version", found["reason"])
        os.remove(self.path("model.gguf"))
        self.fail_with(1, "inspect", self.path("model.gguf"))

    def test_special_tokens_are_named_with_their_ids(self):
        text_model(self.path("model"))
        found = self.inspect(self.path("model"))
        self.assertEqual(found["special_tokens"], {"bos_token": {"text": "<s>", "id": 1}, "eos_token": {"text": "</s>", "id": 2},
                                                   "unk_token": {"text": "<unk>", "id": 0}})
        with open(os.path.join(MODEL, "generation_config.json")) as file:
            ends = json.load(file)["eos_token_id"]
        self.assertEqual((found["added_tokens"], found["eos_ids"], found["reasons"]), (3, ends, []))
        said = self.succeed("inspect", self.path("model")).stdout.decode()
        self.assertIn('bos 1 "<s>" eos 2 "</s>"', said)

    def test_a_configuration_alone_tells_all_but_the_weights(self):
        path = self.path("some-config.json")
        with open(os.path.join(MODEL, "config.json")) as file:
            config = json.load(file)
        with open(path, "w") as file:
            json.dump(config, file)
        found, whole = self.inspect(path), self.inspect(MODEL)
        self.assertEqual((found["kind"], found["supported"], found["weights"]), ("file", True, None))
        for key in ("architecture", "parameters", "layers", "hidden", "vocab", "context", "kv_bytes_per_token"):
            self.assertEqual(found[key], whole[key])
        self.assertEqual(found["kv_bytes_per_token"], 2 * 2 * config["num_hidden_layers"] * config["hidden_size"] //
                         config["num_attention_heads"] * config["num_key_value_heads"])
        self.assertIn("has no weights", self.fail_with(2, "bench", path, "--prompt-len", "4", "--gen-len", "1"))

    def test_plain_text_names_everything(self):
        text_model(self.path("model"))
        said = self.succeed("inspect", self.path("model")).stdout.decode()
        for label in ("architecture", "parameters", "layers", "context", "weights", "KV cache", "tokenizer", "chat template"):
            self.assertIn(f"\n{label}", said)

    def test_looking_is_cheap(self):
        """The process's own memory: what no budget can be smaller than."""
        _, peak = self.peak_of("inspect", MODEL)
        self.assertLess(peak, 64 << 20)

    def peak_of(self, *arguments):
        child = harness.start(*arguments)
        child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        child.stderr.close()
        return child.returncode, usage.ru_maxrss << 10


if __name__ == "__main__":
    harness.main()
