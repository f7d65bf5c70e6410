// Configurations of the GLM families: transformers' own keys and those of ChatGLM's code, what is derived,
// what is refused and by which name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/arch.h"

#define GLM(type)                                                                                            \
  "\"model_type\":\"" type "\",\"hidden_size\":64,\"num_hidden_layers\":3,\"num_attention_heads\":8,"        \
  "\"num_key_value_heads\":2,\"intermediate_size\":96,\"vocab_size\":100"
#define CHATGLM                                                                                              \
  "\"model_type\":\"chatglm\",\"hidden_size\":64,\"num_layers\":3,\"num_attention_heads\":8,"                \
  "\"multi_query_attention\":true,\"multi_query_group_num\":2,\"kv_channels\":8,\"ffn_hidden_size\":96,"     \
  "\"padded_vocab_size\":100,\"seq_length\":512,\"add_qkv_bias\":true,\"layernorm_epsilon\":1.5625e-7"

static fg_status try_load(fg_config *config, const char *name, const void *data, size_t bytes,
                          fg_error *err) {
  fg_assets assets = {0};
  assert_int_equal(fg_assets_add(&assets, name, data, bytes, err), FG_OK);
  fg_status status = fg_config_load(config, &assets, err);
  fg_assets_free(&assets);
  return status;
}

static fg_config load(const char *json) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  if (try_load(&config, "config.json", json, strlen(json), &err)) fail_msg("%s", err.message);
  return config;
}

static void refuse(const char *json, fg_status wanted, const char *name) {
  fg_config config;
  fg_error err = {FG_OK, ""};
  assert_int_equal(try_load(&config, "config.json", json, strlen(json), &err), wanted);
  if (!strstr(err.message, name)) fail_msg("\"%s\" does not name %s", err.message, name);
}

static void test_defaults_are_those_of_the_reference(void **state) {
  (void)state;
  static const char *const texts[] = {"{" GLM("glm") "}", "{" GLM("glm4") "}"};
  for (int i = 0; i < 2; i++) {
    fg_config c = load(texts[i]);
    assert_int_equal(c.head_dim, 128);
    assert_int_equal(c.rotary, 64);
    assert_true(c.rope_interleaved && c.qkv_bias && !c.out_bias && !c.mlp_bias && !c.tied);
    assert_true(c.norm_eps == 1.5625e-7 && c.rope[0].theta == 10000);
    assert_int_equal(c.max_positions, 131072);
    assert_int_equal(c.arch->norm_place, i ? FG_NORM_AROUND : FG_NORM_BEFORE);
  }
}

static void test_rotary_share_is_read_from_old_and_new_configurations(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{" GLM("glm4") ",\"head_dim\":16,\"partial_rotary_factor\":0.25,\"rope_theta\":5000.0}",
      "{" GLM("glm4") ",\"head_dim\":16,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5000.0,"
                      "\"partial_rotary_factor\":0.25}}"};
  for (int i = 0; i < 2; i++) {
    fg_config c = load(texts[i]);
    assert_int_equal(c.rotary, 4);
    assert_true(c.rope[0].theta == 5000);
  }
}

static void test_chatglm_reads_the_keys_of_its_own_code(void **state) {
  (void)state;
  fg_config c = load("{" CHATGLM ",\"rope_ratio\":500,\"pre_seq_len\":null,\"quantization_bit\":0}");
  assert_int_equal(c.layers, 3);
  assert_int_equal(c.kv_heads, 2);
  assert_int_equal(c.head_dim, 8);
  assert_int_equal(c.rotary, 4);
  assert_int_equal(c.ffn, 96);
  assert_int_equal(c.vocab, 100);
  assert_int_equal(c.max_positions, 512);
  assert_int_equal(c.qkv_groups, 1);
  assert_true(c.rope[0].theta == 5e6 && c.norm_eps == 1.5625e-7);
  assert_true(c.rope_interleaved && c.qkv_bias && !c.out_bias && !c.mlp_bias && !c.no_final_norm);
}

static void test_chatglm_without_groups_has_keys_for_every_head(void **state) {
  (void)state;
  fg_config c = load("{\"model_type\":\"chatglm\",\"hidden_size\":64,\"num_layers\":1,"
                     "\"num_attention_heads\":8,\"multi_query_attention\":false,\"multi_query_group_num\":2,"
                     "\"kv_channels\":8,\"ffn_hidden_size\":96,\"padded_vocab_size\":100}");
  assert_int_equal(c.kv_heads, 8);
  assert_false(c.qkv_bias);
}

static void test_chatglm_biases_of_all_products_include_q_k_and_v(void **state) {
  (void)state;
  fg_config c = load("{\"model_type\":\"chatglm\",\"hidden_size\":64,\"num_layers\":1,"
                     "\"num_attention_heads\":8,\"kv_channels\":8,\"ffn_hidden_size\":96,"
                     "\"padded_vocab_size\":100,\"add_bias_linear\":true,\"post_layer_norm\":false}");
  assert_true(c.qkv_bias && c.out_bias && c.mlp_bias && c.no_final_norm);
}

static void test_chatglm_that_is_otherwise_is_refused_by_key(void **state) {
  (void)state;
  refuse("{" CHATGLM ",\"rmsnorm\":false}", FG_UNSUPPORTED, "rmsnorm");
  refuse("{" CHATGLM ",\"apply_residual_connection_post_layernorm\":true}", FG_UNSUPPORTED,
         "apply_residual_connection_post_layernorm");
  refuse("{" CHATGLM ",\"original_rope\":false}", FG_UNSUPPORTED, "original_rope");
  refuse("{" CHATGLM ",\"quantization_bit\":4}", FG_UNSUPPORTED, "quantization_bit");
  refuse("{" CHATGLM ",\"pre_seq_len\":128}", FG_UNSUPPORTED, "pre_seq_len");
  refuse("{" CHATGLM ",\"rope_ratio\":0}", FG_INVALID, "rope_ratio");
  refuse("{" CHATGLM ",\"rope_ratio\":1e305}", FG_INVALID, "rope_ratio");
  refuse("{" CHATGLM ",\"rope_ratio\":-1}", FG_INVALID, "rope_ratio");
}

// ---- GGUF ----------------------------------------------------------------------------------------------

typedef struct header {
  char data[4096];
  size_t bytes;
} header;

static void put(header *h, const void *data, size_t bytes) {
  assert_true(h->bytes + bytes <= sizeof h->data);
  memcpy(h->data + h->bytes, data, bytes);
  h->bytes += bytes;
}

static void put_u32(header *h, uint32_t value) {
  put(h, &value, 4);
}

static void put_u64(header *h, uint64_t value) {
  put(h, &value, 8);
}

static void put_text(header *h, const char *text) {
  put_u64(h, strlen(text));
  put(h, text, strlen(text));
}

static void put_number(header *h, const char *arch, const char *key, uint32_t value) {
  char name[96];
  snprintf(name, sizeof name, "%s.%s", arch, key);
  put_text(h, name);
  put_u32(h, 4); // u32
  put_u32(h, value);
}

// With one more key, and with one tensor of this name; NULL = without.
static fg_status load_gguf(const char *arch, const char *key, const char *tensor, fg_config *config,
                           fg_error *err) {
  header h = {.bytes = 0};
  static const struct {
    const char *key;
    uint32_t value;
  } keys[] = {{"embedding_length", 64},       {"block_count", 3},
              {"feed_forward_length", 96},    {"attention.head_count", 8},
              {"attention.head_count_kv", 2}, {"context_length", 512},
              {"rope.dimension_count", 4},    {"vocab_size", 100}};
  const uint32_t count = sizeof keys / sizeof *keys;
  put(&h, "GGUF", 4);
  put_u32(&h, 3);
  put_u64(&h, tensor ? 1 : 0);
  put_u64(&h, count + 1 + (key ? 1 : 0));
  put_text(&h, "general.architecture");
  put_u32(&h, 8); // a string
  put_text(&h, arch);
  for (uint32_t i = 0; i < count; i++) put_number(&h, arch, keys[i].key, keys[i].value);
  if (key) put_number(&h, arch, key, 1);
  if (tensor) {
    put_text(&h, tensor);
    put_u32(&h, 1); // one dimension
    put_u64(&h, 64);
    put_u32(&h, 0); // f32
    put_u64(&h, 0);
  }
  return try_load(config, FG_ASSET_GGUF_HEADER, h.data, h.bytes, err);
}

static void test_gguf_of_chatglm_has_q_k_and_v_in_one_tensor_or_in_three(void **state) {
  (void)state;
  fg_config c;
  fg_error err = {FG_OK, ""};
  if (load_gguf("chatglm", NULL, "blk.0.attn_qkv.weight", &c, &err)) fail_msg("%s", err.message);
  assert_int_equal(c.qkv_groups, 1);
  assert_int_equal(c.rotary, 4);
  assert_true(c.rope_interleaved);
  if (load_gguf("chatglm", NULL, "blk.0.attn_q.weight", &c, &err)) fail_msg("%s", err.message);
  assert_int_equal(c.qkv_groups, 0);
}

static void test_gguf_of_glm4_with_images_or_layers_that_guess_ahead_is_refused(void **state) {
  (void)state;
  static const char *const keys[] = {"rope.dimension_sections", "nextn_predict_layers"};
  fg_config c;
  fg_error err = {FG_OK, ""};
  if (load_gguf("glm4", NULL, NULL, &c, &err)) fail_msg("%s", err.message);
  assert_int_equal(c.arch->norm_place, FG_NORM_AROUND);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(load_gguf("glm4", keys[i], NULL, &c, &err), FG_UNSUPPORTED);
    assert_non_null(strstr(err.message, keys[i]));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults_are_those_of_the_reference),
      cmocka_unit_test(test_rotary_share_is_read_from_old_and_new_configurations),
      cmocka_unit_test(test_chatglm_reads_the_keys_of_its_own_code),
      cmocka_unit_test(test_chatglm_without_groups_has_keys_for_every_head),
      cmocka_unit_test(test_chatglm_biases_of_all_products_include_q_k_and_v),
      cmocka_unit_test(test_chatglm_that_is_otherwise_is_refused_by_key),
      cmocka_unit_test(test_gguf_of_chatglm_has_q_k_and_v_in_one_tensor_or_in_three),
      cmocka_unit_test(test_gguf_of_glm4_with_images_or_layers_that_guess_ahead_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
