"""AirLLM: one layer in memory at a time, the next one prefetched."""
import torch
from airllm import AutoModel

import job

options = job.parser().parse_args()
torch.set_num_threads(options.threads)
job.generate(AutoModel.from_pretrained(options.checkpoint, device="cpu", prefetching=True,
                                       layer_shards_saving_path=options.work), options)
