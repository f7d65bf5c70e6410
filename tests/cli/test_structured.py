"""Answers of a form: always of it, whatever the tokenizer and the way to draw; the tokens that a mask alone gives; the
same whoever else is there, however the tokens come to be computed."""
import json
import os
import re

import harness
import structured_model
import wide_model
from harness import Case, read_rows, row, write_rows

TOKENIZERS = ("smollm", "llama3", "llama2", "gemma", "gpt2", "unigram_bytes", "spm_llama", "qwen2")
EXACT = ("--dtype", "f32")
SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["name", "age", "share", "tags", "next"],
    "properties": {
        "name": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "minimum": 3, "maximum": 120},
        "share": {"type": "number", "minimum": 0, "maximum": 1}, "when": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"enum": ["a", "long tag", "long"]}, "maxItems": 3},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}
CHOICES = ["Yes", "No", "Yes, of course", "Non"]
REGEX = r"[A-Z][a-zé]{2,6}( [0-9]{1,3}){0,2}\."


def as_schema(schema):
    return {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": schema}}


def satisfies(value):
    """SCHEMA, by hand."""
    keys = [k for k in SCHEMA["properties"] if k in value]
    return (list(value) == keys and set(SCHEMA["required"]) <= set(keys) and isinstance(value["name"], str)
            and len(value["name"]) <= 9 and isinstance(value["age"], int) and 3 <= value["age"] <= 120
            and 0 <= value["share"] <= 1 and re.fullmatch(r"\d{4}-\d\d-\d\d", value.get("when", "2000-01-01"))
            and len(value["tags"]) <= 3 and set(value["tags"]) <= {"a", "long tag", "long"}
            and (value["next"] is None or satisfies(value["next"])))


FORMS = {
    "choice": ({"guided_choice": CHOICES}, lambda text: text in CHOICES),
    "regex": ({"guided_regex": REGEX}, lambda text: re.fullmatch(REGEX, text)),
    "schema": ({"response_format": as_schema(SCHEMA)}, lambda text: satisfies(json.loads(text))),
    "object": ({"response_format": {"type": "json_object"}}, lambda text: isinstance(json.loads(text), dict)),
    "outputs": ({"structured_outputs": {"json": {"type": "array", "items": {"type": "integer"}, "minItems": 2}}},
                lambda text: len(json.loads(text)) >= 2),
}


def rows(prompts=6, **more):
    """Every form drawn in every way."""
    draws = [{}, {"temperature": 0}, {"temperature": 0.7, "top_p": 0.8, "seed": 4}, {"top_k": 3, "presence_penalty": 0.5},
             {"logprobs": 2}, {"temperature": 0, "logprobs": 0, "n": 2}]
    for name, (body, _) in FORMS.items():
        for i in range(prompts):
            yield row(f"{name}-{i}", prompt=[40 + 3 * k * (i + 1) % 200 for k in range(5 + 7 * i)], max_tokens=400,
                      return_token_ids=True, **body, **draws[i % len(draws)], **more)


class Structured(Case):
    def batch(self, model, *options, name="out.jsonl"):
        """The rows' bodies, and the figures."""
        self.succeed("batch", model, "-i", self.path("in.jsonl"), "-o", self.path(name), "--offload-dir",
                     self.path("stores"), "--deterministic-ids", "--quiet", "--overwrite", "--stats",
                     self.path("stats.json"), *options)
        with open(self.path("stats.json")) as file:
            figures = json.load(file)
        return {r["custom_id"]: r["response"]["body"] for r in read_rows(self.path(name))}, figures["tokens"]

    def assert_same(self, some, others, what=None):
        """The answers; how much of a prompt was cached may differ."""
        self.assertTrue({k: b["choices"] for k, b in some.items()} == {k: b["choices"] for k, b in others.items()}, what)

    def check_forms(self, bodies, what):
        """Each answer is of its form or says that it is cut; returns how many are of it."""
        whole = 0
        for custom_id, body in bodies.items():
            self.assertIn("choices", body, f"{what} {custom_id}: {body}")
            for choice in body["choices"]:
                self.assertIn(choice["finish_reason"], ("stop", "length"))
                if choice["finish_reason"] == "length":
                    self.assertEqual(len(choice["token_ids"]), 400)
                    continue
                self.assertTrue(FORMS[custom_id.split("-")[0]][1](choice["text"]), f"{what} {custom_id}: {choice['text']}")
                whole += 1
        return whole

    def test_answers_have_their_form_with_every_tokenizer(self):
        write_rows(self.path("in.jsonl"), rows())
        for tokenizer in TOKENIZERS:
            model = structured_model.write(self.path(tokenizer), tokenizer)
            bodies, tokens = self.batch(model)
            self.assertGreater(self.check_forms(bodies, tokenizer), 20, tokenizer)
            self.assertGreater(tokens["forced"], 100, tokenizer)

    # Nobody can tell from a row how its tokens came to be computed.
    def test_everything_gives_the_same(self):
        model = structured_model.write(self.path("model"), "llama3")
        write_rows(self.path("in.jsonl"), rows())
        plain, _ = self.batch(model, *EXACT)
        for options in (("--speculation", "false"), ("--num-speculative-tokens", 7), ("--max-num-batched-tokens", 5, "--max-num-seqs", 3),
                        ("--max-num-seqs", 1), ("--prefix-sharing", "false"), ("--percent", 100, 0, 0, 0, 100, 0)):
            bodies, _ = self.batch(model, *EXACT, *options)
            self.assert_same(bodies, plain, options)
        fake = ("--device", "fake", "--device-memory", "64M")
        plain, _ = self.batch(model, *EXACT, *fake)
        for options in (("--max-num-batched-tokens", 5, "--max-num-seqs", 3), ("--percent", 100, 0, 15, 20, 100, 0)):
            bodies, _ = self.batch(model, *EXACT, *fake, *options)
            self.assert_same(bodies, plain, options)

    def test_few_pages_give_the_same(self):
        model = structured_model.write(self.path("model"), "llama3")
        write_rows(self.path("in.jsonl"), rows(12))
        plain, _ = self.batch(model, *EXACT)
        with open(self.path("policy.json"), "w") as file:
            json.dump({"kv_device_pages": 18, "kv_disk_pages": 0}, file)
        bodies, tokens = self.batch(model, *EXACT, "--policy", self.path("policy.json"), "--max-num-seqs", 8, "--max-model-len", 500)
        self.assert_same(bodies, plain)
        self.assertGreater(tokens["preemptions"], 0)

    # A set of single tokens is what a bias on all others leaves.
    def test_a_mask_gives_what_a_bias_gives(self):
        model = self.path("model")
        text = harness.text_model(model, harness.golden()["prompts"][0]["ids"][:6])
        with open(os.path.join(model, "tokenizer.json")) as file:
            ids = json.load(file)["model"]["vocab"]
        with open(os.path.join(model, "config.json")) as file:
            others = set(range(json.load(file)["vocab_size"])) - {ids[c] for c in "abcXYZ"}
        ways = [{"temperature": 0}, {}, {"temperature": 0.5, "top_p": 0.7}, {"top_k": 2}, {"frequency_penalty": 1.5},
                {"min_p": 0.3}, {"logprobs": 3}, {"temperature": 0, "logprobs": 3}]
        asked = []
        for i, way in enumerate(ways * 3):
            same = {"prompt": text[i % 5:], "seed": i, "max_tokens": 24, "return_token_ids": True, **way}
            asked.append(row(f"mask-{i}", guided_regex="[a-cXYZ]{24}", **same))
            asked.append(row(f"bias-{i}", logit_bias={str(id): -100 for id in others}, ignore_eos=True, **same))
        write_rows(self.path("in.jsonl"), asked)
        bodies, _ = self.batch(model, *EXACT)
        for i in range(len(ways) * 3):
            mask, bias = (bodies[f"{kind}-{i}"]["choices"][0] for kind in ("mask", "bias"))
            self.assertEqual(len(mask["token_ids"]), 24)
            self.assertEqual((mask["token_ids"], mask["logprobs"]), (bias["token_ids"], bias["logprobs"]), ways[i % len(ways)])

    # The model has seen every token of an answer as if it had been the prompt's, forced or not.
    def test_logprobs_are_those_of_the_text(self):
        model = structured_model.write(self.path("model"), "smollm")
        asked = [row(f"{name}-{i}", prompt=[50 + i, 60], max_tokens=200, seed=i, logprobs=2, return_token_ids=True, **body)
                 for name, (body, _) in FORMS.items() for i in range(3)]
        asked.append(row("forced", prompt=[70], max_tokens=200, logprobs=2, return_token_ids=True,
                         guided_choice=["There is no other answer than this one."]))
        write_rows(self.path("in.jsonl"), asked)
        bodies, tokens = self.batch(model, *EXACT)
        self.assertGreater(tokens["forced"], 50)
        without = [row(r["custom_id"], **{k: v for k, v in r["body"].items() if k not in ("model", "logprobs")}) for r in asked]
        write_rows(self.path("in.jsonl"), without)
        plain, _ = self.batch(model, *EXACT)
        again = []
        for r in asked:
            choice = bodies[r["custom_id"]]["choices"][0]
            self.assertEqual(plain[r["custom_id"]]["choices"][0]["token_ids"], choice["token_ids"])
            ids = [i for i in choice["token_ids"] if i != structured_model.EOS]  # which has no text to be echoed
            again.append(row(r["custom_id"], prompt=r["body"]["prompt"] + ids, max_tokens=0, echo=True, logprobs=2))
        write_rows(self.path("in.jsonl"), again)
        scored, _ = self.batch(model, *EXACT)
        for r in asked:
            said, echo = (b[r["custom_id"]]["choices"][0]["logprobs"]["token_logprobs"] for b in (bodies, scored))
            beyond = echo[len(r["body"]["prompt"]):]
            self.assertGreater(len(beyond), 0)
            self.assertEqual(said[:len(beyond)], beyond, r["custom_id"])

    # Texts that begin alike share pages, but not what each has to be told.
    def test_answers_that_are_forced_share_and_are_told(self):
        model = structured_model.write(self.path("model"), "smollm")
        text = "There is no other answer than this one, however long it may be, and whoever asks for it."
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=[60, 61, 62] * 9, max_tokens=200, n=3, logprobs=1 if i % 3 else None,
                                               echo=i % 3 == 2, return_token_ids=True, guided_choice=[text + " A", text + " B"])
                                           for i in range(6)])
        alone, tokens = self.batch(model, *EXACT, "--prefix-sharing", "false")
        self.assertEqual(tokens["prompt_shared"], 0)
        shared, tokens = self.batch(model, *EXACT)
        self.assertGreater(tokens["prompt_shared"], 0)
        self.assert_same(shared, alone)
        for i, body in enumerate(shared.values()):
            for choice in body["choices"]:
                self.assertEqual(choice["finish_reason"], "stop")
                said = len(choice["token_ids"]) + (27 if i % 3 == 2 else 0)
                self.assertEqual(said, len(choice["logprobs"]["tokens"]) if i % 3 else said)

    # A vocabulary without single bytes has no snowman; the others go on.
    def test_what_the_vocabulary_cannot_say_is_an_error(self):
        model = structured_model.write(self.path("model"), "t5")
        write_rows(self.path("in.jsonl"), [row(f"r{i}", prompt=[60 + i], max_tokens=50, guided_choice=[text]) for i, text in
                                           enumerate(["\u2603", "the", "the \u2603", "a"])])
        bodies, _ = self.batch(model)
        for i, text in enumerate(("", "the", "", "a")):
            if text:
                self.assertEqual(bodies[f"r{i}"]["choices"][0]["text"], text)
            else:
                error = bodies[f"r{i}"]["error"]
                self.assertIn("no token for what must come next", error["message"])
                self.assertEqual((error["type"], error["param"], error["code"]),
                                 ("invalid_request_error", "guided_choice", "unsupported_parameter"))
        self.assertEqual([r["response"]["status_code"] for r in read_rows(self.path("out.jsonl"))], [400, 200, 400, 200])

    def test_forced_tokens_take_no_steps(self):
        model = structured_model.write(self.path("model"), "smollm")
        text = "There is no other answer than this one, however long it may be."
        write_rows(self.path("in.jsonl"), [row("r", prompt=[60, 61], max_tokens=200, guided_choice=[text])])
        bodies, tokens = self.batch(model)
        self.assertEqual(bodies["r"]["choices"][0]["text"], text)
        self.assertEqual((tokens["steps"], tokens["forced"]), (1, tokens["generated"]))
        # One is drawn, what comes before and behind it is not.
        write_rows(self.path("in.jsonl"), [row("r", prompt=[60, 61], max_tokens=200, guided_choice=[text + " A" + text, text + " B" + text])])
        bodies, tokens = self.batch(model)
        self.assertIn(bodies["r"]["choices"][0]["text"], (text + " A" + text, text + " B" + text))
        self.assertLess(tokens["steps"], 5)

    def test_an_answer_that_is_cut_says_so(self):
        model = structured_model.write(self.path("model"), "smollm")
        write_rows(self.path("in.jsonl"), [row(f"r{n}", prompt=[60, 61], max_tokens=n, return_token_ids=True,
                                               response_format=as_schema(SCHEMA)) for n in range(1, 12)])
        bodies, _ = self.batch(model)
        for n in range(1, 12):
            choice = bodies[f"r{n}"]["choices"][0]
            self.assertEqual((choice["finish_reason"], len(choice["token_ids"])), ("length", n))
            self.assertTrue('{"name": "'.startswith(choice["text"][:10]))

    def test_stop_strings_end_an_answer_in_the_middle(self):
        model = structured_model.write(self.path("model"), "smollm")
        common = {"prompt": [60, 61], "max_tokens": 100, "guided_choice": ["one two three four"]}
        write_rows(self.path("in.jsonl"), [row("plain", stop="three", **common), row("scored", stop="three", logprobs=1, **common),
                                           row("many", stop="two", n=3, **common)])
        bodies, _ = self.batch(model)
        for name, text, stop in (("plain", "one two ", "three"), ("scored", "one two ", "three"), ("many", "one ", "two")):
            for choice in bodies[name]["choices"]:
                self.assertEqual((choice["text"], choice["finish_reason"], choice["stop_reason"]), (text, "stop", stop))

    def test_bad_forms_are_errors_of_their_rows(self):
        model = structured_model.write(self.path("model"), "smollm")
        bad = {"regex": ({"guided_regex": "a(?=b)"}, "look-ahead at byte 1"),
               "keyword": ({"response_format": as_schema({"type": "object", "properties": {"x": {"not": {}}}})},
                           'at /properties/x: the keyword "not" is not supported'),
               "two": ({"guided_regex": "a", "guided_choice": ["a"]}, "both say"),
               "choice": ({"guided_choice": []}, "not empty"),
               "large": ({"guided_choice": ["x" * (1 << 20)]}, "more than 1048576 bytes"),
               "end": ({"guided_regex": "a", "ignore_eos": True}, "ignore_eos"),
               "grammar": ({"guided_grammar": "root ::= x"}, "not a field")}
        write_rows(self.path("in.jsonl"), [row(name, prompt=[60], **body) for name, (body, _) in bad.items()]
                   + [row("good", prompt=[60], guided_choice=["fine"])])
        bodies, _ = self.batch(model)
        for name, (body, message) in bad.items():
            self.assertIn(message, bodies[name]["error"]["message"])
            self.assertIn(bodies[name]["error"]["param"], body)
        self.assertEqual(bodies["good"]["choices"][0]["text"], "fine")
        # A model whose tokens are not simply text.
        write_rows(self.path("in.jsonl"), [row("r", prompt=[60], guided_choice=["fine"])])
        bodies, _ = self.batch(structured_model.write(self.path("words"), "bert"))
        self.assertIn("tokenizer", bodies["r"]["error"]["message"])
        bodies, _ = self.batch(harness.MODEL)
        self.assertIn("no tokenizer", bodies["r"]["error"]["message"])

    # Rows of one token that must have a form do not go in layer passes, and are what they are without these.
    def test_layer_passes_leave_forms_to_steps(self):
        shape = {"hidden": 256, "layers": 32, "heads": 4, "dim": 64, "ffn": 1024}
        model = structured_model.write(self.path("deep"), "smollm", **shape)
        asked = [row(f"r{i}", prompt=[(7 * i + k) % 200 + 30 for k in range(40)], max_tokens=1, temperature=0, return_token_ids=True,
                     **({"guided_choice": ["A", "B", "C"]} if i % 20 == 9 else {})) for i in range(40)]
        write_rows(self.path("in.jsonl"), asked)
        plain, _ = self.batch(model, *EXACT)
        capped, _ = self.batch(model, *EXACT, "--host-memory", 66 << 20)
        self.assert_same(capped, plain)
        for i in range(9, 40, 20):
            self.assertIn(plain[f"r{i}"]["choices"][0]["text"], ("A", "B", "C"))

    def test_chat(self):
        model = self.path("model")
        harness.text_model(model)
        chat = [row(f"r{i}", "/v1/chat/completions", messages=[{"role": "user", "content": "Hi"}], max_tokens=300, seed=i,
                    logprobs=bool(i % 2), response_format=as_schema(SCHEMA)) for i in range(6)]
        write_rows(self.path("in.jsonl"), chat)
        bodies, _ = self.batch(model)
        for body in bodies.values():
            choice = body["choices"][0]
            if choice["finish_reason"] == "stop":
                self.assertTrue(satisfies(json.loads(choice["message"]["content"])))


if __name__ == "__main__":
    harness.main()
