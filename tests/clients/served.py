"""`flexgen serve` for the time of a test."""
import contextlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def has_serve(flexgen):
    return "\n  serve " in subprocess.run([flexgen, "--help"], capture_output=True, text=True).stdout


@contextlib.contextmanager
def server(flexgen, model, name, *options, **more):
    """Yields the server's URL when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = tempfile.TemporaryFile("w+")
    process = subprocess.Popen([flexgen, "serve", model, "--port", str(port), "--served-model-name", name, *options],
                               stdin=subprocess.DEVNULL, stderr=said, **more)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            if process.poll() is not None:
                said.seek(0)
                raise RuntimeError(f"flexgen serve ended with status {process.returncode}: {said.read()}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()
        said.close()


def _answers(url):
    try:
        with urllib.request.urlopen(url + "/health") as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False
