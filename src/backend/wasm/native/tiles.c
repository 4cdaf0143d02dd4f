// Products by AMX: tiles of 16 rows by 16 columns, of 64 k of 8 bits. A mantissa of 14 bits is `128 * high + low` with both
// in -64..64, so a product is the sum of four of digits, times 2^14, 2^7 (two) and 1. Sums of these over all k are
// below 2^28 and so are exact; nothing needs to be handed on.

#define _GNU_SOURCE
#include "units.h"

#if defined(__linux__) && defined(__AMX_INT8__) && VECTOR_BYTES == 64

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/** Rows of a tile. */
#define ROWS 16
/** Digits of rows that pass weights together, and stay in the second cache meanwhile. */
#define ROWS_BYTES (1u << 20)
/** Digits of units that 16 rows pass one after the other, so that outputs of a row are stored side by side. */
#define PANEL_BYTES (1u << 18)
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

/** Digits as tiles take them. */
typedef struct {
  int8_t *highs, *lows;
} Digits;

/** Digits of `rows` rows or columns, the high ones first. */
INLINE Digits digitsAt(int8_t *from, int rows, size_t depth) {
  return (Digits){from, from + (size_t)rows * depth};
}

/** Those of a unit of a panel. */
INLINE Digits unitDigits(int8_t *panel, int unit, size_t depth) {
  return digitsAt(panel + 2 * UNIT * depth * (size_t)unit, UNIT, depth);
}

/** Rows as tiles of digits, `depth / DEPTH` for each `ROWS`, zeros behind the last k and the last row. */
static void splitRows(const Product *p, int top, int rows, size_t depth, Digits to) {
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
      const size_t place = tile + (size_t)(r % ROWS) * DEPTH + k % DEPTH;
      _mm256_storeu_si256((__m256i *)(to.highs + place), _mm512_cvtepi16_epi8(high));
      _mm256_storeu_si256((__m256i *)(to.lows + place), _mm512_cvtepi16_epi8(lowDigits(digits, high)));
    }
  }
}

/** A unit's digits: for every four k a line of 16 columns. */
static void splitUnit(const Product *p, int unit, size_t depth, Digits to) {
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
      _mm512_storeu_si512(to.highs, _mm512_shuffle_epi8(_mm512_packs_epi16(high, next), order));
      _mm512_storeu_si512(to.lows, _mm512_shuffle_epi8(_mm512_packs_epi16(low, nextLow), order));
      to.highs += LINE;
      to.lows += LINE;
    }
  }
  const size_t rest = (depth / 4 - blocks * 2) * LINE;
  memset(to.highs, 0, rest);
  memset(to.lows, 0, rest);
}

/** What tiles leave: sums of digits of 16 rows by 16 columns, of which the rows before `stored` are outputs already. */
typedef struct {
  /** Of both high digits, of one of each, of both low ones. */
  int32_t sums[3][ROWS][UNIT];
  int top, rows, column, stored, bad;
} Corner;

/** Longest columns for which `2^7 * middle + least` stays in 32 bits. */
#define NARROW_DEPTH 2000

/** A row's sums as binary64. */
INLINE DoublePair wholeRow(const Corner *corner, int row, size_t depth) {
  const DoublePair most = toDoubles(loadWords(corner->sums[0][row]));
  const Words middle = loadWords(corner->sums[1][row]), least = loadWords(corner->sums[2][row]);
  if (depth <= NARROW_DEPTH) {
    const DoublePair rest = toDoubles(middle * 128 + least);
    return (DoublePair){most.low * 16384.0 + rest.low, most.high * 16384.0 + rest.high};
  }
  const DoublePair middles = toDoubles(middle), leasts = toDoubles(least);
  return (DoublePair){most.low * 16384.0 + middles.low * 128.0 + leasts.low,
                      most.high * 16384.0 + middles.high * 128.0 + leasts.high};
}

/** Makes outputs of a corner's next rows, `count` of them if there are so many. */
INLINE void storeRows(const Product *p, Corner *corner, int count, size_t depth) {
  const int width = p->groups * 4 - corner->column;
  for (; corner->stored < corner->rows && count > 0; corner->stored++, count--) {
    const DoublePair whole = wholeRow(corner, corner->stored, depth);
    corner->bad |= storeVector(p, corner->top + corner->stored, corner->column, width, whole);
    if (corner->stored + 1 < corner->rows || !corner->bad) continue;
    noteBad(p, corner->top, corner->rows, corner->column, width < UNIT ? width : UNIT);
  }
}

/** Multiplies 16 rows by a unit, and meanwhile makes outputs of what was left last. */
INLINE void multiplyCorner(const Product *p, Digits left, Digits unit, size_t depth, Corner *next,
                           Corner *full, const uint8_t *ahead, size_t aheadLines) {
  const int rowsAStep = (int)((ROWS * DEPTH + depth - 1) / depth);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  for (size_t k = 0; k < depth; k += DEPTH) {
    _tile_loadd(3, left.highs + k * ROWS, DEPTH);
    _tile_loadd(5, unit.highs + k * UNIT, LINE);
    _tile_dpbssd(0, 3, 5);
    _tile_loadd(6, unit.lows + k * UNIT, LINE);
    _tile_dpbssd(1, 3, 6);
    _tile_loadd(4, left.lows + k * ROWS, DEPTH);
    _tile_dpbssd(2, 4, 6);
    _tile_dpbssd(1, 4, 5);
    storeRows(p, full, rowsAStep, depth);
    for (size_t i = 0; i < aheadLines; i++, ahead += LINE) __builtin_prefetch(ahead, 0, 2);
  }
  _tile_stored(0, next->sums[0], LINE);
  _tile_stored(1, next->sums[1], LINE);
  _tile_stored(2, next->sums[2], LINE);
}

void multiplyByTiles(Device *device, const Product *p, int from, int to) {
  const size_t depth = ((size_t)p->blocks * 8 + DEPTH - 1) / DEPTH * DEPTH, steps = depth / DEPTH;
  const int together = (int)(ROWS_BYTES / (2 * depth)) / ROWS * ROWS;
  const int most = (int)(PANEL_BYTES / (2 * UNIT * depth)), unitsAPanel = most > 0 ? most : 1;
  int8_t *const work = (int8_t *)device->work, *const panel = work + 2 * (size_t)together * depth;
  const Digits rowDigits = digitsAt(work, together, depth);
  Corner corners[2], *full = corners, *next = corners + 1;
  full->rows = full->stored = full->column = 0;
  configureTiles();
  for (int top = 0; top < p->rows; top += together) {
    const int rows = p->rows - top < together ? p->rows - top : together;
    if (!device->isSplit) splitRows(p, top, rows, depth, rowDigits);
    // Rows that all fit stay so for the record's other parts.
    device->isSplit = rows == p->rows;
    for (int unit = from; unit < to; unit += unitsAPanel) {
      const int units = to - unit < unitsAPanel ? to - unit : unitsAPanel;
      for (int u = 0; u < units; u++) splitUnit(p, unit + u, depth, unitDigits(panel, u, depth));
      // Memory is asked for the next panel's weights a part at a time.
      const size_t allSteps = (size_t)(rows + ROWS - 1) / ROWS * (size_t)units * steps;
      const size_t aheadLines = (groupBytes(p) * 4 * (size_t)units / LINE + allSteps - 1) / allSteps;
      const uint8_t *ahead = p->weights + (size_t)(unit + units) * 4 * groupBytes(p);
      for (int row = 0; row < rows; row += ROWS) {
        const Digits left = {rowDigits.highs + (size_t)row * depth, rowDigits.lows + (size_t)row * depth};
        for (int u = 0; u < units; u++, ahead += aheadLines * LINE * steps) {
          multiplyCorner(p, left, unitDigits(panel, u, depth), depth, next, full, ahead, aheadLines);
          next->top = top + row;
          next->rows = rows - row < ROWS ? rows - row : ROWS;
          next->column = (unit + u) * UNIT;
          next->stored = next->bad = 0;
          Corner *const stored = full;
          full = next;
          next = stored;
        }
      }
    }
  }
  storeRows(p, full, ROWS, depth);
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
