"""vLLM on the CPU, bfloat16, all weights in memory. Bound to cores one by one: otherwise it uses one. It takes the
memory that it is told to take ("gpu" or not): a third of the machine holds these jobs."""
import os
import time

import job


def main():
    options = job.parser().parse_args()
    os.environ.update(OMP_NUM_THREADS=str(options.threads), VLLM_CPU_OMP_THREADS_BIND=f"0-{options.threads - 1}",
                      VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1")
    from vllm import LLM, SamplingParams
    model = LLM(model=options.checkpoint, dtype="bfloat16", skip_tokenizer_init=True, enable_prefix_caching=False,
                max_num_batched_tokens=4096, gpu_memory_utilization=0.3,
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
