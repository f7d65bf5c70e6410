"""A server for tests: started on a free port, spoken to with Python's own HTTP client or bytes on a socket."""
import contextlib
import http.client
import json
import re
import signal
import socket

import harness


class Server:
    """`flexgen serve` as a child; `with` ends it, and looks at how it ended."""

    def __init__(self, model, folder, *options, env=None):
        self.child = harness.start("serve", model, "--port", "0", "--offload-dir", folder, "--dtype", "f32", "--threads",
                                   "1", *options, env=env or {})
        self.said = []
        for line in self.child.stderr:
            self.said.append(line.decode(errors="replace"))
            found = re.search(r"listening on http://.*:(\d+)$", self.said[-1].rstrip())
            if found:
                self.port = int(found[1])
                return
        raise AssertionError("".join(self.said))

    def __enter__(self):
        return self

    def __exit__(self, *why):
        if self.child.poll() is None:
            self.stop()
        self.child.stdout.close()
        self.child.stderr.close()
        assert "Sanitizer" not in "".join(self.said), "".join(self.said)

    def stop(self, number=signal.SIGTERM, timeout=60):
        """Returns the exit status."""
        self.child.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout=60):
        try:
            _, said = self.child.communicate(timeout=timeout)
        except Exception:
            self.child.kill()
            raise
        self.said.append(said.decode(errors="replace"))
        return self.child.returncode

    # ---- requests ------------------------------------------------------------------------------------------------

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, connection=None):
        """Status, headers and body; JSON as what it holds."""
        own = connection or self.connect()
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        own.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = own.getresponse()
        data = answer.read()
        if not connection:
            own.close()
        if data and answer.getheader("Content-Type", "").startswith("application/json"):
            data = json.loads(data)
        return answer.status, answer.headers, data

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, headers)

    @contextlib.contextmanager
    def socket(self, timeout=60):
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            yield s


def read_all(s):
    """Until the other side closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data
