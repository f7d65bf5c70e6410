"""What every peer's program shares: the job on the command line, random prompts, the printed figures."""
import argparse
import json
import random
import time


def parser():
    shared = argparse.ArgumentParser()
    shared.add_argument("checkpoint")
    shared.add_argument("--prompt-len", type=int, required=True)
    shared.add_argument("--gen-len", type=int, required=True)
    shared.add_argument("--num-prompts", type=int, required=True)
    shared.add_argument("--threads", type=int, required=True)
    shared.add_argument("--work", required=True)
    return shared


def prompts(options, vocabulary):
    numbers = random.Random(0)
    return [[numbers.randrange(300, vocabulary) for _ in range(options.prompt_len)]
            for _ in range(options.num_prompts)]


def report(prompt_tokens, generated, seconds, **more):
    """Prints the names that flexgen bench prints, where the peer has them."""
    print(json.dumps({"prompt_tokens": prompt_tokens, "generated_tokens": generated, "total_s": seconds,
                      "generated_tokens_per_s": generated / seconds, **more}), flush=True)


def generate(model, options):
    """transformers' generate() on one batch, timed after a short warm-up."""
    import torch
    ids = torch.tensor(prompts(options, model.config.vocab_size))
    marks = []

    def note(tokens, _, **__):
        """A stopping criterion that stops nothing: it tells when the first token was there."""
        marks.append(time.perf_counter())
        return torch.zeros(tokens.shape[0], dtype=torch.bool)

    def run(tokens, count):
        with torch.inference_mode():
            return model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=False, min_new_tokens=count,
                                  max_new_tokens=count, pad_token_id=1, use_cache=True, stopping_criteria=[note])

    run(ids[:1, :8], 1)
    marks.clear()
    began = time.perf_counter()
    run(ids, options.gen_len)
    seconds = time.perf_counter() - began
    prefill = marks[0] - began
    report(ids.numel(), options.num_prompts * options.gen_len, seconds, prefill_s=prefill, decode_s=seconds - prefill)
