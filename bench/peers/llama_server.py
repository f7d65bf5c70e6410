"""llama.cpp's llama-server on a file of requests with token ids, as many at once as it has slots. What a prompt has in common
with the one before it in its slot is not computed again."""
import concurrent.futures
import http.client
import json
import pathlib
import subprocess
import sys
import time

import job

parser = job.parser()
parser.add_argument("--requests", type=pathlib.Path, required=True, help="OpenAI Batch lines")
parser.add_argument("--slots", type=int, default=8)
parser.add_argument("--port", type=int, default=18080)
options = parser.parse_args()


def call(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=3600)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_ready(server):
    while server.poll() is None:
        try:
            if call("GET", "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"llama-server ended with {server.returncode}")


def complete(body):
    stop = body.get("stop", [])
    status, answer = call("POST", "/completion", {
        "prompt": body["prompt"], "n_predict": body["max_tokens"], "temperature": 0, "cache_prompt": True,
        "ignore_eos": body.get("ignore_eos", False), "stop": [stop] if isinstance(stop, str) else stop})
    if status != 200:
        raise SystemExit(f"llama-server: {status} {answer[:200]}")
    return json.loads(answer)["tokens_predicted"]


bodies = [json.loads(line)["body"] for line in options.requests.read_text().splitlines()]
longest = max(len(body["prompt"]) + body["max_tokens"] for body in bodies)
room = -(-longest // 256) * 256 * options.slots
command = [pathlib.Path(sys.prefix) / "build/bin/llama-server", "--model", options.checkpoint, "--parallel",
           options.slots, "--ctx-size", room, "--threads", options.threads, "--port", options.port, "--no-webui"]
server = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    wait_until_ready(server)
    complete({"prompt": bodies[0]["prompt"][:8], "max_tokens": 1})
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(2 * options.slots) as pool:
        generated = sum(pool.map(complete, bodies))
    job.report(sum(len(body["prompt"]) for body in bodies), generated, time.perf_counter() - began)
finally:
    server.terminate()
    server.wait()
