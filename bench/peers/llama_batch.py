"""llama.cpp by its own llama-batched-bench: all prompts in micro-batches, then all sequences token by token."""
import json
import pathlib
import subprocess
import sys

import job

parser = job.parser()
parser.add_argument("--ubatch", default="512", help="tokens of a micro-batch")
parser.add_argument("--flash-attention", default="on")
options = parser.parse_args()
program = pathlib.Path(sys.prefix) / "build/bin/llama-batched-bench"
# The first token comes with the prompt, so one step less. A sequence's room is padded to 256 tokens.
room = -(-(options.prompt_len + options.gen_len) // 256) * 256 * options.num_prompts
command = [program, "--model", options.checkpoint, "--ctx-size", room, "--batch-size", max(2048, int(options.ubatch)),
           "--ubatch-size", options.ubatch, "--flash-attn", options.flash_attention, "-npp", options.prompt_len,
           "-ntg", options.gen_len - 1, "-npl", options.num_prompts, "--threads", options.threads,
           "--output-format", "jsonl"]
out = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                     text=True).stdout
row = next(json.loads(line) for line in out.splitlines() if line.startswith("{"))
job.report(options.num_prompts * options.prompt_len, options.num_prompts * options.gen_len, row["t"],
           prefill_s=row["t_pp"], decode_s=row["t_tg"])
