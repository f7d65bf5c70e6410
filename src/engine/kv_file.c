#include "engine/kv_file.h"

#include "engine/unnamed_file.h"

fg_status fg_kv_file_create(fg_file **out, const char *folder, uint64_t bytes, fg_error *err) {
  const fg_unnamed_file wanted = {
      .folder = folder,
      .prefix = "kv",
      .bytes = bytes,
      .what = "the KV cache",
      .advice = "choose another --offload-dir, lower --max-num-seqs or --max-model-len, or keep more of the "
                "cache in memory (--percent, --cache-dtype)",
  };
  return fg_unnamed_file_create(out, &wanted, err);
}
