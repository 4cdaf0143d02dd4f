// A product's record and its outputs, which all ways to multiply share (see product.c).

#ifndef GYROTRON_PRODUCT_H
#define GYROTRON_PRODUCT_H

#include "kernels.h"
#include "levels.h"

/** Columns of a unit: four groups. */
#define UNIT 16
/** Pairs of k of a block of weights. */
#define BLOCK_PAIRS 4
/** Longest columns, in blocks of eight k: what is made of them fits a thread's memory. */
#define BLOCKS_MAX 2048

/** A record of a product, as pointers. */
typedef struct {
  int32_t rows, blocks, groups, fitting, bits, columns;
  int32_t op, second, third;
  int32_t *status;
  const int16_t *left;
  const int32_t *exponents;
  const uint8_t *weights;
  const double *scales;
  const uint8_t *multipliers;
  const double *limits;
  float *out;
} Product;

INLINE Product readProduct(const Device *device, const int32_t *record) {
  return (Product){
      .rows = rowsOf(device, record),
      .status = at(device, record[3]),
      .left = at(device, record[4]),
      .exponents = at(device, record[5]),
      .weights = at(device, record[6]),
      .scales = at(device, record[7]),
      .blocks = record[8],
      .groups = record[9],
      .fitting = record[10],
      .bits = record[11],
      .out = at(device, record[12]),
      .columns = record[13],
      .op = record[14],
      .second = record[15],
      .third = record[16],
      .multipliers = at(device, record[17]),
      .limits = at(device, record[19]),
  };
}

/** Where a row's mantissas are. */
INLINE const int16_t *leftOf(const Product *p, int row) {
  return p->left + (size_t)row * (size_t)p->blocks * 8;
}

/** Bytes of a group's weights. */
INLINE size_t groupBytes(const Product *p) {
  return (size_t)p->blocks * (p->bits == 4 ? LEVEL_BLOCK_BYTES : p->bits == 8 ? 32 : 64);
}

/** What a group's columns have for each four blocks: multipliers of a byte, or of levels those and offsets. */
INLINE const uint8_t *multipliersOf(const Product *p, int group) {
  const size_t bytes = p->bits == 4 ? LEVEL_BLOCK_BYTES : 4;
  return p->multipliers + (size_t)group * (size_t)((p->blocks + 3) / 4) * bytes;
}

/** Stores a row's outputs from `column` on, `count` at most of these; returns whether one is not finite. */
INLINE int storeVector(const Product *p, int row, int column, int count, DoublePair sums) {
  const double factor = power(p->exponents[row]);
  const double *scales = p->scales + column;
  const DoublePair exact = {sums.low * loadDoubles(scales) * factor,
                            sums.high * loadDoubles(scales + WIDE) * factor};
  const Floats value = roundOnce(exact);
  float *out = p->out + (size_t)row * (size_t)p->columns + column;
#if VECTOR_BYTES == 64
  _mm512_mask_storeu_ps(out, (__mmask16)(count >= LANES ? 0xffff : (1 << count) - 1), (__m512)value);
#else
  if (count >= LANES) {
    storeWords(out, (Words)value);
  } else {
    memcpy(out, &value, (size_t)count * sizeof *out);
  }
#endif
  return anyBad((Unsigned)value << 1);
}

/** Notes which of some outputs are not finite; columns may belong to up to three ops. */
INLINE void noteBad(const Product *p, int row, int rows, int column, int columns) {
  for (int r = row; r < row + rows; r++) {
    for (int c = column; c < column + columns; c++) {
      if (!isBad(p->out[(size_t)r * (size_t)p->columns + (size_t)c])) continue;
      markBad(p->status, r, p->op + (c >= p->second) + (c >= p->third));
    }
  }
}

/** Whether this process may use the processor's tiles of 8 bits. The same for all threads. */
int haveTiles(void);

/** Units `from` to `to` of a product whose left side has at most 14 bits, by tiles. */
void multiplyByTiles(Device *device, const Product *p, int from, int to);

#endif
