"""transformers with accelerate: decoder layers on disk, embeddings and head in memory."""
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import job

SMALL = {"opt": ("model.decoder", ("embed_tokens", "embed_positions", "final_layer_norm")),
         "llama": ("model", ("embed_tokens", "norm", "rotary_emb"))}

options = job.parser().parse_args()
torch.set_num_threads(options.threads)
config = AutoConfig.from_pretrained(options.checkpoint)
stem, small = SMALL[config.model_type]
places = {"lm_head": "cpu", **{f"{stem}.{name}": "cpu" for name in small},
          **{f"{stem}.layers.{i}": "disk" for i in range(config.num_hidden_layers)}}
job.generate(AutoModelForCausalLM.from_pretrained(
    options.checkpoint, dtype=torch.bfloat16, device_map=places, offload_folder=options.work).eval(), options)
