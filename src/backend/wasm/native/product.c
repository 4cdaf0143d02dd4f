// Products of matrices (docs/spec/01-numerics.md section 3) for records as of ../kernels/matmul.as.ts, with weights
// in the order of ../kernels/pack.as.ts: groups of four columns, in each for every two k four times two mantissas.
//
// Several rows: weights become 16 bits, times their multipliers, a panel of columns at a time, in the order in
// which tiles take them; 32-bit lanes add up as many products as ../kernels/spill.as.ts shows to fit. One or two
// rows: weights are multiplied as they come, several groups at once, as several streams keep memory busier.
//
// Floats: sums are integers below 2^53 in binary64, so are they times D, and powers of two round nothing: `sum *
// D2e * 2^ea` is exact, and `roundOnce` the only rounding.

#include "units.h"

#define UNIT_VECTORS (UNIT / LANES)
/** Units whose vectors are those of one tile. */
#define TILE_UNITS (TILE_VECTORS * LANES / UNIT)
/** Up to so many rows weights are not widened once for all of them. */
#define STREAM_ROWS 2
/** From so many rows on tiles of 8 bits are quicker. */
#define TILES_FROM_ROWS 24
/** Blocks that a lane takes in any case, at least, of a left side of at most 14 bits. */
#define FITTING_14_BITS 4
/** Groups that are read at once. */
#define STREAMS 4
/** How far ahead memory is asked for a stream's weights. */
#define AHEAD_BYTES 1024
/** Windows for which a record has limits: 2^i blocks at 2i, 3 * 2^i at 2i + 1. */
#define WINDOWS 28
#define LANE_MAX 2147483647
#define WEIGHT_MAX 8191
#define SCALED_MAX (127 * 64)

// Several rows.

typedef int16_t Eight __attribute__((vector_size(16)));
typedef Eight LOOSE LooseEight;
typedef int8_t EightBytes __attribute__((vector_size(8)));
typedef EightBytes LOOSE LooseEightBytes;

INLINE Eight loadEight(const uint8_t *at) { return *(const LooseEight *)at; }

/** Two weights of each of four columns, as 16 bits. */
INLINE Eight widen(const uint8_t *weights) {
#if VECTOR_BYTES >= 32
  return (Eight)_mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)weights));
#else
  return __builtin_convertvector(*(const LooseEightBytes *)weights, Eight);
#endif
}

static void widenLevels(const Product *p, const uint8_t *from, const uint8_t *m, int16_t *to, size_t pairStride) {
  LevelFactors with = {};
  for (int block = 0; block < p->blocks; block++) {
    if (block % 4 == 0) with = levelFactors(m + block * (LEVEL_BLOCK_BYTES / 4));
    for (int k = 0; k < BLOCK_PAIRS; k++, to += pairStride) *(LooseEight *)to = (Eight)levelPair(from, k, with);
    from += LEVEL_BLOCK_BYTES;
  }
}

/** The weights of a group as rows of pairs, `pairStride` apart. */
static void widenGroup(const Product *p, int group, int16_t *to, size_t pairStride) {
  const uint8_t *from = p->weights + (size_t)group * groupBytes(p);
  const uint8_t *m = multipliersOf(p, group);
  if (p->bits == 4) return widenLevels(p, from, m, to, pairStride);
  Eight factors = {};
  for (int block = 0; block < p->blocks; block++) {
    if (p->bits == 8 && block % 4 == 0) {
      factors = (Eight){m[0], m[0], m[1], m[1], m[2], m[2], m[3], m[3]};
      m += 4;
    }
    for (int k = 0; k < BLOCK_PAIRS; k++) {
      *(LooseEight *)to = p->bits == 8 ? widen(from) * factors : loadEight(from);
      from += p->bits == 8 ? 8 : 16;
      to += pairStride;
    }
  }
}

#if VECTOR_BYTES == 64
/** The same of four groups at once. */
static void widenUnit(const Product *p, int unit, int16_t *to, size_t pairStride) {
  Unit weights = openUnit(p, unit);
  for (size_t block = 0; block < (size_t)p->blocks; block++) {
    __m512i pairs[BLOCK_PAIRS];
    unitPairs(&weights, block, pairs);
    for (int k = 0; k < BLOCK_PAIRS; k++, to += pairStride) _mm512_storeu_si512(to, pairs[k]);
  }
}
#endif

/** The weights of units as rows of pairs; of columns beyond the last group zeros. */
static void fillPanel(const Product *p, int unit, int units, int16_t *panel) {
  const size_t pairStride = (size_t)units * UNIT * 2;
  for (int u = 0; u < units; u++) {
    const int group = (unit + u) * 4;
    int16_t *to = panel + u * UNIT * 2;
#if VECTOR_BYTES == 64
    if (group + 4 <= p->groups) {
      widenUnit(p, unit + u, to, pairStride);
      continue;
    }
#endif
    for (int g = 0; g < 4; g++, to += 8) {
      if (group + g < p->groups) {
        widenGroup(p, group + g, to, pairStride);
        continue;
      }
      for (int k = 0; k < p->blocks * BLOCK_PAIRS; k++) *(LooseEight *)(to + (size_t)k * pairStride) = (Eight){};
    }
  }
}

/** Sums of squares of a row: of the worst 32 k that begin at a multiple of 32, and of all. */
static void sumSquares(const int16_t *row, int blocks, double *most, double *all) {
  double largest = 0, whole = 0;
  for (int block = 0; block < blocks; block += 4) {
    const int end = (blocks - block < 4 ? blocks - block : 4) * 8;
    int64_t sum = 0;
    for (int i = 0; i < end; i++) sum += (int32_t)row[i] * row[i];
    whole += (double)sum;
    largest = (double)sum > largest ? (double)sum : largest;
    row += 32;
  }
  *most = largest;
  *all = whole;
}

/** Blocks that lanes of some rows take in any case, see ../kernels/spill.as.ts. */
static int windowOf(const Product *p, int row, int rows) {
  double most = 0, whole = 0;
  for (int r = row; r < row + rows; r++) {
    double largest, all;
    sumSquares(leftOf(p, r), p->blocks, &largest, &all);
    most = largest > most ? largest : most;
    whole = all > whole ? all : whole;
  }
  int best = p->fitting;
  // Windows of less than four blocks may begin within 32 k and end within the next.
  for (int i = 4; i < WINDOWS; i++) {
    const int window = (i % 2 == 0 ? 1 : 3) << (i / 2);
    const int parts = ((window < p->blocks ? window : p->blocks) + 3) / 4;
    const double squares = parts * most < whole ? parts * most : whole;
    if (squares <= p->limits[i] && window > best) best = window;
  }
  return best;
}

INLINE void multiplyTile(const Product *p, const int rows, const int vectors, int row, int column,
                         const int16_t *panel, size_t pairStride, int window, const uint8_t *ahead) {
  Sums sums;
  Tile tile;
  clearSums(&sums);
  const size_t stride = (size_t)p->blocks * BLOCK_PAIRS;
  const int32_t *left = (const int32_t *)leftOf(p, row);
  // As many bytes as a tile's weights have, of 8 bits.
  const size_t aheadStep = (size_t)vectors * LANES * 2;
  for (int from = 0; from < p->blocks; from += window) {
    const int blocks = p->blocks - from < window ? p->blocks - from : window;
    const size_t first = (size_t)from * BLOCK_PAIRS;
    sumTile(rows, vectors, left + first, stride, (const int32_t *)panel + first * pairStride, pairStride,
            (size_t)blocks * BLOCK_PAIRS, ahead + first * aheadStep, aheadStep, tile);
    addTile(rows, vectors, &sums, tile);
  }
  const int count = p->groups * 4 - column;
  int bad = 0;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < vectors; c++) {
      if (c * LANES >= count) break;
      const DoublePair whole = wholeSums(sums.uppers[r][c], sums.lowers[r][c]);
      bad |= storeVector(p, row + r, column + c * LANES, count - c * LANES, whole);
    }
  }
  if (bad) noteBad(p, row, rows, column, count < vectors * LANES ? count : vectors * LANES);
}

/** Units `from` to `to`, in panels that all rows pass. */
static void multiplyRows(const Device *device, const Product *p, int from, int to) {
  int16_t *panel = (int16_t *)device->work;
  int windows[256];
  // So many rows at a time have a window each, that of the worst of `TILE_ROWS`.
  const int step = 256 * TILE_ROWS;
  for (int top = 0; top < p->rows; top += step) {
    const int rows = p->rows - top < step ? p->rows - top : step;
    for (int r = 0; r < rows; r += TILE_ROWS) {
      const int count = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
      windows[r / TILE_ROWS] = windowOf(p, top + r, count);
    }
    for (int unit = from; unit < to; unit += TILE_UNITS) {
      const int units = to - unit < TILE_UNITS ? to - unit : TILE_UNITS;
      fillPanel(p, unit, units, panel);
      const size_t pairStride = (size_t)units * UNIT;
      const uint8_t *ahead = p->weights + (size_t)(unit + units) * 4 * groupBytes(p);
#define TILE_OF(vectors, count)                                                                   \
  multiplyTile(p, count, vectors, top + row, unit * UNIT, panel, pairStride, windows[row / TILE_ROWS], ahead)
#define THREE_UNITS(count) TILE_OF(3 * UNIT_VECTORS <= TILE_VECTORS ? 3 * UNIT_VECTORS : 1, count)
#define TWO_UNITS(count) TILE_OF(2 * UNIT_VECTORS <= TILE_VECTORS ? 2 * UNIT_VECTORS : 1, count)
#define ONE_UNIT(count) TILE_OF(UNIT_VECTORS, count)
      if (TILE_UNITS >= 3 && units == 3) FOR_TILES(rows, THREE_UNITS);
      else if (TILE_UNITS >= 2 && units == 2) FOR_TILES(rows, TWO_UNITS);
      else FOR_TILES(rows, ONE_UNIT);
    }
  }
}

// One or two rows.

/** Lanes of a block: four pairs of k of four columns. */
#define BLOCK_VECTORS (16 / LANES)

/** Each pair of a row four times, as a block of weights has it for four columns. */
static void spreadRow(const int16_t *row, int blocks, int32_t *to) {
  const int32_t *pairs = (const int32_t *)row;
  for (int k = 0; k < blocks * BLOCK_PAIRS; k++) {
    for (int c = 0; c < 4; c++) to[k * 4 + c] = pairs[k];
  }
}

/** The most blocks of which a lane takes the sum: of each it has as many pairs of k as a block has vectors. */
static int blocksOfLane(const Product *p) {
  int32_t largest = 1;
  const int16_t *row = p->left;
  for (int i = 0; i < p->rows * p->blocks * 8; i++) {
    const int32_t magnitude = row[i] < 0 ? -row[i] : row[i];
    largest = magnitude > largest ? magnitude : largest;
  }
  const int64_t pair = 2 * (int64_t)largest * (p->bits == 8 ? SCALED_MAX : WEIGHT_MAX);
  const int64_t blocks = LANE_MAX / (pair * BLOCK_VECTORS);
  return blocks < 4096 ? (int)blocks : 4096;
}

INLINE Words blockWeights(const int bits, const uint8_t *weights, int vector) {
  if (bits == 14) return loadWords(weights + vector * VECTOR_BYTES);
  if (bits == 4) return blockLevels(weights, vector);
#if VECTOR_BYTES == 64
  return (Words)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)weights));
#elif VECTOR_BYTES == 32
  return (Words)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights + vector));
#else
  const EightBytes bytes = *(const LooseEightBytes *)(weights + vector * 8);
  return (Words)__builtin_convertvector(bytes, Eight);
#endif
}

/** The multipliers of four columns, for each pair. */
INLINE Words multiplierLanes(const uint8_t *four) {
#if VECTOR_BYTES == 64
  int32_t bytes;
  memcpy(&bytes, four, 4);
  return (Words)_mm512_broadcast_i32x4(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)));
#else
  Words m;
  for (int i = 0; i < LANES; i++) m[i] = four[i % 4];
  return m;
#endif
}

/** Adds sums of four blocks; `whole` are those of the rows' mantissas alone. What passes 32 bits on the way is modulo 2^32. */
INLINE void addPart(const int bits, const int rows, const Words *part, const Words *whole,
                    const uint8_t *multipliers, Words *window) {
  if (bits == 4) {
    const Words both = fourInAll(multipliers), m = both & 65535, offset = both >> 16;
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) {
      const Unsigned scaled = (Unsigned)part[r] * (Unsigned)m + (Unsigned)whole[r] * (Unsigned)offset;
      window[r] = (Words)((Unsigned)window[r] + scaled);
    }
    return;
  }
  const Words m = bits == 8 ? multiplierLanes(multipliers) : splat(1);
#pragma GCC unroll 2
  for (int r = 0; r < rows; r++) window[r] += bits == 8 ? part[r] * m : part[r];
}

/** Sums of lanes beyond 32 bits. */
typedef struct {
  Longs low, high;
} LongPair;

INLINE void addLongs(LongPair *sum, Words x) {
  sum->low += __builtin_convertvector(lowHalf(x), Longs);
  sum->high += __builtin_convertvector(highHalf(x), Longs);
}

/** Rows by groups, `apart` groups apart, of which none is beyond `last`. */
INLINE void streamGroups(const Product *p, const int bits, const int rows, const int32_t *spread, int group,
                         int apart, int last, int fitting) {
  const size_t rowStride = (size_t)p->blocks * 16;
  const uint8_t *weights[STREAMS], *multipliers[STREAMS];
  int groups[STREAMS];
  LongPair sums[STREAMS][STREAM_ROWS];
  memset(sums, 0, sizeof sums);
  for (int s = 0; s < STREAMS; s++) {
    groups[s] = group + s * apart < last ? group + s * apart : last;
    weights[s] = p->weights + (size_t)groups[s] * groupBytes(p);
    multipliers[s] = multipliersOf(p, groups[s]);
  }
  const int chunk = 4;
  const int32_t *x = spread;
  for (int from = 0; from < p->blocks;) {
    const int stop = p->blocks - from < fitting ? p->blocks : from + fitting;
    Words window[STREAMS][STREAM_ROWS];
#pragma GCC unroll 4
    for (int s = 0; s < STREAMS; s++)
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) window[s][r] = splat(0);
    while (from < stop) {
      Words part[STREAMS][STREAM_ROWS], whole[STREAM_ROWS];
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) whole[r] = splat(0);
#pragma GCC unroll 4
      for (int s = 0; s < STREAMS; s++)
#pragma GCC unroll 2
        for (int r = 0; r < rows; r++) part[s][r] = splat(0);
      const int end = stop - from < chunk ? stop : from + chunk;
      for (; from < end; from++) {
#pragma GCC unroll 4
        for (int v = 0; v < BLOCK_VECTORS; v++) {
#pragma GCC unroll 2
          for (int r = 0; bits == 4 && r < rows; r++) {
            whole[r] = addDot(whole[r], loadWords(x + (size_t)r * rowStride + v * LANES), splat(0x00010001));
          }
#pragma GCC unroll 4
          for (int s = 0; s < STREAMS; s++) {
            const Words w = blockWeights(bits, weights[s], v);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++) {
              part[s][r] = addDot(part[s][r], loadWords(x + (size_t)r * rowStride + v * LANES), w);
            }
          }
        }
        x += 16;
#pragma GCC unroll 4
        for (int s = 0; s < STREAMS; s++) weights[s] += bits == 4 ? LEVEL_BLOCK_BYTES : bits == 8 ? 32 : 64;
      }
#pragma GCC unroll 4
      for (int s = 0; s < STREAMS; s++) {
        addPart(bits, rows, part[s], whole, multipliers[s], window[s]);
        multipliers[s] += bits == 4 ? LEVEL_BLOCK_BYTES : 4;
        for (int line = 0; line < (bits == 14 ? 4 : bits == 8 ? 2 : 1); line++)
          __builtin_prefetch(weights[s] + AHEAD_BYTES + line * 64);
      }
    }
#pragma GCC unroll 4
    for (int s = 0; s < STREAMS; s++)
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) addLongs(&sums[s][r], window[s][r]);
  }
  for (int s = 0; s < STREAMS; s++) {
    for (int r = 0; r < rows; r++) {
      int64_t lanes[LANES], four[4] = {0, 0, 0, 0};
      memcpy(lanes, &sums[s][r], sizeof lanes);
      for (int i = 0; i < LANES; i++) four[i % 4] += lanes[i];
      const double factor = power(p->exponents[r]);
      const size_t column = (size_t)groups[s] * 4;
      float *out = p->out + (size_t)r * (size_t)p->columns + column;
      int bad = 0;
      for (int c = 0; c < 4; c++) {
        out[c] = (float)((double)four[c] * p->scales[column + (size_t)c] * factor) + 0.0f;
        bad |= isBad(out[c]);
      }
      if (bad) noteBad(p, r, 1, (int)column, 4);
    }
  }
}

/** Groups `from` to `to`, whose sums stay in lanes for so many blocks. */
INLINE void streamRows(const Device *device, const Product *p, const int bits, const int rows, int from, int to,
                       int fitting) {
  int32_t *spread = (int32_t *)device->work;
  for (int r = 0; r < rows; r++) {
    spreadRow(leftOf(p, r), p->blocks, spread + (size_t)r * (size_t)p->blocks * 16);
  }
  const int apart = (to - from + STREAMS - 1) / STREAMS;
  for (int group = from; group < from + apart; group++) {
    streamGroups(p, bits, rows, spread, group, apart, to - 1, fitting);
  }
}

/** [3] status, [4] left, [5] exponents, [6] weights, [7] scales, [8] blocks, [9] groups, [10] blocks that a lane takes in any case, [11] bits, [12] out, [13] columns, [14] op, [15] second, [16] third, [17] multipliers, [19] limits */
int multiplyMatrix(Device *device, const int32_t *record, int part, int parts) {
  const Product product = readProduct(device, record), *p = &product;
  if ((p->bits != 4 && p->bits != 8 && p->bits != 14) || p->blocks > BLOCKS_MAX) return 0;
  const int units = (p->groups + 3) / 4;
  const int from = shareOf(units, part, parts), to = shareOf(units, part + 1, parts);
  if (from == to) return 1;
  if (p->rows >= TILES_FROM_ROWS && p->fitting >= FITTING_14_BITS && haveTiles()) {
    multiplyByTiles(device, p, from, to);
    return 1;
  }
  // A multiplier is that of four blocks.
  const int most = p->rows > STREAM_ROWS ? 0 : blocksOfLane(p), fitting = p->bits == 14 ? most : most & ~3;
  if (fitting == 0) {
    multiplyRows(device, p, from, to);
    return 1;
  }
  const int first = from * 4, last = to * 4 < p->groups ? to * 4 : p->groups;
  if (p->bits == 4 && p->rows == 1) streamRows(device, p, 4, 1, first, last, fitting);
  if (p->bits == 4 && p->rows == 2) streamRows(device, p, 4, 2, first, last, fitting);
  if (p->bits == 8 && p->rows == 1) streamRows(device, p, 8, 1, first, last, fitting);
  if (p->bits == 8 && p->rows == 2) streamRows(device, p, 8, 2, first, last, fitting);
  if (p->bits == 14 && p->rows == 1) streamRows(device, p, 14, 1, first, last, fitting);
  if (p->bits == 14 && p->rows == 2) streamRows(device, p, 14, 2, first, last, fitting);
  return 1;
}
