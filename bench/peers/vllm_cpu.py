"""vLLM on the CPU, bfloat16, all weights in memory. Bound to cores one by one: otherwise it uses one. It fills the
memory for keys and values that it is told to, so it gets what the job needs and an eighth more."""
import os
import time

import job


def main():
    options = job.parser().parse_args()
    os.environ.update(OMP_NUM_THREADS=str(options.threads), VLLM_CPU_OMP_THREADS_BIND=f"0-{options.threads - 1}",
                      VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1")
    from transformers import AutoConfig
    from vllm import LLM, SamplingParams
    config = AutoConfig.from_pretrained(options.checkpoint)
    kv_heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
    token = 4 * config.num_hidden_layers * config.hidden_size // config.num_attention_heads * kv_heads  # bytes
    room = options.prompt_len + options.gen_len + 128  # blocks are filled in part
    model = LLM(model=options.checkpoint, dtype="bfloat16", skip_tokenizer_init=True, enable_prefix_caching=False,
                max_num_batched_tokens=4096, gpu_memory_utilization=0.3,
                kv_cache_memory_bytes=options.num_prompts * room * token * 9 // 8,
                max_model_len=options.prompt_len + options.gen_len + 16, max_num_seqs=options.num_prompts)

    def run(ids, count):
        sampling = SamplingParams(temperature=0, max_tokens=count, min_tokens=count, ignore_eos=True, detokenize=False)
        model.generate([{"prompt_token_ids": prompt} for prompt in ids], sampling, use_tqdm=False)

    ids = job.prompts(options, model.llm_engine.model_config.get_vocab_size())
    run([ids[0][:8]], 2)
    began = time.perf_counter()
    run(ids, options.gen_len)
    job.report(options.num_prompts * options.prompt_len, options.num_prompts * options.gen_len,
               time.perf_counter() - began)


if __name__ == "__main__":
    main()
