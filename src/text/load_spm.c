// tokenizer.model: SentencePiece's own file, with what the files beside it say of special tokens.
#include <string.h>

#include "text/protobuf.h"
#include "text/sentencepiece.h"

static const char where[] = "tokenizer.model";

// ---- the message --------------------------------------------------------------------------------------

// Numbers of fields, from sentencepiece_model.proto.
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum {
  TRAINER_MODEL = 3,
  TRAINER_SPACE_AS_SUFFIX = 24,
  TRAINER_BYTE_FALLBACK = 35,
  TRAINER_UNK_SURFACE = 44,
  TRAINER_UNK = 45,
  TRAINER_BOS = 46,
  TRAINER_EOS = 47,
};
enum {
  NORMALIZER_CHARSMAP = 2,
  NORMALIZER_ADD_PREFIX = 3,
  NORMALIZER_REMOVE_EXTRA = 4,
  NORMALIZER_ESCAPE = 5
};

typedef struct reading {
  fg_spm spm;
  fg_slice bos, eos, unk;
  bool space_as_suffix, denormalizes;
} reading;

typedef fg_status take_field(reading *r, const fg_proto_field *field, fg_error *err);

static fg_status each_field(reading *r, fg_slice message, take_field *take, fg_error *err) {
  fg_proto proto = fg_proto_of(message);
  for (;;) {
    fg_proto_field field;
    bool more;
    fg_status status = fg_proto_next(&proto, &field, &more, err);
    if (status || !more) return status;
    status = take(r, &field, err);
    if (status) return status;
  }
}

static bool is(const fg_proto_field *field, uint32_t number, fg_proto_kind kind) {
  return field->number == number && field->kind == kind;
}

static fg_status take_piece_field(reading *r, const fg_proto_field *field, fg_error *err) {
  (void)err;
  fg_spm_piece *piece = &r->spm.pieces[r->spm.count - 1];
  if (is(field, PIECE_TEXT, FG_PROTO_BYTES)) piece->text = field->bytes;
  if (is(field, PIECE_SCORE, FG_PROTO_4_BYTES)) piece->score = fg_proto_float(field);
  if (is(field, PIECE_TYPE, FG_PROTO_INTEGER)) {
    piece->type =
        field->integer <= FG_SPM_BYTE ? (fg_spm_type)field->integer : (fg_spm_type)0; // 0 is refused
  }
  return FG_OK;
}

static fg_status take_trainer_field(reading *r, const fg_proto_field *field, fg_error *err) {
  (void)err;
  if (is(field, TRAINER_MODEL, FG_PROTO_INTEGER)) {
    r->spm.model = field->integer <= FG_SPM_CHAR ? (fg_spm_model)field->integer : (fg_spm_model)0;
  }
  if (is(field, TRAINER_SPACE_AS_SUFFIX, FG_PROTO_INTEGER)) r->space_as_suffix = field->integer != 0;
  if (is(field, TRAINER_BYTE_FALLBACK, FG_PROTO_INTEGER)) r->spm.byte_fallback = field->integer != 0;
  if (is(field, TRAINER_UNK_SURFACE, FG_PROTO_BYTES)) r->spm.unk_surface = field->bytes;
  if (is(field, TRAINER_UNK, FG_PROTO_BYTES)) r->unk = field->bytes;
  if (is(field, TRAINER_BOS, FG_PROTO_BYTES)) r->bos = field->bytes;
  if (is(field, TRAINER_EOS, FG_PROTO_BYTES)) r->eos = field->bytes;
  return FG_OK;
}

static fg_status take_normalizer_field(reading *r, const fg_proto_field *field, fg_error *err) {
  (void)err;
  if (is(field, NORMALIZER_CHARSMAP, FG_PROTO_BYTES)) r->spm.charsmap = field->bytes;
  if (is(field, NORMALIZER_ADD_PREFIX, FG_PROTO_INTEGER)) r->spm.add_prefix = field->integer != 0;
  if (is(field, NORMALIZER_REMOVE_EXTRA, FG_PROTO_INTEGER)) r->spm.remove_extra = field->integer != 0;
  if (is(field, NORMALIZER_ESCAPE, FG_PROTO_INTEGER)) r->spm.escape = field->integer != 0;
  return FG_OK;
}

static fg_status take_denormalizer_field(reading *r, const fg_proto_field *field, fg_error *err) {
  (void)err;
  r->denormalizes =
      r->denormalizes || (is(field, NORMALIZER_CHARSMAP, FG_PROTO_BYTES) && field->bytes.length > 0);
  return FG_OK;
}

static fg_status take_model_field(reading *r, const fg_proto_field *field, fg_error *err) {
  if (field->kind != FG_PROTO_BYTES) return FG_OK;
  switch (field->number) {
  case MODEL_PIECES: {
    if (r->spm.count == FG_VOCABULARY_MAX) {
      return fg_fail(err, FG_UNSUPPORTED, "more than %d pieces", FG_VOCABULARY_MAX);
    }
    fg_status status = fg_spm_add(&r->spm, (fg_spm_piece){.type = FG_SPM_NORMAL}, err);
    if (status == FG_OK) status = each_field(r, field->bytes, take_piece_field, err);
    return status ? fg_fail_prefix(err, "piece %zu", r->spm.count - 1) : FG_OK;
  }
  case MODEL_TRAINER: return each_field(r, field->bytes, take_trainer_field, err);
  case MODEL_NORMALIZER: return each_field(r, field->bytes, take_normalizer_field, err);
  case MODEL_DENORMALIZER: return each_field(r, field->bytes, take_denormalizer_field, err);
  default: return FG_OK;
  }
}

static fg_status check(const reading *r, fg_error *err) {
  if (r->space_as_suffix)
    return fg_fail(err, FG_UNSUPPORTED, "spaces behind words (treat_whitespace_as_suffix)");
  if (!fg_utf8_valid(r->spm.unk_surface.data, r->spm.unk_surface.length)) {
    return fg_fail(err, FG_CORRUPT, "unk_surface is not UTF-8");
  }
  if (r->denormalizes) return fg_fail(err, FG_UNSUPPORTED, "rules for decoded text (denormalizer_spec)");
  return FG_OK;
}

// ---- special tokens -----------------------------------------------------------------------------------

// What classes put around a text where tokenizer_config.json says nothing.
typedef struct class_row {
  const char *name;
  bool add_bos, add_eos;
} class_row;
static const class_row classes[] = {
    {"LlamaTokenizer", true, false},     {"LlamaTokenizerFast", true, false},
    {"CodeLlamaTokenizer", true, false}, {"CodeLlamaTokenizerFast", true, false},
    {"GemmaTokenizer", true, false},     {"GemmaTokenizerFast", true, false},
    {"BaichuanTokenizer", true, false},  {"InternLMTokenizer", true, false},
    {"InternLM2Tokenizer", true, false}, {"T5Tokenizer", false, true},
    {"T5TokenizerFast", false, true},
};

static fg_status read_options(const fg_assets *assets, fg_class_options *out, fg_error *err) {
  fg_class_options named = {0};
  const class_row *class = &classes[0];
  fg_status status = fg_tokenizer_read_class(assets, &named, err);
  for (size_t i = 0; *named.name && status == FG_OK; i++) {
    if (i == sizeof classes / sizeof *classes) {
      return fg_fail(err, FG_UNSUPPORTED,
                     "tokenizer_config.json: tokenizer class \"%s\" with a tokenizer.model is not supported; "
                     "save it as a tokenizer.json",
                     named.name);
    }
    class = &classes[i];
    if (strcmp(class->name, named.name) == 0) break;
  }
  *out = (fg_class_options){.add_bos = class->add_bos, .add_eos = class->add_eos, .legacy = true};
  return status ? status : fg_tokenizer_read_class(assets, out, err);
}

// A piece's text if there is such a piece, as a string.
static const char *copy_known(const fg_tokenizer *t, fg_slice name, const char *fallback,
                              char out[static 64]) {
  if (name.length == 0) name = (fg_slice){fallback, strlen(fallback)};
  if (name.length >= 64 || !fg_utf8_valid(name.data, name.length)) return NULL;
  memcpy(out, name.data, name.length);
  out[name.length] = 0;
  return fg_vocabulary_find_model(&t->vocabulary, out, strlen(out)) >= 0 ? out : NULL;
}

static fg_status read_specials(fg_tokenizer *t, const fg_assets *assets, const reading *r, fg_error *err) {
  char bos[64], eos[64], unk[64];
  fg_special_texts fallback = {copy_known(t, r->bos, "<s>", bos), copy_known(t, r->eos, "</s>", eos),
                               copy_known(t, r->unk, "<unk>", unk)};
  fg_status status = fg_tokenizer_read_specials(t, assets, fallback, err);
  // Beside a SentencePiece model they are found in the text as it comes, whatever their flag says.
  for (uint32_t i = 0; i < t->added_count; i++) t->added[i].normalized = false;
  return status;
}

fg_status fg_tokenizer_load_spm(fg_tokenizer *t, const fg_assets *assets, fg_error *err) {
  const fg_asset *asset = fg_assets_find(assets, where);
  if (!asset) return fg_fail(err, FG_NOT_FOUND, "no %s", where);
  reading r = {.spm = fg_spm_defaults()};
  fg_class_options options;
  fg_status status = read_options(assets, &options, err);
  if (status) return status;
  status = each_field(&r, (fg_slice){asset->data, asset->bytes}, take_model_field, err);
  if (status == FG_OK) status = check(&r, err);
  r.spm.prefix_at_start_only = !options.legacy;
  if (status == FG_OK) status = fg_tokenizer_of_spm(t, &r.spm, err);
  if (status) fg_fail_prefix(err, "%s", where);
  if (status == FG_OK) status = read_specials(t, assets, &r, err);
  if (status == FG_OK) status = fg_tokenizer_add_around(t, options.add_bos, options.add_eos, err);
  fg_spm_free(&r.spm);
  return status;
}
