// code_tiles_tmpl.h: float32 tiles from quantized blocks of the layout n64, LANES output rows a vector.
//
// Included by a file that defines LANES, the vectors t_floats and t_words, t_zero, t_load_f16, t_load_words
// and t_store, and t_value: value `i` of a word of 4 codes of 8 bits, or 8 of 4 bits, low halves first, as
// its format computes it from the group's scale d and minimum m.

// What varies by type: the bits of a code and whether there is a minimum.
typedef struct group_form {
  uint32_t bits;
  bool minimum;
} group_form;

// A run of 32 values of 64 output rows: its units of codes at `in`, the group's head at `head`.
INLINE void expand_run(group_form g, const uint8_t *head, const uint8_t *in, float *tile) {
  for (uint32_t r = 0; r < FG_TILE_ROWS; r += LANES) {
    const t_floats d = t_load_f16(head + 2 * r);
    const t_floats m = g.minimum ? t_load_f16(head + 2 * FG_TILE_ROWS + 2 * r) : t_zero();
    for (uint32_t word = 0; word < g.bits; word++) {
      const t_words words = t_load_words(in + 4 * (word * FG_TILE_ROWS + r));
      for (int i = 0; i < (int)(32 / g.bits); i++) {
        const uint32_t column = 4 * word + (uint32_t)(i / 4) * (FG_GROUP_RUN / 2) + (uint32_t)(i % 4);
        t_store(tile + column * FG_TILE_ROWS + r, t_value(g.bits, g.minimum, words, i, d, m));
      }
    }
  }
}

INLINE void expand(group_form g, uint32_t group, const uint8_t *in, uint32_t k, float *tile) {
  for (uint32_t c = 0; c < k; c += group) {
    const uint8_t *head = in;
    in += (g.minimum ? 4 : 2) * FG_TILE_ROWS;
    for (uint32_t run = 0; run < group; run += FG_GROUP_RUN, in += 4 * g.bits * FG_TILE_ROWS)
      expand_run(g, head, in, tile + (uint64_t)(c + run) * FG_TILE_ROWS);
  }
}

// One function a form, so that it is a constant inside.
#define TILE(name, bits, minimum)                                                                            \
  static void name(fg_dtype dtype, const void *block, uint32_t rows, uint32_t k, void *tile) {               \
    (void)rows;                                                                                              \
    expand((group_form){bits, minimum}, fg_dtype_get(dtype)->block, block, k, tile);                         \
  }
TILE(codes8, 8, false)
TILE(codes8_minimum, 8, true)
TILE(codes4, 4, false)
TILE(codes4_minimum, 4, true)

static void fill_tiles(fg_kernels *k) {
  for (fg_dtype dtype = 0; dtype < FG_DTYPE_COUNT; dtype++) {
    const fg_dtype_info *type = fg_dtype_get(dtype);
    fg_tile_fn **slot = &k->tile_f32[FG_LAYOUT_N64][dtype];
    if (type->bits == 8) *slot = type->minimum ? codes8_minimum : codes8;
    if (type->bits == 4) *slot = type->minimum ? codes4_minimum : codes4;
  }
}
