"""The server's answers: those of a batch, whole and in pieces; and what becomes of requests whose clients misbehave."""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time

import harness
import structured_model
from harness import Case, read_rows, row, text_model, write_rows
from server import Server, read_all

LONG = {"prompt": "abc", "max_tokens": 200, "temperature": 0, "ignore_eos": True}


def events(data):
    """What a stream says: its events, the last one must be [DONE]."""
    pieces = [e for e in data.decode().split("\n\n") if e and not e.startswith(":")]  # comments say that it waits
    assert all(p.startswith("data: ") for p in pieces), data
    assert pieces[-1] == "data: [DONE]", data
    return [json.loads(p[len("data: "):]) for p in pieces[:-1]]


def whole(pieces):
    """A stream's pieces put together as the whole answer would say it."""
    choices = {}
    for piece in pieces:
        for part in piece["choices"]:
            delta = part.pop("delta", None)
            if delta is not None:
                part["message"] = {"role": delta.get("role"), "content": delta["content"], "refusal": None}
            so_far = choices.setdefault(part["index"], part)
            if so_far is part:
                continue
            assert so_far["finish_reason"] is None
            if delta is not None:
                assert part["message"]["role"] is None
                so_far["message"]["content"] += delta["content"]
            else:
                so_far["text"] += part["text"]
            for name, values in (part["logprobs"] or {}).items():
                if values is not None:
                    so_far["logprobs"][name] += values
            if "token_ids" in part:
                so_far["token_ids"] += part["token_ids"]
            so_far.update({k: part[k] for k in ("finish_reason", "stop_reason")})
    return [choices[i] for i in sorted(choices)]


class Serving(Case):
    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="flexgen-serve-")
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.model = os.path.join(cls.shared, "tiny")
        text_model(cls.model)

    def serve(self, *options):
        return Server(self.model, self.shared, "--served-model-name", "tiny", *options)

    def figure(self, server, name):
        text = server.get("/metrics")[2].decode()
        return float(re.search(rf"^flexgen_{re.escape(name)} (\S+)$", text, re.M)[1])

    def wait_for(self, server, name, value):
        """Not longer than a minute, however slow the machine."""
        for _ in range(1200):
            if self.figure(server, name) == value:
                return
            time.sleep(0.05)
        self.fail(f"{name} is {self.figure(server, name)}, not {value}")


# ---- answers ---------------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "required": ["name", "age"], "properties": {
    "name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}}
FORMS = [
    {"guided_choice": ["Yes", "No", "Yes, of course"]},
    {"guided_regex": "[A-Z][a-z]{2,6}( [0-9]{1,3})?"},
    {"guided_json": SCHEMA},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "it", "strict": True, "schema": SCHEMA}}},
    {"structured_outputs": {"json": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4}}},
    {"response_format": {"type": "json_object"}, "stop": ":"},
]
BODIES = [
    {"prompt": "Hello", "max_tokens": 12, "temperature": 0},
    {"prompt": [5, 6, 7], "max_tokens": 5, "temperature": 0, "return_token_ids": True},
    {"prompt": ["one", "two", "one and"], "max_tokens": 6, "n": 2, "seed": 7},
    {"prompt": "scored", "max_tokens": 0, "echo": True, "logprobs": 2},
    {"prompt": [9, 8, 7, 200], "max_tokens": 4, "echo": True, "logprobs": 3, "temperature": 0},
    {"prompt": "stops", "max_tokens": 60, "seed": 3, "stop": ["a", "xyz", "e"], "ignore_eos": True},
    {"prompt": "stops", "max_tokens": 60, "seed": 3, "stop": ["qz", "zz"], "include_stop_str_in_output": True, "logprobs": 0},
    {"prompt": "not seeded", "max_tokens": 20},  # samples by its number, as a batch row by its line
    {"prompt": "not seeded", "max_tokens": 20, "n": 3, "logprobs": 1, "return_token_ids": True},
    *({"prompt": ["of a form", "of it"], "n": 2, "max_tokens": 80, "logprobs": 1, **form} for form in FORMS),
    *({"prompt": "of a form", "max_tokens": 80, "temperature": 0, "return_token_ids": True, **form} for form in FORMS),
]
CHATS = [
    {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, "temperature": 0},
    {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
     "max_completion_tokens": 7, "seed": 5, "logprobs": True, "top_logprobs": 2, "n": 2, "return_token_ids": True},
    *({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 80, "seed": 2, **form} for form in FORMS),
]
WRONG = [
    {"max_tokens": 3},
    {"prompt": "x", "max_tokens": -1},
    {"prompt": "x", "temperature": "hot"},
    {"prompt": [100000]},
    {"prompt": "x", "nonsense": 1},
    {"prompt": "x" * 5000},
    {"prompt": "x", "response_format": {"type": "grammar"}},
    {"prompt": "x", "guided_json": {"type": "object", "properties": {"y": {"not": {}}}}},
    {"prompt": "x", "guided_regex": "a(?=b)"},
    {"prompt": "x", "guided_choice": []},
    {"prompt": "x", "guided_choice": ["a"], "guided_regex": "a"},
    {"prompt": "x", "guided_choice": ["a"], "ignore_eos": True},
    {"prompt": ["a"] * 100, "n": 128},
]


class Answers(Serving):
    def batch(self, bodies, *options):
        write_rows(self.path("in.jsonl"), bodies)
        self.succeed("batch", self.model, "-i", self.path("in.jsonl"), "-o", self.path("out.jsonl"), "--dtype", "f32",
                     "--offload-dir", self.shared, "--quiet", "--overwrite", *options)
        return [r["response"] for r in read_rows(self.path("out.jsonl"))]

    def rows(self):
        return [("/v1/completions", b) for b in BODIES] + [("/v1/chat/completions", b) for b in CHATS]

    def expected(self):
        rows = [row(str(i), url, **body) for i, (url, body) in enumerate(self.rows())]
        return [response["body"] for response in self.batch(rows)]

    def same(self, got, wanted, what):
        for name in ("id", "created"):
            got.pop(name), wanted.pop(name)
        self.assertEqual(got, wanted, what)

    def test_whole_answers_are_those_of_a_batch(self):
        wanted = self.expected()
        with self.serve() as server:
            connection = server.connect()
            for (url, body), answer in zip(self.rows(), wanted):
                status, _, got = server.ask("POST", url, {"model": "tiny", **body}, connection=connection)
                self.assertEqual(status, 200, got)
                self.assertTrue(got["id"].startswith("cmpl-" if url == "/v1/completions" else "chatcmpl-"))
                self.same(got, answer, body)
            connection.close()

    def test_pieces_make_up_the_answers_of_a_batch(self):
        wanted = self.expected()
        with self.serve() as server:
            for (url, body), answer in zip(self.rows(), wanted):
                options = {"stream": True, "stream_options": {"include_usage": True}}
                status, headers, data = server.post(url, {"model": "tiny", **body, **options})
                self.assertEqual((status, headers["Content-Type"]), (200, "text/event-stream; charset=utf-8"), data)
                pieces = events(data)
                last = pieces.pop()
                self.assertEqual((last["choices"], last["usage"]), ([], answer["usage"]))
                chat = url == "/v1/chat/completions"
                for piece in pieces:
                    self.assertEqual((piece["object"], piece["id"], piece["model"], piece["usage"]),
                                     ("chat.completion.chunk" if chat else "text_completion", last["id"], "tiny", None))
                if chat and body.get("return_token_ids"):
                    self.assertEqual(pieces[0]["prompt_token_ids"], answer["prompt_token_ids"])
                self.assertEqual(whole(pieces), answer["choices"], body)

    def test_a_stream_begins_before_its_answer_is_whole(self):
        with self.serve() as server, server.socket() as s:
            s.sendall(request_bytes({**ENDLESS, "stream": True}))
            self.assertIn(b"data: ", s.recv(65536) + s.recv(65536))
            self.assertEqual(self.figure(server, "requests_running"), 1)

    def test_requests_that_come_together_are_answered_as_alone(self):
        bodies = [{"prompt": f"request {i % 7}", "max_tokens": 30, "seed": i, "n": 1 + i % 3,
                   **(FORMS[i // 2 % len(FORMS)] if i % 4 < 2 else {})} for i in range(40)]
        wanted = self.batch([row(str(i), **body) for i, body in enumerate(bodies)])
        got = [None] * len(bodies)
        with self.serve("--max-num-seqs", "8") as server:
            def ask(i):
                got[i] = server.post("/v1/completions", {"model": "tiny", **bodies[i], "stream": i % 2 == 1})[2]
            threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(bodies))]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        for i, answer in enumerate(got):
            choices = whole(events(answer)) if i % 2 else answer["choices"]
            self.assertEqual(choices, wanted[i]["body"]["choices"], bodies[i])

    # ---- errors ------------------------------------------------------------------------------------------------------

    def test_wrong_requests_are_refused_as_in_a_batch(self):
        wanted = self.batch([row(str(i), **body) for i, body in enumerate(WRONG)])
        with self.serve() as server:
            for stream in (False, True):
                for body, answer in zip(WRONG, wanted):
                    status, _, got = server.post("/v1/completions", {"model": "tiny", **body, "stream": stream})
                    self.assertEqual((status, got), (answer["status_code"], answer["body"]))

    # The engine goes on with what others want, and with the next request.
    def test_a_form_that_cannot_be_made_says_why(self):
        with self.serve() as server:
            for stream in (False, True):
                for wrong, message in (({"not": {}}, 'the keyword "not" is not supported'), ({"type": "x"}, '"type"')):
                    status, _, got = server.post("/v1/chat/completions", {
                        "messages": [{"role": "user", "content": "Hi"}], "stream": stream, "response_format": {
                            "type": "json_schema", "json_schema": {"name": "it", "schema": wrong}}})
                    self.assertEqual((status, got["error"]["param"]), (400, "response_format"), got)
                    self.assertIn(message, got["error"]["message"])
                status, _, got = server.post("/v1/completions", {"prompt": "x", "guided_choice": ["fine"]})
                self.assertEqual((status, got["choices"][0]["text"]), (200, "fine"))
        for model, message in ((structured_model.write(self.path("words"), "bert"), "tokenizer"), (harness.MODEL, "no tokenizer")):
            with Server(model, self.shared) as server:
                status, _, got = server.post("/v1/completions", {"prompt": [60], "guided_choice": ["fine"]})
                self.assertEqual((status, got["error"]["param"]), (400, "guided_choice"), got)
                self.assertIn(message, got["error"]["message"])

    def test_bodies_that_are_no_objects_are_refused(self):
        with self.serve() as server:
            for body in (b"", b"{", b"[1]", b"null", b'{"prompt": "\xff"}', b"{} {}", b"[" * 100000, b'{"a":1,"a":2}', b"\x00"):
                status, _, got = server.post("/v1/completions", body)
                self.assertEqual((status, got["error"]["type"]), (400, "invalid_request_error"), body[:20])
            self.assertEqual(server.post("/v1/completions", {**LONG, "max_tokens": 1})[0], 200)

    def test_other_models_are_not_found(self):
        with self.serve() as server:
            for path, body in (("/v1/completions", LONG), ("/tokenize", {"prompt": "x"})):
                status, _, got = server.post(path, {**body, "model": "other"})
                self.assertEqual((status, got["error"]["code"]), (404, "model_not_found"))
        with Server(self.model, self.shared) as server:  # by its own name, and as the Hub has it
            for name, status in (("tiny", 200), ("org/tiny", 200), ("xtiny", 404), ("tiny/x", 404)):
                self.assertEqual(server.post("/v1/completions", {**LONG, "model": name})[0], status, name)

    def test_a_body_that_is_too_large_is_refused(self):
        with self.serve("--max-body-size", "64K") as server:
            self.assertEqual(server.post("/v1/completions", {"prompt": "x" * 100000})[0], 413)
            self.assertEqual(server.post("/v1/completions", {"prompt": "x" * 100, "max_tokens": 1})[0], 200)


# ---- tokens ----------------------------------------------------------------------------------------------------------

class Tokens(Serving):
    def test_text_to_tokens_and_back(self):
        with self.serve() as server:
            text = "Grüße, 世界"
            line = self.succeed("tokenize", self.model, stdin=text).stdout
            _, _, got = server.post("/tokenize", {"model": "tiny", "prompt": text})
            self.assertEqual((got["tokens"], got["count"]), (json.loads(line), len(json.loads(line))))
            self.assertGreater(got["max_model_len"], 0)
            self.assertIsNone(got["token_strs"])
            _, _, bare = server.post("/tokenize", {"prompt": text, "add_special_tokens": False, "return_token_strs": True})
            self.assertEqual(bare["tokens"], got["tokens"][1:])
            self.assertEqual(bare["token_strs"][0], "G")
            self.assertEqual(server.post("/detokenize", {"tokens": bare["tokens"]})[2], {"prompt": text})
            self.assertEqual(server.post("/tokenize", {"prompt": "", "add_special_tokens": False})[2]["tokens"], [])
            self.assertEqual(server.post("/detokenize", {"tokens": []})[2], {"prompt": ""})

    def test_a_chat_is_tokenized_as_it_would_be_answered(self):
        with self.serve() as server:
            messages = [{"role": "user", "content": "Hi"}]
            _, _, answer = server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1, "return_token_ids": True})
            _, _, got = server.post("/tokenize", {"messages": messages})
            self.assertEqual(got["tokens"], answer["prompt_token_ids"])
            longer = [{"role": "user", "content": "x" * 20000}]  # than the model's context
            self.assertGreater(server.post("/tokenize", {"messages": longer})[2]["count"], 20000)

    def test_what_is_no_text_and_no_tokens_is_refused(self):
        with self.serve() as server:
            for path, body in (("/tokenize", {}), ("/tokenize", {"prompt": [1]}), ("/tokenize", {"prompt": "x", "nonsense": 1}),
                               ("/tokenize", {"prompt": "x", "add_special_tokens": 1}), ("/tokenize", {"messages": []}),
                               ("/detokenize", {}), ("/detokenize", {"tokens": ["a"]}), ("/detokenize", {"tokens": [-1]}),
                               ("/detokenize", {"tokens": [99999999]}), ("/detokenize", {"tokens": [1.5]})):
                status, _, got = server.post(path, body)
                self.assertEqual((status, got["error"]["type"]), (400, "invalid_request_error"), (path, body))

    def test_what_the_tokenizer_is(self):
        with self.serve() as server:
            _, _, info = server.get("/tokenizer_info")
            self.assertEqual((info["bos_token"], info["eos_token"], info["pad_token"]), ("<s>", "</s>", None))
            self.assertEqual(info["chat_template"], harness.TEMPLATE)

    def test_a_model_without_a_tokenizer_has_none(self):
        with Server(harness.MODEL, self.shared) as server:
            self.assertEqual(server.post("/tokenize", {"prompt": "x"})[0], 404)
            self.assertEqual(server.get("/tokenizer_info")[0], 404)
            self.assertEqual(server.post("/v1/completions", {"prompt": [5, 6], "max_tokens": 2})[0], 200)


# ---- clients that misbehave, and the end -------------------------------------------------------------------------------

def request_bytes(body, path="/v1/completions"):
    data = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data)


# So long that it is not over before it is cancelled.
ENDLESS = {"prompt": ["abc"] * 8, "max_tokens": 200, "temperature": 1, "ignore_eos": True, "n": 128}


class Clients(Serving):
    def idle_again(self, server):
        for name in ("requests_waiting", "requests_running", "sequences_running", "sequences_waiting"):
            self.wait_for(server, name, 0)
        self.assertEqual(server.post("/v1/completions", {**LONG, "max_tokens": 2})[0], 200)

    def test_a_client_that_goes_is_forgotten(self):
        with self.serve("--max-num-seqs", "4") as server:
            for stream in (False, True):
                with server.socket() as s:
                    s.sendall(request_bytes({**ENDLESS, "stream": stream}))
                    if stream:
                        self.assertIn(b" 200 ", s.recv(4096))
                    else:
                        self.wait_for(server, "requests_running", 1)
                self.wait_for(server, 'requests_total{outcome="cancelled"}', 1 + stream)
                self.idle_again(server)

    def test_a_client_that_goes_while_it_waits_is_forgotten(self):
        with self.serve("--max-num-seqs", "1") as server:
            with server.socket() as first:
                first.sendall(request_bytes(ENDLESS))
                self.wait_for(server, "requests_running", 1)
                with server.socket() as second:
                    second.sendall(request_bytes(LONG))
                    self.wait_for(server, "requests_waiting", 1)
                self.wait_for(server, "requests_waiting", 0)
                self.assertEqual(self.figure(server, "requests_running"), 1)
            self.idle_again(server)

    def test_a_half_closed_connection_is_taken_as_closed(self):
        with self.serve() as server:
            for stream in (False, True):
                with server.socket() as s:
                    s.sendall(request_bytes({**ENDLESS, "stream": stream}))
                    self.wait_for(server, "requests_running", 1)
                    s.shutdown(socket.SHUT_WR)
                    said = read_all(s)
                    if not stream:
                        self.assertIn(b"closed on your side", said)
                self.idle_again(server)

    def test_a_slow_reader_gets_everything_and_keeps_nobody_waiting(self):
        body = {**LONG, "n": 60, "stream": True, "logprobs": 5}
        with self.serve() as server:
            with server.socket() as slow:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
                slow.sendall(request_bytes(body).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                first = slow.recv(1024)
                for _ in range(3):
                    self.assertEqual(server.post("/v1/completions", {**LONG, "max_tokens": 5})[0], 200)
                self.wait_for(server, "requests_running", 0)  # the engine does not wait for it
                data = first + read_all(slow)
            chunks = data.split(b"\r\n\r\n", 1)[1]
            text = b""
            while chunks and chunks[0:1] != b"0":
                size, chunks = chunks.split(b"\r\n", 1)
                text += chunks[:int(size, 16)]
                chunks = chunks[int(size, 16) + 2:]
            choices = whole(events(text))
            self.assertEqual(len(choices), 60)
            self.assertTrue(all(len(c["logprobs"]["tokens"]) == 200 for c in choices))

    def test_garbage_behind_a_request_does_not_spoil_its_answer(self):
        with self.serve() as server:
            with server.socket() as s:
                s.sendall(request_bytes({**LONG, "max_tokens": 3}) + b"\x00\x01garbage" * 1000)
                self.assertIn(b" 200 ", s.recv(4096)[:64])
            self.idle_again(server)

    def test_a_full_queue_says_when_to_try_again(self):
        with self.serve("--max-num-seqs", "1", "--max-queue", "2") as server, contextlib.ExitStack() as sockets:
            first = sockets.enter_context(server.socket())
            first.sendall(request_bytes(ENDLESS))
            self.wait_for(server, "requests_running", 1)
            for waiting in (1, 2):
                sockets.enter_context(server.socket()).sendall(request_bytes(LONG))
                self.wait_for(server, "requests_waiting", waiting)
            status, headers, body = server.post("/v1/completions", LONG)
            self.assertEqual((status, body["error"]["type"]), (429, "rate_limit_error"))
            self.assertGreater(int(headers["Retry-After"]), 0)

    def test_what_would_take_all_memory_is_refused(self):
        with self.serve("--host-memory", "96M", "--max-model-len", "500") as server:
            body = {"prompt": ["x"] * 32, "n": 128, "max_tokens": 400, "logprobs": 20}
            status, _, got = server.post("/v1/completions", body)
            self.assertEqual(status, 400, got)
            self.assertIn("ask for less at once", got["error"]["message"])
            self.assertEqual(self.figure(server, 'requests_total{outcome="accepted"}'), 0)
            self.idle_again(server)

    def test_memory_is_given_back(self):
        with self.serve() as server:
            server.post("/v1/completions", {"prompt": "x", "guided_regex": "a"})  # what is for forms stays theirs
            self.idle_again(server)
            self.wait_for(server, "http_exchanges", 1)  # its own: what was answered before is gone, too
            used = self.figure(server, 'request_memory_bytes{what="used"}')
            for i in range(5):
                server.post("/v1/completions", {"prompt": "x", "guided_regex": f"a{{{i}}}b", "stream": i % 2 == 1})
                server.post("/v1/completions", {"prompt": "x", "guided_regex": f"a(?={i})"})
                with server.socket() as s:
                    s.sendall(request_bytes({"prompt": "x", "max_tokens": 400, "guided_regex": "a{1000}"}))
                server.post("/v1/completions", {**LONG, "stream": True})
                server.post("/v1/completions", {"prompt": ["a"] * 20, "n": 3, "max_tokens": 4, "logprobs": 3})
                server.post("/v1/completions", b"{ broken")
                server.post("/v1/completions", {"prompt": [100000]})
                with server.socket() as s:
                    s.sendall(request_bytes(ENDLESS))
                    self.wait_for(server, "requests_running", 1)
                with server.socket() as s:
                    s.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n" + b"x" * 40000)
                self.idle_again(server)
            self.wait_for(server, "http_exchanges", 1)  # its own
            self.assertEqual(self.figure(server, 'request_memory_bytes{what="used"}'), used)

    # ---- the end -------------------------------------------------------------------------------------------------------

    def test_what_was_accepted_is_answered_before_the_end(self):
        with self.serve("--max-num-seqs", "2") as server:
            got = {}

            def ask(i):
                got[i] = server.post("/v1/completions", {**LONG, "n": 8, "stream": i % 2 == 0})
            threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
            for t in threads:
                t.start()
            self.wait_for(server, 'requests_total{outcome="accepted"}', 4)
            kept = server.connect()
            self.assertEqual(server.ask("GET", "/health", connection=kept)[0], 200)
            server.child.send_signal(signal.SIGTERM)
            for line in server.child.stderr:
                if b"no more requests are taken" in line:
                    break
            with contextlib.suppress(OSError):  # those that were finished meanwhile have ended it
                self.assertEqual(server.ask("GET", "/health", connection=kept)[0], 503)
            kept.close()
            with self.assertRaises(OSError):
                server.get("/health")
            for t in threads:
                t.join()
            self.assertEqual(server.wait(), -signal.SIGTERM)
            for i, (status, _, body) in got.items():
                self.assertEqual(status, 200)
                choices = body["choices"] if i % 2 else whole(events(body))
                self.assertEqual([c["finish_reason"] for c in choices], ["length"] * 8)

    def test_the_second_signal_ends_it_at_once(self):
        with self.serve("--max-num-seqs", "1") as server, server.socket() as s:
            s.sendall(request_bytes(ENDLESS))
            self.wait_for(server, "requests_running", 1)
            server.child.send_signal(signal.SIGINT)
            for line in server.child.stderr:
                if b"no more requests are taken" in line:
                    break
            self.assertEqual(server.stop(signal.SIGINT), -signal.SIGINT)


# ---- the log of requests ---------------------------------------------------------------------------------------------

class Log(Serving):
    LINE = re.compile(r'^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
                      r'"(\S+) (\S+) (HTTP/1\.\d)" (\d{3}) (\d+) (\d+)$')

    def requests(self, text):
        """Method, path, status and bytes of each line."""
        found = [self.LINE.match(line) for line in text.splitlines()]
        self.assertTrue(all(found), text)
        return [(m[1], m[2], int(m[4]), int(m[5])) for m in found]

    def test_every_request_has_a_line(self):
        log = self.path("access.log")
        ask = {"prompt": "abc", "max_tokens": 3, "temperature": 0}
        with self.serve("--access-log", log, "--api-key", "secret") as server:
            key = {"Authorization": "Bearer secret"}
            expected = [("GET", "/health", 200, 0)]
            server.get("/health")
            for path, body in (("/v1/completions", ask), ("/v1/completions", {"prompt": 3}), ("/v1/nothing", {})):
                status, headers, _ = server.post(path, body, **key)
                expected.append(("POST", path, status, int(headers["Content-Length"])))
            status, _, data = server.post("/v1/completions", {**ask, "stream": True}, **key)
            expected.append(("POST", "/v1/completions", 200, len(data)))
            status, headers, _ = server.get("/v1/models?limit=secret%0A")
            expected.append(("GET", "/v1/models", 401, int(headers["Content-Length"])))
            server.ask("HEAD", "/v1/models", headers=key)
            expected.append(("HEAD", "/v1/models", 200, 0))
        with open(log) as file:
            text = file.read()
        self.assertEqual(sorted(self.requests(text)), sorted(expected))
        self.assertEqual([r[2] for r in expected], [200, 200, 400, 404, 200, 401, 200])
        self.assertNotIn("secret", text)

    def test_who_goes_before_the_answer_is_499(self):
        log = self.path("access.log")
        with self.serve("--access-log", log) as server:
            with server.socket() as s:
                s.sendall(request_bytes(ENDLESS))
                self.wait_for(server, "requests_running", 1)
            self.wait_for(server, 'requests_total{outcome="cancelled"}', 1)
        with open(log) as file:
            self.assertIn(("POST", "/v1/completions", 499, 0), self.requests(file.read()))

    def test_the_log_goes_to_standard_output(self):
        server = self.serve("--access-log", "-")
        self.addCleanup(server.__exit__)
        server.get("/health")
        server.child.send_signal(signal.SIGTERM)
        said, _ = server.child.communicate(timeout=60)
        self.assertEqual(self.requests(said.decode()), [("GET", "/health", 200, 0)])

    def test_logs_that_cannot_be(self):
        said = self.fail_with(1, "serve", self.model, "--port", 0, "--offload-dir", self.shared, "--access-log", self.path("no/where"))
        self.assertIn("--access-log", said.splitlines()[-1])
        said = self.fail_with(2, "serve", self.model, "--port", 0, "--access-log", "-", "--json")
        self.assertIn("--json", said)


if __name__ == "__main__":
    harness.main()
