// What the native kernels share: a device, a record's words, the tile of products. Records, memory and bits are those of the
// Wasm kernels (../kernels/index.as.ts): a kernel here does a record's part, or returns 0 and leaves it to them.

#ifndef GYROTRON_KERNELS_H
#define GYROTRON_KERNELS_H

#include "lanes.h"

/** Bytes of a thread's own memory: panels of weights, scores. */
#define WORK_BYTES (4u << 20)

/** One thread's view of a device. */
typedef struct {
  /** The Wasm memory, to which addresses relate. */
  uint8_t *memory;
  /** The control block. */
  const int32_t *control;
  /** `WORK_BYTES`, aligned to a line of the caches. */
  uint8_t *work;
  /** Whether `work` has the left side of the present record, split by another part of it (tiles.c). */
  int isSplit;
} Device;

// Words of the control block (../layout.ts).
enum { CONTROL_EXP2 = 9, CONTROL_POSITIONS = 11, CONTROL_CACHES = 12 };

/** Parts `part` of `parts` of a record; 0 if the Wasm kernels have to do it. Which it is must not depend on the part. */
int multiplyMatrix(Device *device, const int32_t *record, int part, int parts);
int attend(const Device *device, const int32_t *record, int part, int parts);
int gate(const Device *device, const int32_t *record, int part, int parts);

INLINE void *at(const Device *device, int32_t address) {
  return device->memory + (uint32_t)address;
}

INLINE int32_t rowsOf(const Device *device, const int32_t *record) {
  return *(const int32_t *)at(device, record[2]);
}

INLINE int shareOf(int count, int part, int parts) {
  return (int)((int64_t)count * part / parts);
}

INLINE int isBad(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x7fffffff) >= 0x7f800000;
}

/** Notes the smallest op index at which a row stopped being finite. Threads may race: the minimum wins. */
INLINE void markBad(int32_t *status, int row, int32_t index) {
  int32_t seen = __atomic_load_n(status + row, __ATOMIC_SEQ_CST);
  while (index < seen &&
         !__atomic_compare_exchange_n(status + row, &seen, index, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
}

/** Most rows and vectors of columns of a tile whose sums stay in registers. */
#if VECTOR_BYTES == 64
#define TILE_ROWS 8
#define TILE_VECTORS 3
#elif VECTOR_BYTES == 32
#define TILE_ROWS 4
#define TILE_VECTORS 2
#else
#define TILE_ROWS 4
#define TILE_VECTORS 4
#endif

typedef Words Tile[TILE_ROWS][TILE_VECTORS];

/**
 * The sums over `pairs` pairs of k of `rows` rows by `vectors` vectors of columns. A row's pairs lie side by
 * side, `rowStride` words from one row to the next; a pair of all columns does, `pairStride` words to the next.
 * Meanwhile memory is asked for what comes next, `aheadStep` bytes at `ahead` for each pair.
 */
INLINE void sumTile(const int rows, const int vectors, const int32_t *left, size_t rowStride,
                    const int32_t *panel, size_t pairStride, size_t pairs, const uint8_t *ahead,
                    const size_t aheadStep, Tile result) {
  Words sums[TILE_ROWS][TILE_VECTORS];
  const int32_t *starts[TILE_ROWS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
    starts[r] = left + (size_t)r * rowStride;
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) sums[r][c] = splat(0);
  }
  for (size_t k = 0; k < pairs; k++) {
    Words weights[TILE_VECTORS];
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) weights[c] = loadWords(panel + c * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const Words x = splat(starts[r][k]);
#pragma GCC unroll 4
      for (int c = 0; c < vectors; c++) sums[r][c] = addDot(sums[r][c], x, weights[c]);
    }
    panel += pairStride;
    if (aheadStep == 0) continue;
    __builtin_prefetch(ahead + k * aheadStep, 0, 2);
    __builtin_prefetch(ahead + k * aheadStep + aheadStep / 2, 0, 2);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) result[r][c] = sums[r][c];
  }
}

/** Exact sums: 2^16 * uppers + lowers. */
typedef struct {
  Tile uppers, lowers;
} Sums;

INLINE void clearSums(Sums *sums) { memset(sums, 0, sizeof *sums); }

/** Adds a tile, so that sums go beyond 32 bits. At most 2^15 times. */
INLINE void addTile(const int rows, const int vectors, Sums *sums, const Tile tile) {
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < vectors; c++) {
      sums->uppers[r][c] += tile[r][c] >> 16;
      sums->lowers[r][c] += tile[r][c] & 65535;
    }
  }
}

/** Sums as binary64, which holds all integers below 2^53. */
INLINE DoublePair wholeSums(Words uppers, Words lowers) {
  const DoublePair upper = toDoubles(uppers), lower = toDoubles(lowers);
  return (DoublePair){upper.low * 65536.0 + lower.low, upper.high * 65536.0 + lower.high};
}

/** Calls `body` with the largest constants that fit, so that compilers keep a tile in registers. */
#define FOR_TILES(rows, body)                   \
  do {                                          \
    for (int row = 0; row < (rows);) {          \
      const int left_ = (rows) - row;           \
      if (TILE_ROWS >= 8 && left_ >= 8) {       \
        body(8);                                \
        row += 8;                               \
      } else if (left_ >= 4) {                  \
        body(4);                                \
        row += 4;                               \
      } else if (left_ >= 2) {                  \
        body(2);                                \
        row += 2;                               \
      } else {                                  \
        body(1);                                \
        row += 1;                               \
      }                                         \
    }                                           \
  } while (0)

#endif
