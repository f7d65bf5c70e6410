// dequant.h: what a format of quantised weights gives, and what the formats share.
//
// A *module* is one quantised matrix [rows, columns] = [outputs, inputs] of a model: several tensors whose
// names begin alike ("X.qweight", "X.scales"), the format's parts. A format says which tensors are its parts,
// checks when the checkpoint is opened that they fit each other, and later makes rows of the matrix. There
// are two kinds. Where values are integers with a scale, the format gives a row as codes and the rest is
// common: as floats, w = (code - zero) scale, or as the groups of tensor/groups.h, which hold the same codes.
// Others (FP8, FP4) give floats.
//
// What a format needs on the way lies in *rooms* of the reader, blocks that grow to the largest use. Formats
// whose words run along the inputs of one output read *lines*, many at once; those that pack outputs side by
// side read a *strip*: some columns of all their words, as many as memory allows.
//
// Threads: a reader has one owner.
#ifndef FG_FORMAT_DEQUANT_H
#define FG_FORMAT_DEQUANT_H

#include "base/json.h"
#include "format/checkpoint.h"

enum { FG_DEQUANT_PARTS = 8, FG_DEQUANT_GROUPS = 8 };

// What the configuration says that the tensors do not.
typedef struct fg_dequant_settings {
  char about[48];                     // for people: "GPTQ 4-bit"
  uint64_t groups[FG_DEQUANT_GROUPS]; // inputs that share a scale; 0: all
  uint32_t group_count;
  uint64_t block[2];   // outputs and inputs that share a scale; 0: not named
  bool zero_as_stored; // GPTQ: else one less is stored
  bool shuffled;       // GPTQ: inputs of a group need not stand together ("act-order")
} fg_dequant_settings;

typedef struct fg_dequant_format fg_dequant_format;

typedef struct fg_dequant_module {
  const fg_dequant_format *format;
  const fg_dequant_settings *settings;
  const char *name;                                    // "X.weight"
  const fg_checkpoint_tensor *parts[FG_DEQUANT_PARTS]; // in the order of the format's suffixes; NULL: absent
  uint64_t rows, columns;
  // set by the format:
  uint32_t bits;
  uint64_t tile_rows, tile_columns; // of the matrix that share a scale
  uint64_t scales;                  // of a row
  bool symmetric;                   // every zero is the middle code
  bool shuffled;                    // inputs of a group do not stand together
  uint64_t run, nested_run;         // bitsandbytes: values that share an absmax, and of these a second one
  float whole; // of the matrix: bitsandbytes adds it to nested absmax, NVFP4 divides scales by it
} fg_dequant_module;

// One row of integers. // codes: [columns]; scale, zero: [scales]; group: [columns] or NULL (i /
// tile_columns)
typedef struct fg_dequant_row {
  uint8_t *codes;
  float *scale, *zero;
  const uint32_t *group;
} fg_dequant_row;

typedef enum fg_dequant_room {
  FG_ROOM_WORDS,
  FG_ROOM_SCALES,
  FG_ROOM_ZEROS,
  FG_ROOM_GROUPS,
  FG_ROOM_RAW, // on the way into any of the others
  FG_ROOM_ROW,
  FG_ROOM_COUNT
} fg_dequant_room;

typedef struct fg_dequant_reader {
  fg_checkpoint *from; // the tensors as they stand
  uint64_t strip_bytes;
  uint64_t ahead; // rows that are wanted from the present one on
  struct {
    void *data;
    uint64_t bytes;
    const fg_checkpoint_tensor *part; // lines [first, first + count) of it are there; NULL: something else
    uint64_t first, count;
  } rooms[FG_ROOM_COUNT];
  // what the strip holds
  const fg_dequant_module *module;
  uint64_t first, count;
} fg_dequant_reader;

typedef enum fg_part_kind {
  FG_PART_WORDS,  // i32
  FG_PART_FLOATS, // f16, bf16, f32
  FG_PART_SCALES, // these or f8_e8m0
  FG_PART_BYTES,  // u8
  FG_PART_INTS,   // i8
  FG_PART_LONGS,  // i64
  FG_PART_FP8,    // f8_e4m3
} fg_part_kind;

struct fg_dequant_format {
  const char *suffixes[FG_DEQUANT_PARTS]; // the first one's tensor makes a module
  uint32_t required;                      // of these, from the first on
  fg_part_kind kind;                      // of the first part; another type is somebody else's
  // The parts fit each other: fills what a module has.
  fg_status (*open)(fg_dequant_module *module, fg_dequant_reader *reader, fg_error *err);
  // One of the two.
  fg_status (*codes)(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row,
                     fg_dequant_row *out, fg_error *err);
  // out: [count, columns]
  fg_status (*floats)(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row,
                      uint64_t count, float *out, fg_error *err);
  // The same rows in a type of tensor/dtype.h that holds them as they are; NULL: there is none.
  fg_status (*blocks)(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row,
                      uint64_t count, void *out, fg_error *err);
  fg_dtype block_type;
};

extern const fg_dequant_format fg_dequant_gptq, fg_dequant_awq, fg_dequant_packed, fg_dequant_fp4,
    fg_dequant_int8, fg_dequant_fp8, fg_dequant_bnb4, fg_dequant_bnb8, fg_dequant_mxfp4;

// Reads a method's configuration. FG_UNSUPPORTED names what is not built.
typedef fg_status fg_dequant_configure(fg_dequant_settings *out, const json_t *config, fg_error *err);
fg_dequant_configure fg_dequant_configure_gptq, fg_dequant_configure_awq, fg_dequant_configure_compressed,
    fg_dequant_configure_fp8, fg_dequant_configure_bnb, fg_dequant_configure_mxfp4;

// ---- what formats call when they open ------------------------------------------------------------------

bool fg_dequant_is(fg_dtype dtype, fg_part_kind kind);
// The part is of this kind and has this shape. rows 0: any.
fg_status fg_dequant_check(const fg_dequant_module *module, uint32_t part, fg_part_kind kind, uint64_t rows,
                           uint64_t columns, fg_error *err);
// The group of `inputs` that `scales` scales go with: one that the configuration names, or equal ones.
fg_status fg_dequant_find_group(fg_dequant_module *module, uint64_t scales, fg_error *err);
// The same for scales [?, ?] of tiles: one for all, one a row, one a group of a row, one a block.
fg_status fg_dequant_find_tile(fg_dequant_module *module, uint32_t part, fg_error *err);

// An integer under the first of two keys that is there; -1 becomes 0. FG_INVALID for 0 and other negative
// ones.
fg_status fg_dequant_read_group(const json_t *config, const char *key, const char *other, uint64_t *out,
                                fg_error *err);

// ---- what they call when they read ---------------------------------------------------------------------

// At least so many bytes; what the room held before is gone if it has to grow. NULL: FG_NO_SPACE.
void *fg_dequant_take(fg_dequant_reader *reader, fg_dequant_room room, uint64_t bytes, fg_error *err);
// Columns [first, first + count) of all rows, or a run of values in the order of rows, as they stand.
fg_status fg_dequant_columns(fg_dequant_reader *reader, const fg_checkpoint_tensor *part, uint64_t first,
                             uint64_t count, void *out, fg_error *err);
fg_status fg_dequant_run(fg_dequant_reader *reader, const fg_checkpoint_tensor *part, uint64_t first,
                         uint64_t count, void *out, fg_error *err);
// The same in float32. They use FG_ROOM_RAW.
fg_status fg_dequant_float_columns(fg_dequant_reader *reader, const fg_checkpoint_tensor *part,
                                   uint64_t first, uint64_t count, float *out, fg_error *err);
fg_status fg_dequant_float_run(fg_dequant_reader *reader, const fg_checkpoint_tensor *part, uint64_t first,
                               uint64_t count, float *out, fg_error *err);
// Line `line` of a part that is lines of `width` values, as it stands. Lines behind it that are wanted soon
// come with it and stay in the room. NULL on failure; then fg_dequant_failed says which.
const void *fg_dequant_line(fg_dequant_reader *reader, fg_dequant_room room, const fg_checkpoint_tensor *part,
                            uint64_t line, uint64_t width, fg_error *err);
static inline fg_status fg_dequant_failed(const fg_error *err) {
  return err ? err->status : FG_IO;
}
// The same of a part of scales, in float32. // out: [width]
fg_status fg_dequant_scale_line(fg_dequant_reader *reader, const fg_checkpoint_tensor *part, uint64_t line,
                                uint64_t width, float *out, fg_error *err);
// The strip that a row of outputs lies in: whether it is there; else its first row and its number.
bool fg_dequant_strip(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row);

float fg_f8_e4m3_to_f32(uint8_t code); // 4 bits of exponent, 3 of fraction; 0x7f and 0xff are no numbers
float fg_f8_e8m0_to_f32(uint8_t code); // 2^(code - 127); 255 is no number
float fg_f4_e2m1_to_f32(uint8_t code); // 0 .5 1 1.5 2 3 4 6, then the negatives

// ---- what the checkpoint calls -------------------------------------------------------------------------

// The type of tensor/dtype.h that holds the module's codes as they are; false if there is none.
bool fg_dequant_code_type(const fg_dequant_module *module, fg_dtype *out);
// Rows in float32. // out: [count, columns]
fg_status fg_dequant_floats(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row,
                            uint64_t count, float *out, fg_error *err);
// Rows in the type of fg_dequant_code_type.
fg_status fg_dequant_codes(fg_dequant_reader *reader, const fg_dequant_module *module, uint64_t row,
                           uint64_t count, void *out, fg_error *err);
void fg_dequant_reader_free(fg_dequant_reader *reader);

#endif
