"""transformers, bfloat16, all weights in memory."""
import torch
from transformers import AutoModelForCausalLM

import job

options = job.parser().parse_args()
torch.set_num_threads(options.threads)
job.generate(AutoModelForCausalLM.from_pretrained(options.checkpoint, dtype=torch.bfloat16).eval(), options)
