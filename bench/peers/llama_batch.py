"""llama.cpp by llama-cpp-python's C interface: all sequences prefilled in micro-batches, then decoded together."""
import ctypes
import time

import llama_cpp as lib

import job

MICRO_BATCH = 512

options = job.arguments()
lib.llama_backend_init()
model = lib.llama_model_load_from_file(options.checkpoint.encode(), lib.llama_model_default_params())
settings = lib.llama_context_default_params()
settings.n_ctx = options.num_prompts * (options.prompt_len + options.gen_len)
settings.n_batch = settings.n_ubatch = max(MICRO_BATCH, options.num_prompts)
settings.n_seq_max = options.num_prompts
settings.n_threads = settings.n_threads_batch = options.threads
context = lib.llama_init_from_model(model, settings)
batch = lib.llama_batch_init(settings.n_batch, 0, 1)
vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))


def decode(tokens):
    """tokens: (id, position, sequence, whether its logits are wanted), at most a micro-batch."""
    batch.n_tokens = len(tokens)
    for i, (token, position, sequence, wanted) in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
    if lib.llama_decode(context, batch):
        raise SystemExit("llama_decode failed")


def likeliest(row):
    logits = ctypes.cast(lib.llama_get_logits_ith(context, row), ctypes.POINTER(ctypes.c_float * vocabulary)).contents
    return max(range(vocabulary), key=logits.__getitem__)


ids = job.prompts(options, vocabulary)
began = time.perf_counter()
answers = []
for sequence, prompt in enumerate(ids):
    for first in range(0, len(prompt), MICRO_BATCH):
        part = prompt[first:first + MICRO_BATCH]
        decode([(token, first + i, sequence, first + i == len(prompt) - 1) for i, token in enumerate(part)])
    answers.append(likeliest(-1))
for step in range(options.gen_len - 1):
    decode([(token, options.prompt_len + step, sequence, True) for sequence, token in enumerate(answers)])
    answers = [likeliest(row) for row in range(options.num_prompts)]
job.report(options, began, options.num_prompts * options.gen_len)
