// Products by AMX: tiles of 16 rows by 16 columns, of 64 k of 8 bits. A mantissa of 14 bits is `128 * high + low` with both
// in -64..64, so a product is the sum of four of digits, times 2^14, 2^7 and 1. Sums of digits over all k are
// below 2^28 and so are exact; nothing needs to be handed on.

#define _GNU_SOURCE
#include "units.h"

#if defined(__linux__) && defined(__AMX_INT8__) && VECTOR_BYTES == 64

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/** Rows of a tile. */
#define ROWS 16
/** Digits of rows that pass weights together, and stay in the second cache while they do. */
#define ROWS_BYTES (1u << 20)
/** k of a tile. */
#define DEPTH 64
#define LINE 64

static int isAllowed;

/** Linux gives a process the state of tiles when it asks. */
static void askForTiles(void) {
  const int requestPermission = 0x1023, tileData = 18;
  isAllowed = syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
}

int haveTiles(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, askForTiles);
  return isAllowed;
}

/** All eight tiles whole. */
static void configureTiles(void) {
  struct {
    uint8_t palette, startRow, reserved[14];
    uint16_t rowBytes[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    config.rowBytes[i] = 64;
    config.rows[i] = ROWS;
  }
  _tile_loadconfig(&config);
}

/** Digits of 32 mantissas of 16 bits. */
INLINE __m512i highDigits(__m512i x) {
  return _mm512_srai_epi16(_mm512_add_epi16(x, _mm512_set1_epi16(64)), 7);
}

INLINE __m512i lowDigits(__m512i x, __m512i high) {
  return _mm512_sub_epi16(x, _mm512_slli_epi16(high, 7));
}

/** Rows as tiles of digits, `depth / DEPTH` for each `ROWS`, zeros behind the last k and the last row. */
static void splitRows(const Product *p, int top, int rows, size_t depth, int8_t *highs, int8_t *lows) {
  const size_t columns = (size_t)p->blocks * 8;
  for (int r = 0; r < (rows + ROWS - 1) / ROWS * ROWS; r++) {
    const int16_t *x = leftOf(p, top + r);
    for (size_t k = 0; k < depth; k += 32) {
      __m512i digits = _mm512_setzero_si512();
      if (r < rows && k < columns) {
        const size_t left = columns - k;
        digits = _mm512_maskz_loadu_epi16(left >= 32 ? ~0u : (1u << left) - 1, x + k);
      }
      const __m512i high = highDigits(digits);
      const size_t tile = (size_t)(r / ROWS) * ROWS * depth + k / DEPTH * DEPTH * ROWS;
      const size_t to = tile + (size_t)(r % ROWS) * DEPTH + k % DEPTH;
      _mm256_storeu_si256((__m256i *)(highs + to), _mm512_cvtepi16_epi8(high));
      _mm256_storeu_si256((__m256i *)(lows + to), _mm512_cvtepi16_epi8(lowDigits(digits, high)));
    }
  }
}

/** A unit's digits: for every four k a line of 16 columns. */
static void splitUnit(const Product *p, int unit, size_t depth, int8_t *highs, int8_t *lows) {
  // Of each column two k of one pair and two of the next.
  const __m512i order = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  Unit weights = openUnit(p, unit);
  const size_t blocks = (size_t)p->blocks;
  for (size_t block = 0; block < blocks; block++) {
    __m512i pairs[BLOCK_PAIRS];
    unitPairs(&weights, block, pairs);
    for (int k = 0; k < BLOCK_PAIRS; k += 2) {
      const __m512i high = highDigits(pairs[k]), next = highDigits(pairs[k + 1]);
      const __m512i low = lowDigits(pairs[k], high), nextLow = lowDigits(pairs[k + 1], next);
      _mm512_storeu_si512(highs, _mm512_shuffle_epi8(_mm512_packs_epi16(high, next), order));
      _mm512_storeu_si512(lows, _mm512_shuffle_epi8(_mm512_packs_epi16(low, nextLow), order));
      highs += LINE;
      lows += LINE;
    }
  }
  const size_t rest = (depth / 4 - blocks * 2) * LINE;
  memset(highs, 0, rest);
  memset(lows, 0, rest);
}

/** What tiles leave: sums of digits of 16 rows by 16 columns. */
typedef struct {
  int32_t sums[4][ROWS][UNIT];
} Corner;

/** Stores outputs of rows and a unit of columns. */
static void storeCorner(const Product *p, const Corner *corner, int top, int rows, int column) {
  const int count = p->groups * 4 - column < UNIT ? p->groups * 4 - column : UNIT;
  int bad = 0;
  for (int r = 0; r < rows; r++) {
    const DoublePair most = toDoubles(loadWords(corner->sums[0][r]));
    const DoublePair middle = toDoubles(loadWords(corner->sums[1][r]) + loadWords(corner->sums[2][r]));
    const DoublePair least = toDoubles(loadWords(corner->sums[3][r]));
    const DoublePair whole = {most.low * 16384.0 + middle.low * 128.0 + least.low,
                              most.high * 16384.0 + middle.high * 128.0 + least.high};
    bad |= storeVector(p, top + r, column, count, whole);
  }
  if (bad) noteBad(p, top, rows, column, count);
}

void multiplyByTiles(Device *device, const Product *p, int from, int to) {
  const size_t depth = ((size_t)p->blocks * 8 + DEPTH - 1) / DEPTH * DEPTH;
  const int together = (int)(ROWS_BYTES / (2 * depth)) / ROWS * ROWS;
  int8_t *leftHighs = (int8_t *)device->work, *leftLows = leftHighs + (size_t)together * depth;
  int8_t *highs = leftLows + (size_t)together * depth, *lows = highs + UNIT * depth;
  Corner corner;
  configureTiles();
  for (int top = 0; top < p->rows; top += together) {
    const int rows = p->rows - top < together ? p->rows - top : together;
    if (!device->isSplit) splitRows(p, top, rows, depth, leftHighs, leftLows);
    // Rows that all fit stay so for the record's other parts.
    device->isSplit = rows == p->rows;
    // Memory is asked for the next unit's weights a part at a time.
    const size_t steps = (size_t)(rows + ROWS - 1) / ROWS * (depth / DEPTH);
    const size_t aheadLines = (groupBytes(p) * 4 / LINE + steps - 1) / steps;
    for (int unit = from; unit < to; unit++) {
      splitUnit(p, unit, depth, highs, lows);
      const uint8_t *ahead = p->weights + (size_t)(unit + 1) * 4 * groupBytes(p);
      for (int row = 0; row < rows; row += ROWS) {
        const int8_t *leftHigh = leftHighs + (size_t)row * depth, *leftLow = leftLows + (size_t)row * depth;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t k = 0; k < depth; k += DEPTH) {
          _tile_loadd(4, leftHigh + k * ROWS, DEPTH);
          _tile_loadd(6, highs + k * UNIT, LINE);
          _tile_dpbssd(0, 4, 6);
          _tile_loadd(7, lows + k * UNIT, LINE);
          _tile_dpbssd(1, 4, 7);
          _tile_loadd(5, leftLow + k * ROWS, DEPTH);
          _tile_dpbssd(2, 5, 6);
          _tile_dpbssd(3, 5, 7);
          for (size_t i = 0; i < aheadLines; i++, ahead += LINE) __builtin_prefetch(ahead, 0, 2);
        }
        _tile_stored(0, corner.sums[0], LINE);
        _tile_stored(1, corner.sums[1], LINE);
        _tile_stored(2, corner.sums[2], LINE);
        _tile_stored(3, corner.sums[3], LINE);
        storeCorner(p, &corner, top + row, rows - row < ROWS ? rows - row : ROWS, unit * UNIT);
      }
    }
  }
  _tile_release();
}

#else

int haveTiles(void) { return 0; }

void multiplyByTiles(Device *device, const Product *p, int from, int to) {
  (void)device;
  (void)p;
  (void)from;
  (void)to;
}

#endif
