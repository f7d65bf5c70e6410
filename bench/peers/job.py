"""What every peer's program shares: the job on the command line, random prompts, the printed figures."""
import argparse
import json
import random
import resource
import time


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--prompt-len", type=int, required=True)
    parser.add_argument("--gen-len", type=int, required=True)
    parser.add_argument("--num-prompts", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--work", required=True)
    return parser.parse_args()


def prompts(options, vocabulary):
    numbers = random.Random(0)
    return [[numbers.randrange(300, vocabulary) for _ in range(options.prompt_len)]
            for _ in range(options.num_prompts)]


def report(options, began, generated):
    """Prints the names that flexgen bench prints, where the peer has them."""
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"prompt_tokens": options.num_prompts * options.prompt_len, "generated_tokens": generated,
                      "total_s": seconds, "generated_tokens_per_s": generated / seconds,
                      "peak_memory_bytes": peak}), flush=True)


def generate(model, options):
    """transformers' generate() on one batch, timed after a short warm-up."""
    import torch
    ids = torch.tensor(prompts(options, model.config.vocab_size))

    def run(tokens, count):
        with torch.inference_mode():
            return model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                                  min_new_tokens=count, max_new_tokens=count, pad_token_id=1, use_cache=True)

    run(ids[:1, :8], 1)
    began = time.perf_counter()
    run(ids, options.gen_len)
    report(options, began, options.num_prompts * options.gen_len)
