"""Files and batches of the server: uploaded, answered beside other requests, kept across restarts and kills."""
import json
import os
import shutil
import signal
import tempfile
import time

import harness
import structured_model
from harness import Case, read_rows, row, text_model, write_rows
from server import Server

BOUNDARY = "--form-7d1"


def form(data, filename="in.jsonl", purpose="batch", extra=()):
    """As OpenAI's client sends it: the purpose first, then the file."""
    fields = ([("purpose", None, purpose.encode())] if purpose is not None else []) + list(extra)
    fields += [("file", filename, data)] if data is not None else []
    out = b""
    for name, file, value in fields:
        out += (f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\""
                + (f"; filename=\"{file}\"\r\nContent-Type: application/octet-stream" if file is not None else "")
                + "\r\n\r\n").encode() + value + b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


def lines(rows):
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows).encode()


def rows(count, **body):
    return [row(f"row-{i}", prompt=[5 + i % 200, 9, 31], **{"max_tokens": 8, "temperature": 0, "return_token_ids": True,
                                                          "return_tokens_as_token_ids": True, **body}) for i in range(count)]


LONG = {"max_tokens": 400, "ignore_eos": True}


class Batches(Case):
    def setUp(self):
        super().setUp()
        self.options = ["--data-dir", self.path("data"), "--max-num-seqs", "4"]

    def server(self, *options, **more):
        server = Server(harness.MODEL, self.path("stores"), *self.options, *options, **more)
        self.addCleanup(server.__exit__)
        return server

    def upload(self, server, data, **more):
        status, _, file = server.ask("POST", "/v1/files", form(data, **more),
                                     {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        return status, file

    def create(self, server, data, **more):
        status, file = self.upload(server, data)
        self.assertEqual(status, 200, file)
        status, _, batch = server.post("/v1/batches", {"input_file_id": file["id"], "endpoint": "/v1/completions",
                                                       "completion_window": "24h", **more})
        self.assertEqual(status, 200, batch)
        return batch

    def until(self, server, batch, *states, seconds=250):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            batch = server.get(f"/v1/batches/{batch['id']}")[2]
            if batch["status"] in states:
                return batch
            time.sleep(0.02)
        self.fail(f"still {batch}")

    def until_rows_are_gone(self, batch, seconds=250):
        """Of a batch that is over; clients hear of its end a moment before."""
        end = time.monotonic() + seconds
        while (left := sorted(os.listdir(self.path("data/batches")))) != [batch["id"] + ".json"]:
            self.assertLess(time.monotonic(), end, left)
            time.sleep(0.02)

    def content(self, server, file_id):
        status, headers, data = server.get(f"/v1/files/{file_id}/content")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"))
        return data

    def answers(self, server, file_id):
        return [json.loads(line) for line in self.content(server, file_id).splitlines()]

    def expected(self, data):
        """The choices that `flexgen batch` gives."""
        with open(self.path("expected.jsonl"), "wb") as file:
            file.write(data)
        self.succeed("batch", harness.MODEL, "-i", self.path("expected.jsonl"), "-o", self.path("out.jsonl"), "--dtype", "f32",
                     "--offload-dir", self.path("stores"), "--quiet", "--overwrite")
        return {r["custom_id"]: r["response"]["body"]["choices"] for r in read_rows(self.path("out.jsonl"))}

    # ---- files -------------------------------------------------------------------------------------------------------

    def test_files_are_uploaded_listed_read_and_deleted(self):
        server = self.server()
        data = bytes(range(256)) * 500
        status, file = self.upload(server, data, filename="a \u00e9.jsonl")
        self.assertEqual((status, file["object"], file["bytes"], file["filename"], file["purpose"], file["status"]),
                         (200, "file", len(data), "a \u00e9.jsonl", "batch", "processed"))
        self.assertLess(abs(file["created_at"] - time.time()), 60)
        second = self.upload(server, b"")[1]
        self.assertEqual(self.content(server, file["id"]), data)
        self.assertEqual(self.content(server, second["id"]), b"")
        self.assertEqual(server.get(f"/v1/files/{file['id']}")[2], file)
        listed = server.get("/v1/files?purpose=batch&order=asc")[2]
        self.assertEqual(([f["id"] for f in listed["data"]], listed["has_more"]), ([file["id"], second["id"]], False))
        first = server.get("/v1/files?limit=1")[2]
        self.assertEqual((first["data"], first["has_more"]), ([second], True))
        self.assertEqual(server.get(f"/v1/files?after={second['id']}")[2]["data"], [file])
        self.assertEqual(server.get("/v1/files?purpose=other")[2]["data"], [])
        self.assertEqual(server.ask("DELETE", f"/v1/files/{file['id']}")[2],
                         {"id": file["id"], "object": "file", "deleted": True})
        self.assertEqual(server.get(f"/v1/files/{file['id']}")[0], 404)
        self.assertEqual(server.get(f"/v1/files/{file['id']}/content")[0], 404)
        self.assertEqual(server.ask("DELETE", f"/v1/files/{file['id']}")[0], 404)
        for bad in ("?limit=0", "?limit=x", "?limit=20000", "?order=up", "?after=file-gone"):
            self.assertEqual(server.get("/v1/files" + bad)[0], 400, bad)

    def test_uploads_that_are_no_uploads_are_refused(self):
        server = self.server()
        header = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        whole = form(b"x" * 3000)
        for body, headers in ((b"", header), (whole, {}), (whole[:-30], header), (form(None), header),
                              (form(b"1", purpose="fine-tune"), header), (form(b"1", purpose=None), header),
                              (form(b"1", purpose="batch" * 50), header),
                              (form(b"1", extra=[("file", "again", b"2")]), header),
                              (form(b"1", extra=[("other", None, b"2")]), header),
                              (whole, {"Content-Type": "multipart/form-data"})):
            status, _, answer = server.ask("POST", "/v1/files", body, headers)
            self.assertEqual((status, answer["error"]["type"]), (400, "invalid_request_error"), body[:200])
        self.assertEqual(server.get("/v1/files")[2]["data"], [])
        self.assertEqual([name for name in os.listdir(self.path("data/files")) if name != "lock"], [])

    def test_limits_of_files(self):
        server = self.server("--max-file-size", "100K", "--max-storage", "250K")
        self.assertEqual(self.upload(server, b"x" * 102401)[0], 413)
        for _ in range(2):
            self.assertEqual(self.upload(server, b"x" * 102400)[0], 200)
        status, answer = self.upload(server, b"x" * 102400)
        self.assertEqual(status, 413)
        self.assertIn("delete some", answer["error"]["message"])
        self.assertEqual(self.upload(server, b"x" * 50000)[0], 200)

    def test_without_a_folder_there_are_none(self):
        with open(self.path("file"), "w"):
            pass
        server = Server(harness.MODEL, self.path("stores"), env={"XDG_STATE_HOME": self.path("file")})
        self.addCleanup(server.__exit__)
        self.assertIn("no files and batches", "".join(server.said))
        self.assertEqual(server.get("/v1/files")[0], 501)
        self.assertEqual(server.post("/v1/batches", {})[0], 501)
        said = self.fail_with(1, "serve", harness.MODEL, "--port", 0, "--offload-dir", self.path("stores"), "--data-dir",
                              self.path("file"))
        self.assertIn(self.path("file"), said)

    def test_two_servers_do_not_share_a_folder(self):
        self.server()
        said = self.fail_with(1, "serve", harness.MODEL, "--port", 0, "--offload-dir", self.path("stores"), "--data-dir",
                              self.path("data"))
        self.assertIn("another server", said)

    # ---- batches -----------------------------------------------------------------------------------------------------

    def test_a_batch_is_answered_as_by_the_command(self):
        server = self.server()
        data = lines(rows(30) + ["{broken", row("bad", prompt=[5], max_tokens=-1), row("row-0", prompt=[5])])
        batch = self.create(server, data, metadata={"project": "\u00e9"})
        self.assertEqual((batch["object"], batch["endpoint"], batch["metadata"], batch["completion_window"]),
                         ("batch", "/v1/completions", {"project": "\u00e9"}, "24h"))
        self.assertEqual(batch["expires_at"] - batch["created_at"], 24 * 3600)
        batch = self.until(server, batch, "completed", "failed")
        self.assertEqual(batch["status"], "completed", batch)
        self.assertEqual(batch["request_counts"], {"total": 33, "completed": 30, "failed": 3})
        for time_of in ("created_at", "in_progress_at", "finalizing_at", "completed_at"):
            self.assertGreater(batch[time_of], 0)
        self.assertIsNone(batch["failed_at"])
        expected = self.expected(lines(rows(30)))
        answered = self.answers(server, batch["output_file_id"])
        self.assertEqual([r["custom_id"] for r in answered], [f"row-{i}" for i in range(30)])
        self.assertEqual({r["custom_id"]: r["response"]["body"]["choices"] for r in answered}, expected)
        errors = self.answers(server, batch["error_file_id"])
        self.assertEqual([r["custom_id"] for r in errors], [None, "bad", "row-0"])
        self.assertEqual(errors[1]["response"]["status_code"], 400)
        file = server.get(f"/v1/files/{batch['output_file_id']}")[2]
        self.assertEqual(file["purpose"], "batch_output")
        self.until_rows_are_gone(batch)

    def test_rows_of_a_form(self):
        model = structured_model.write(self.path("model"), "smollm")
        server = Server(model, self.path("stores"), *self.options)
        self.addCleanup(server.__exit__)
        ask = {"prompt": "x", "max_tokens": 20, "seed": 3}
        batch = self.create(server, lines([row("good", **ask, guided_regex="[a-f]{9}"), row("bad", **ask, guided_regex="a(?=b)")]))
        got = server.post("/v1/completions", {**ask, "guided_regex": "[a-f]{9}"})[2]
        batch = self.until(server, batch, "completed")
        good, bad = (self.answers(server, batch[f"{kind}_file_id"])[0]["response"] for kind in ("output", "error"))
        self.assertRegex(good["body"]["choices"][0]["text"], "^[a-f]{9}$")
        self.assertEqual(good["body"]["choices"], got["choices"])
        self.assertIn("look-ahead", bad["body"]["error"]["message"])

    def test_batches_run_one_after_the_other_and_are_listed(self):
        server = self.server()
        made = [self.create(server, lines(rows(6))) for _ in range(3)]
        for batch in made:
            self.until(server, batch, "completed")
        ids = [b["id"] for b in made][::-1]
        self.assertEqual([b["id"] for b in server.get("/v1/batches")[2]["data"]], ids)
        page = server.get(f"/v1/batches?limit=1&after={ids[0]}")[2]
        self.assertEqual(([b["id"] for b in page["data"]], page["has_more"], page["last_id"]), (ids[1:2], True, ids[1]))

    def test_wishes_that_make_no_batch(self):
        server = self.server()
        file = self.upload(server, lines(rows(1)))[1]["id"]
        good = {"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "24h"}
        for change, param in (({"input_file_id": 3}, "input_file_id"), ({"endpoint": "/v1/embeddings"}, "endpoint"),
                              ({"completion_window": "1h"}, "completion_window"), ({"metadata": [1]}, "metadata"),
                              ({"metadata": {"a": 1}}, "metadata"), ({"metadata": {"a": "x" * 513}}, "metadata"),
                              ({"metadata": {str(i): "" for i in range(17)}}, "metadata"), ({"other": 1}, "other")):
            status, _, answer = server.post("/v1/batches", {**good, **change})
            self.assertEqual((status, answer["error"]["param"]), (400, param))
        self.assertEqual(server.post("/v1/batches", {**good, "input_file_id": "file-gone"})[0], 404)
        self.assertEqual(server.post("/v1/batches", "{")[0], 400)
        self.assertEqual(server.post("/v1/batches", "[]")[0], 400)
        self.assertEqual(server.get("/v1/batches/batch_gone")[0], 404)
        self.assertEqual(server.post("/v1/batches/batch_gone/cancel", {})[0], 404)
        batch = self.until(server, self.create(server, lines(rows(2))), "completed")
        output = batch["output_file_id"]
        self.assertEqual(server.post("/v1/batches", {**good, "input_file_id": output})[0], 400)  # an answer is no input

    def test_an_empty_file_fails(self):
        server = self.server()
        batch = self.until(server, self.create(server, b"\n\n"), "failed", "completed")
        self.assertEqual(batch["status"], "failed")
        self.assertIn("no requests", batch["errors"]["data"][0]["message"])

    def test_requests_of_others_do_not_wait_for_a_batch(self):
        server = self.server()
        batch = self.create(server, lines(rows(40, **LONG)))
        self.until(server, batch, "in_progress")
        prompt = {"prompt": [7, 9, 31], "max_tokens": 5, "temperature": 0, "return_token_ids": True}
        status, _, answer = server.post("/v1/completions", prompt)
        self.assertEqual(status, 200)
        self.assertEqual(server.get(f"/v1/batches/{batch['id']}")[2]["status"], "in_progress")  # it has long to go
        self.assertEqual(len(answer["choices"][0]["token_ids"]), 5)

    # ---- the end of a batch ------------------------------------------------------------------------------------------

    def test_a_cancelled_batch_keeps_what_was_answered(self):
        server = self.server()
        few = rows(3) + [row("long", prompt=[5], **{**LONG, "temperature": 0})] + rows(80, **LONG)[4:]
        batch = self.create(server, lines(few))
        end = time.monotonic() + 250
        while time.monotonic() < end and server.get(f"/v1/batches/{batch['id']}")[2]["request_counts"]["completed"] < 3:
            time.sleep(0.02)
        status, _, cancelled = server.post(f"/v1/batches/{batch['id']}/cancel", {})
        self.assertEqual((status, cancelled["status"]), (200, "cancelling"))
        batch = self.until(server, batch, "cancelled")
        answered = self.answers(server, batch["output_file_id"])
        self.assertEqual(len(answered), batch["request_counts"]["completed"])
        self.assertGreaterEqual(len(answered), 3)
        self.assertLess(len(answered), len(few))
        self.assertEqual([r["custom_id"] for r in answered[:3]], ["row-0", "row-1", "row-2"])
        self.check_unanswered(server, batch, [r["custom_id"] for r in few], "batch_cancelled")
        self.assertEqual(server.post(f"/v1/batches/{batch['id']}/cancel", {})[0], 400)
        self.until(server, self.create(server, lines(rows(2))), "completed")  # the next one runs

    def check_unanswered(self, server, batch, ids, code):
        """Every row is in one of the files, in the order of the input; those without an answer say why."""
        answered = [r["custom_id"] for r in self.answers(server, batch["output_file_id"])] if batch["output_file_id"] else []
        errors = self.answers(server, batch["error_file_id"])
        self.assertEqual([r["custom_id"] for r in errors], [i for i in ids if i not in answered])
        self.assertEqual(batch["request_counts"], {"total": len(ids), "completed": len(answered), "failed": len(errors)})
        self.assertEqual({(r["response"], r["error"]["code"]) for r in errors}, {(None, code)})
        self.assertEqual(len({r["id"] for r in errors}), len(errors))

    def test_a_batch_that_waits_is_cancelled_at_once(self):
        server = self.server()
        first = self.create(server, lines(rows(60, **LONG)))
        self.until(server, first, "in_progress")
        second = self.create(server, lines(rows(2)))
        self.assertEqual(server.post(f"/v1/batches/{second['id']}/cancel", {})[2]["status"], "cancelled")
        self.assertIsNone(server.get(f"/v1/batches/{second['id']}")[2]["output_file_id"])

    def test_an_input_that_is_read_is_not_deleted(self):
        server = self.server()
        batch = self.create(server, lines(rows(60, **LONG)))
        self.assertEqual(server.ask("DELETE", f"/v1/files/{batch['input_file_id']}")[0], 409)
        server.post(f"/v1/batches/{batch['id']}/cancel", {})
        self.until(server, batch, "cancelled")
        self.assertEqual(server.ask("DELETE", f"/v1/files/{batch['input_file_id']}")[0], 200)

    # More rows than any machine answers in a second.
    def test_a_batch_that_is_not_done_in_time_expires(self):
        server = self.server("--batch-expiry", "1")
        asked = rows(5000, **LONG)
        batch = self.create(server, lines(asked))
        self.assertEqual(batch["expires_at"] - batch["created_at"], 1)
        batch = self.until(server, batch, "expired", "completed", "failed")
        self.assertEqual(batch["status"], "expired")
        self.check_unanswered(server, batch, [r["custom_id"] for r in asked], "batch_expired")

    def test_a_batch_whose_day_is_over_expires(self):
        server = self.server()
        asked = rows(3) + rows(200, **LONG)[3:]
        batch = self.create(server, lines(asked))
        self.until(server, batch, "in_progress")
        server.stop()
        path = self.path(f"data/batches/{batch['id']}.json")
        with open(path) as file:
            record = json.load(file)
        record["expires_at"] = int(time.time()) - 1
        with open(path, "w") as file:
            json.dump(record, file)
        server = self.server()
        batch = self.until(server, batch, "expired", "completed")
        self.assertEqual(batch["status"], "expired")
        self.assertGreater(batch["expired_at"], 0)
        self.check_unanswered(server, batch, [r["custom_id"] for r in asked], "batch_expired")

    # ---- restarts ----------------------------------------------------------------------------------------------------

    def go_on_after(self, number, exit_status):
        data = lines(rows(60, max_tokens=200, ignore_eos=True))
        server = self.server()
        batch = self.create(server, data)
        other = self.create(server, lines(rows(3)))
        end = time.monotonic() + 250
        while time.monotonic() < end and server.get(f"/v1/batches/{batch['id']}")[2]["request_counts"]["completed"] < 5:
            time.sleep(0.01)
        self.assertEqual(server.stop(number), exit_status)
        server = self.server()
        self.assertRegex("".join(server.said) + server.child.stderr.readline().decode(), r"60 rows, (?!0 |60 )\d+ of them done")
        done = self.until(server, batch, "completed", "failed")
        self.assertEqual((done["status"], done["request_counts"]), ("completed", {"total": 60, "completed": 60, "failed": 0}))
        self.assertEqual(done["created_at"], batch["created_at"])
        answered = self.answers(server, done["output_file_id"])
        self.assertEqual({r["custom_id"]: r["response"]["body"]["choices"] for r in answered}, self.expected(data))
        self.assertEqual(len(answered), 60)
        self.assertEqual(self.until(server, other, "completed", "failed")["status"], "completed")

    def test_a_stopped_server_goes_on(self):
        self.go_on_after(signal.SIGTERM, -signal.SIGTERM)

    def test_a_killed_server_goes_on(self):
        self.go_on_after(signal.SIGKILL, -signal.SIGKILL)

    def test_files_and_batches_outlive_a_kill(self):
        server = self.server()
        batch = self.until(server, self.create(server, lines(rows(3))), "completed")
        listed, content = server.get("/v1/files")[2], self.content(server, batch["output_file_id"])
        server.stop(signal.SIGKILL)
        server = self.server()
        self.assertEqual(server.get("/v1/files")[2], listed)
        self.assertEqual(server.get(f"/v1/batches/{batch['id']}")[2], batch)
        self.assertEqual(self.content(server, batch["output_file_id"]), content)

    def test_killed_while_files_are_written_it_writes_them_again(self):
        server = self.server()
        batch = self.create(server, lines(rows(8)))
        batch = self.until(server, batch, "completed")
        self.until_rows_are_gone(batch)  # a kill among their removals finds another record than that below
        server.stop(signal.SIGKILL)
        # As a kill leaves it between the first file and the record of the end: rows and journal are gone later.
        path = self.path(f"data/batches/{batch['id']}.json")
        with open(path, "w") as file:
            json.dump({**batch, "status": "finalizing", "completed_at": None, "error_file_id": "file-" + "0" * 24}, file)
        server = self.server()
        again = self.until(server, batch, "completed", "failed")
        self.assertEqual((again["status"], again["output_file_id"], again["error_file_id"]),
                         ("completed", batch["output_file_id"], None))
        self.assertEqual(len(self.answers(server, again["output_file_id"])), 8)

    def test_records_that_cannot_be_read_are_passed_over(self):
        server = self.server()
        batch = self.until(server, self.create(server, lines(rows(2))), "completed")
        server.stop(signal.SIGTERM)
        for name, text in (("batch_x.json", "{"), ("batch_y.json", "[]"), ("batch_z.json", '{"id": "../../x"}'),
                           ("batch_w.json.part", "{"), ("gone.jsonl", "{}"), ("gone.jsonl.journal", "x")):
            with open(self.path("data/batches/" + name), "w") as file:
                file.write(text)
        server = self.server()
        self.assertEqual([b["id"] for b in server.get("/v1/batches")[2]["data"]], [batch["id"]])
        self.assertFalse(os.path.exists(self.path("data/batches/gone.jsonl")))
        self.assertFalse(os.path.exists(self.path("data/batches/batch_w.json.part")))

    # ---- kept prefixes ----

    def test_what_requests_begin_with_is_kept_for_the_next_start(self):
        common = [5 + i % 200 for i in range(3 * 32 + 5)]
        asked = [{"prompt": common + [9 + i], "max_tokens": 4, "temperature": 0, "logprobs": 1, "echo": i == 2,
                  "return_token_ids": True, "return_tokens_as_token_ids": True} for i in range(3)]
        batch = [row(f"r{i}", **body) for i, body in enumerate(asked)]
        kept = ("--prefix-cache", self.path("kept"))

        def answers(*options):
            with self.server("--stats", self.path("stats.json"), *options) as server:
                said = [server.post("/v1/completions", body)[2]["choices"] for body in asked]
                done = self.until(server, self.create(server, lines(batch)), "completed")
                rows_said = [r["response"]["body"]["choices"] for r in self.answers(server, done["output_file_id"])]
                server.stop()
            with open(self.path("stats.json")) as file:
                return said, rows_said, json.load(file)["prefix_cache"]
        plain, plain_rows, figures = answers()
        self.assertEqual((figures["saved_tokens"], figures["loaded_tokens"]), (0, 0))
        first, first_rows, figures = answers(*kept)
        self.assertGreaterEqual(figures["saved_tokens"], 3 * 32)
        second, second_rows, figures = answers(*kept)
        self.assertGreaterEqual(figures["loaded_tokens"], 3 * 32)
        self.assertEqual((first, first_rows), (plain, plain_rows))
        self.assertEqual((second, second_rows), (plain, plain_rows))


class Page(Case):
    def test_the_page_and_its_figures(self):
        server = Server(harness.MODEL, self.path("stores"), "--data-dir", self.path("data"), "--api-key", "secret")
        self.addCleanup(server.__exit__)
        status, headers, page = server.get("/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertIn(b"default-src 'none'", page)
        self.assertNotIn(b"llama-gqa", page)  # nothing without the key
        self.assertEqual(server.get("/stats")[0], 401)
        key = {"Authorization": "Bearer secret"}
        self.assertEqual(server.post("/v1/completions", {"prompt": [5, 9], "max_tokens": 7}, **key)[0], 200)
        end = time.monotonic() + 250
        while time.monotonic() < end:
            status, _, stats = server.get("/stats", **key)
            if stats["tokens"]["generated"] == 7 and stats["server"]["requests_ended"] == 1:
                break
            time.sleep(0.05)
        self.assertEqual((status, stats["outcome"], stats["tokens"]["generated"], stats["batches"]), (200, "running", 7, []))
        self.assertEqual(stats["timeline"]["generated_tokens"][-1], 7)
        self.assertEqual(stats["server"]["requests_accepted"], 1)


if __name__ == "__main__":
    harness.main()
