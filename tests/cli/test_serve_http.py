"""The HTTP side of the server: routes, keys, limits, and clients that misbehave."""
import os
import signal
import socket
import time

import harness
from harness import Case, MODEL
from server import Server, read_all


class Http(Case):
    @classmethod
    def setUpClass(cls):
        import shutil
        import tempfile
        cls.store = tempfile.mkdtemp(prefix="flexgen-serve-")
        cls.addClassCleanup(shutil.rmtree, cls.store, ignore_errors=True)
        cls.server = Server(MODEL, cls.store, "--max-body-size", "1M", "--timeout-header", "1", "--served-model-name", "tiny",
                            "--served-model-name", "org/tiny")
        cls.addClassCleanup(cls.server.__exit__)

    def still_answers(self):
        self.assertEqual(self.server.get("/health")[0], 200)

    # ---- routes ------------------------------------------------------------------------------------------------------

    def test_health_has_no_body(self):
        status, _, body = self.server.get("/health")
        self.assertEqual((status, body), (200, b""))

    def test_models_are_listed_by_the_names_that_are_served(self):
        status, _, body = self.server.get("/v1/models")
        self.assertEqual((status, body["object"]), (200, "list"))
        self.assertEqual([m["id"] for m in body["data"]], ["tiny", "org/tiny"])
        self.assertEqual(body["data"][0]["object"], "model")
        self.assertGreater(body["data"][0]["max_model_len"], 0)
        self.assertEqual(self.server.get("/v1/models/org/tiny")[2]["id"], "org/tiny")
        self.assertEqual(self.server.get("/v1/models/org%2Ftiny")[2]["id"], "org/tiny")

    def test_unknown_models_and_paths_are_not_found(self):
        status, _, body = self.server.get("/v1/models/other")
        self.assertEqual((status, body["error"]["code"]), (404, "model_not_found"))
        status, _, body = self.server.get("/v1/nothing")
        self.assertEqual((status, body["error"]["type"]), (404, "invalid_request_error"))

    def test_other_methods_are_named(self):
        status, headers, body = self.server.ask("DELETE", "/health")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        self.assertIn("GET", body["error"]["message"])

    def test_head_has_the_header_alone(self):
        status, headers, body = self.server.ask("HEAD", "/v1/models")
        self.assertEqual((status, body), (200, b""))
        self.assertGreater(int(headers["Content-Length"]), 0)

    def test_a_connection_serves_many_requests(self):
        connection = self.server.connect()
        for _ in range(20):
            self.assertEqual(self.server.ask("GET", "/v1/models", connection=connection)[0], 200)
            self.assertEqual(self.server.ask("GET", "/nothing", connection=connection)[0], 404)
        connection.close()

    def test_http_1_0_is_answered_and_closed(self):
        with self.server.socket() as s:
            s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 ", read_all(s))

    # ---- who may -----------------------------------------------------------------------------------------------------

    def test_pages_of_other_sites_are_turned_away(self):
        own = f"http://127.0.0.1:{self.server.port}"
        self.assertEqual(self.server.get("/v1/models", Origin=own)[0], 200)
        self.assertEqual(self.server.get("/v1/models", Origin="http://example.com")[0], 403)
        self.assertEqual(self.server.get("/v1/models", Host="evil.example")[0], 403)

    def test_keys(self):
        with Server(MODEL, self.store, "--api-key", "one", "--api-key", "two") as server:
            status, headers, body = server.get("/v1/models")
            self.assertEqual((status, body["error"]["code"]), (401, "invalid_api_key"))
            self.assertEqual(headers["WWW-Authenticate"], "Bearer")
            self.assertEqual(server.get("/v1/models", Authorization="Bearer on")[0], 401)
            for key in ("one", "two"):
                self.assertEqual(server.get("/v1/models", Authorization=f"Bearer {key}")[0], 200)
            self.assertEqual(server.get("/health")[0], 200)
        with Server(MODEL, self.store, env={"FLEXGEN_API_KEY": "hidden"}) as server:
            self.assertEqual(server.get("/v1/models")[0], 401)
            self.assertEqual(server.get("/v1/models", Authorization="Bearer hidden")[0], 200)

    # ---- limits ------------------------------------------------------------------------------------------------------

    def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(self):
        connection = self.server.connect()
        status, _, body = self.server.ask("GET", "/health", b"x" * (5 << 20), connection=connection)
        self.assertEqual(status, 413)
        self.assertIn("1048576", body["error"]["message"])
        self.assertEqual(self.server.ask("GET", "/health", connection=connection)[0], 200)
        connection.close()

    def test_a_large_body_without_a_length_is_refused(self):
        with self.server.socket() as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            for _ in range(40):
                s.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            s.sendall(b"0\r\n\r\n")
            self.assertIn(b" 413 ", read_all(s))

    def test_who_asks_before_sending_hears_it_at_once(self):
        with self.server.socket() as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
            self.assertIn(b" 413 ", s.recv(4096))

    def test_a_flood_of_headers_is_refused(self):
        for line in (b"X-Long: " + b"x" * 200000 + b"\r\n", b"X: y\r\n" * 20000):
            with self.server.socket() as s:
                try:
                    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n")
                except OSError:
                    pass
                self.assertNotIn(b" 200 ", read_all(s)[:64])
        self.still_answers()

    def test_garbage_is_refused(self):
        for garbage in (b"\x00\xff\x13garbage\r\n\r\n", b"GET\r\n\r\n", b"POST /health HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Length: 99999999999999999999999\r\n\r\n"):
            with self.server.socket(timeout=20) as s:
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                self.assertNotIn(b" 200 ", read_all(s)[:64])
        self.still_answers()

    def test_garbage_behind_a_request_does_not_spoil_its_answer(self):
        with self.server.socket() as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x01 nonsense\r\n\r\n")
            self.assertIn(b" 200 ", s.recv(65536)[:64])
        self.still_answers()

    def test_two_requests_in_one_piece_are_both_answered(self):
        with self.server.socket() as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                      b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertEqual(read_all(s).count(b"HTTP/1.1 200 "), 2)

    def test_a_header_that_does_not_come_ends_the_connection(self):
        with self.server.socket(timeout=30) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
            self.assertNotIn(b" 200 ", read_all(s))  # returns: the server has closed it
        with self.server.socket(timeout=30) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nsome")
            self.assertNotIn(b" 200 ", read_all(s))
        self.still_answers()

    def test_a_slow_client_that_keeps_sending_is_served(self):
        with self.server.socket() as s:
            for piece in (b"GET /hea", b"lth HTTP/1.1\r\n", b"Host: localhost\r\n", b"Connection: close\r\n\r\n"):
                s.sendall(piece)
                time.sleep(0.05)
            self.assertIn(b" 200 ", read_all(s))

    # ---- the end -------------------------------------------------------------------------------------------------------

    def test_a_signal_ends_an_idle_server(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Server(MODEL, self.store) as server:
                connection = server.connect()
                self.assertEqual(server.ask("GET", "/health", connection=connection)[0], 200)
                self.assertEqual(server.stop(number), -number)  # a shell shows 143 and 130
                connection.close()

    def test_a_port_that_is_taken_is_a_failure_in_one_line(self):
        said = self.fail_with(1, "serve", MODEL, "--port", self.server.port, "--offload-dir", self.store, "--quiet")
        self.assertIn("--port", said)
        self.assertEqual(said.count("\n"), 1)

    def test_an_address_that_is_none_is_a_failure_in_one_line(self):
        said = self.fail_with(1, "serve", MODEL, "--host", "256.1.1.1", "--offload-dir", self.store, "--quiet")
        self.assertIn("--host 256.1.1.1", said)


if __name__ == "__main__":
    harness.main()
