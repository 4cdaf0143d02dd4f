// Attention (docs/spec/01-numerics.md section 8) for records as of `attend` in ../kernels/index.as.ts and caches as of
// ../kernels/attention.as.ts. Heads and rows that share keys and values are queries of one list, and pass them together.
//
// Floats: scores and sums are integers below 2^53 in binary64, scaled by powers of two. A quotient O / L of
// binary64 cannot meet a middle of two f32 while L < 2^29; from there on it is made of integers.

#include "kernels.h"

/** Queries that pass keys and values together. */
#define QUERIES 48
/** A thread's memory: keys of a tile's columns turned, queries side by side, scores, shares. */
#define TURNED_BYTES 32768u
#define QUERY_BYTES 16384u
/** Scores and shares that stay in the second cache. */
#define SCORE_BYTES (1u << 20)
#define SIZE_MAX_ 128
/** Below every score, which is -2^30 at least, by more than any exponent of V makes up for. */
#define BELOW_ALL INT32_MIN
/** Shares that 32 bits take: times 4095 they are below 2^31. */
#define SHARES_MAX 524288
/** The least divisor for which a binary64 quotient may hide on which side of a middle it lay. */
#define INTEGER_QUOTIENTS_FROM (1 << 29)
/** Positions whose shares are added up as one, for windows. */
#define WINDOW 16
#define COLUMNS (TILE_VECTORS * LANES)

/** A record of attention, as pointers. */
typedef struct {
  int32_t rows, heads, kvHeads, size, padded, mantissa, exponent;
  const int16_t *queries;
  const int32_t *queryExponents;
  float *out;
  const uint16_t *table;
  const int32_t *positions, *caches;
} Attention;

/** The keys and values of one head of a cache. */
typedef struct {
  const int16_t *keys, *values;
  const int32_t *keyExponents, *valueExponents;
} Head;

/** Some queries: what they are, and where their steps go. */
typedef struct {
  int count, positions, stride;
  /** Rows times heads, as outputs lie. */
  int units[QUERIES], counts[QUERIES];
  /** Of the outputs: a sum of shares, and a power of two. */
  int32_t totals[QUERIES], exponents[QUERIES];
  /** Whether 32 bits take all shares by values. */
  int areFew[QUERIES];
  int32_t *turned;
  int16_t *rows;
  int32_t *scores;
  int16_t *shares;
} Batch;

INLINE int roundUp(int x, int unit) { return (x + unit - 1) / unit * unit; }

static Head headOf(const Device *device, const Attention *p, int32_t cache, int layer, int group) {
  const size_t capacity = (size_t)*(const int32_t *)at(device, cache);
  const size_t padded = (size_t)p->padded, half = (size_t)p->kvHeads * capacity * padded;
  const int16_t *keys =
      (const int16_t *)((const uint8_t *)at(device, cache) + 16 +
                        (size_t)layer * (size_t)p->kvHeads * capacity * (padded * 4 + 8));
  const int32_t *exponents = (const int32_t *)(keys + 2 * half) + (size_t)group * capacity;
  return (Head){.keys = keys + (size_t)group * capacity * padded,
                .values = keys + half + (size_t)group * capacity * padded,
                .keyExponents = exponents,
                .valueExponents = exponents + (size_t)p->kvHeads * capacity};
}

typedef int32_t Four __attribute__((vector_size(16)));
typedef Four LOOSE LooseFour;
#ifdef __clang__
#define PICK(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#else
#define PICK(x, y, a, b, c, d) __builtin_shuffle(x, y, (Four){a, b, c, d})
#endif

/** Four pairs of k of four keys, pair by pair. */
INLINE void turnFour(const int32_t *const keys[4], int k, int32_t *to) {
  Four rows[4];
  for (int i = 0; i < 4; i++) rows[i] = *(const LooseFour *)(keys[i] + k);
  const Four a = PICK(rows[0], rows[1], 0, 4, 1, 5);
  const Four b = PICK(rows[2], rows[3], 0, 4, 1, 5);
  const Four c = PICK(rows[0], rows[1], 2, 6, 3, 7);
  const Four d = PICK(rows[2], rows[3], 2, 6, 3, 7);
  *(LooseFour *)to = PICK(a, b, 0, 1, 4, 5);
  *(LooseFour *)(to + COLUMNS) = PICK(a, b, 2, 3, 6, 7);
  *(LooseFour *)(to + 2 * COLUMNS) = PICK(c, d, 0, 1, 4, 5);
  *(LooseFour *)(to + 3 * COLUMNS) = PICK(c, d, 2, 3, 6, 7);
}

/** Pairs of k of `COLUMNS` keys from `first` on, side by side; the last one stands in for those behind it. */
static void turnKeys(const Attention *p, const Head *head, int first, int positions, int32_t *to) {
  const int pairs = p->padded / 2;
  for (int c = 0; c < COLUMNS; c += 4) {
    // Four at once, so that what is written lies side by side.
    const int32_t *keys[4];
    for (int i = 0; i < 4; i++) {
      const int t = first + c + i < positions ? first + c + i : positions - 1;
      keys[i] = (const int32_t *)(head->keys + (size_t)t * (size_t)p->padded);
    }
    for (int k = 0; k < pairs; k += 4) turnFour(keys, k, to + k * COLUMNS + c);
  }
}

/** Words t..t + LANES - 1; those from `count` on are not read, and are 0. */
INLINE Words wordsAt(const int32_t *words, int t, int count) {
  if (t + LANES <= count) return loadWords(words + t);
  Words x = {};
  if (t < count) memcpy(&x, words + t, (size_t)(count - t) * 4);
  return x;
}

INLINE Doubles clampDoubles(Doubles x) {
  const Doubles limit = splatDouble(1073741824.0);
#if VECTOR_BYTES == 64
  return (Doubles)_mm512_max_pd(_mm512_min_pd((__m512d)x, (__m512d)limit), (__m512d)-limit);
#else
  const Longs isBelow = x < limit;
  const Doubles y = (Doubles)(((Longs)x & isBelow) | ((Longs)limit & ~isBelow));
  const Longs isAbove = y > -limit;
  return (Doubles)(((Longs)y & isAbove) | ((Longs)-limit & ~isAbove));
#endif
}

/** Scores of some queries with the turned keys from `first` on. */
INLINE void scoreTile(const Attention *p, const Batch *batch, const int rows, int row, int first,
                      const DoublePair *factors) {
  Tile sums;
  const size_t stride = (size_t)p->padded / 2;
  sumTile(rows, TILE_VECTORS, (const int32_t *)batch->rows + (size_t)row * stride, stride, batch->turned, COLUMNS,
          stride, NULL, 0, sums);
  for (int r = row; r < row + rows; r++) {
    const double scale = power(p->exponent + p->queryExponents[batch->units[r]]);
    for (int c = 0; c < TILE_VECTORS; c++) {
      const DoublePair whole = toDoubles(sums[r - row][c]);
      const DoublePair scores = {clampDoubles(whole.low * factors[c].low * scale),
                                 clampDoubles(whole.high * factors[c].high * scale)};
      const int t = first + c * LANES;
      const Words z = roundToWords(scores), isKey = laneNumbers() + t < batch->counts[r];
      if (t < batch->stride) {
        storeWords(batch->scores + (size_t)r * (size_t)batch->stride + t, choose(isKey, z, splat(BELOW_ALL)));
      }
    }
  }
}

/** Step 2: scores of all queries, in units of 2^-16 of a power of two. */
static void scoreQueries(const Attention *p, const Head *head, Batch *batch) {
  for (int first = 0; first < batch->stride; first += COLUMNS) {
    turnKeys(p, head, first, batch->positions, batch->turned);
    DoublePair factors[TILE_VECTORS];
    for (int c = 0; c < TILE_VECTORS; c++) {
      const Words e = wordsAt(head->keyExponents, first + c * LANES, batch->positions);
      factors[c].low = powersOfTwo(lowHalf(e)) * (double)p->mantissa;
      factors[c].high = powersOfTwo(highHalf(e)) * (double)p->mantissa;
    }
#define SCORE_TILE(count) scoreTile(p, batch, count, row, first, factors)
    FOR_TILES(batch->count, SCORE_TILE);
  }
}

/** `min(32767, (u + 2^k) >> (k + 1))` for k >= 0: from k = 17 on it is 0. */
INLINE Words shareLanes(Words u, Words k) {
  const Words places = smaller(k, splat(29));
  return smaller((u + (splat(1) << places)) >> (places + 1), splat(32767));
}

/** Steps 3 and 4 but for the sums with values: a query's shares and their total. */
static void shareQuery(const Attention *p, const Head *head, Batch *batch, int query) {
  const int32_t *scores = batch->scores + (size_t)query * (size_t)batch->stride;
  int16_t *shares = batch->shares + (size_t)query * (size_t)batch->stride;
  Words tops = splat(INT32_MIN), valueTops = tops, totals = {}, owns = {};
  for (int t = 0; t < batch->stride; t += LANES) {
    const Words n = loadWords(scores + t) >> 16;
    tops = larger(tops, n);
    valueTops = larger(valueTops, n + wordsAt(head->valueExponents, t, batch->positions));
  }
  const int32_t top = largestLane(tops), valueTop = largestLane(valueTops);
  for (int t = 0; t < batch->stride; t += LANES) {
    const Words z = loadWords(scores + t), n = z >> 16, u = exp2Lanes(p->table, z);
    totals += shareLanes(u, top - n);
    const Words own = shareLanes(u, valueTop - n - wordsAt(head->valueExponents, t, batch->positions));
    owns += own;
    *(LooseHalfShorts *)(shares + t) = __builtin_convertvector(own, HalfShorts);
  }
  batch->totals[query] = sumLanes(totals);
  batch->areFew[query] = sumLanes(owns) <= SHARES_MAX;
  batch->exponents[query] = valueTop - top;
}

/** A quotient of 33 to 36 bits, the last of which is 1 if it is not the whole one: it rounds as that does. */
static double integerQuotient(int64_t sum, int32_t total, int32_t exponent) {
  if (sum == 0) return 0;
  const uint64_t magnitude = (uint64_t)(sum < 0 ? -sum : sum);
  const int places = __builtin_clzll(magnitude);
  const uint64_t dividend = magnitude << places;
  uint64_t quotient = dividend / (uint64_t)total;
  if (quotient * (uint64_t)total != dividend) quotient |= 1;
  const int64_t value = sum < 0 ? -(int64_t)quotient : (int64_t)quotient;
  return (double)value * power(exponent - places);
}

/** Step 5: quotients of a vector of sums, each rounded once. */
INLINE Floats quotients(Words uppers, Words lowers, int32_t total, int32_t exponent) {
  if (total < INTEGER_QUOTIENTS_FROM) {
    const DoublePair whole = wholeSums(uppers, lowers);
    const double scale = power(exponent);
    return roundOnce((DoublePair){whole.low / (double)total * scale, whole.high / (double)total * scale});
  }
  Floats result;
  for (int i = 0; i < LANES; i++) {
    const int64_t sum = (int64_t)uppers[i] * 65536 + lowers[i];
    result[i] = (float)integerQuotient(sum, total, exponent) + 0.0f;
  }
  return result;
}

/** Vectors of columns of values that a tile takes. */
#define VALUE_VECTORS (16 / LANES < TILE_VECTORS ? (TILE_VECTORS >= 3 ? 2 : TILE_VECTORS) : TILE_VECTORS)

/** Ends of windows, in positions, in which no query's shares exceed what 32 bits take. */
static int findWindows(const Batch *batch, int rows, int row, int positions, int *ends) {
  int32_t sums[TILE_ROWS] = {0};
  int count = 0, areFew = 1;
  for (int r = row; r < row + rows; r++) areFew &= batch->areFew[r];
  if (areFew) {
    ends[0] = positions;
    return 1;
  }
  for (int t = 0; t < positions; t += WINDOW) {
    int32_t parts[TILE_ROWS];
    int isFull = 0;
    for (int r = 0; r < rows; r++) {
      const int16_t *shares = batch->shares + (size_t)(row + r) * (size_t)batch->stride + t;
      parts[r] = 0;
      for (int i = 0; i < WINDOW; i++) parts[r] += shares[i];
      sums[r] += parts[r];
      isFull |= sums[r] > SHARES_MAX;
    }
    if (!isFull) continue;
    ends[count++] = t;
    for (int r = 0; r < rows; r++) sums[r] = parts[r];
  }
  ends[count++] = positions;
  return count;
}

/** Sums of values by shares of some queries, divided. */
INLINE void valueTile(const Attention *p, const Head *head, const Batch *batch, const int rows, const int vectors,
                      int row, int column, const int *ends, int windows) {
  Sums sums;
  Tile tile;
  clearSums(&sums);
  int from = 0;
  for (int w = 0; w < windows; w++) {
    const int pairs = (ends[w] + 1) / 2 - from;
    const int32_t *shares =
        (const int32_t *)(batch->shares + (size_t)row * (size_t)batch->stride) + from;
    const int32_t *values = (const int32_t *)head->values + (size_t)from * (size_t)p->padded + column;
    sumTile(rows, vectors, shares, (size_t)batch->stride / 2, values, (size_t)p->padded, (size_t)pairs, NULL, 0, tile);
    addTile(rows, vectors, &sums, tile);
    from += pairs;
  }
  for (int r = 0; r < rows; r++) {
    const int query = row + r;
    float *out = p->out + (size_t)batch->units[query] * (size_t)p->size;
    for (int c = 0; c < vectors; c++) {
      const int first = column + c * LANES, count = p->size - first;
      if (count <= 0) break;
      const Floats y = quotients(sums.uppers[r][c], sums.lowers[r][c], batch->totals[query], batch->exponents[query]);
      memcpy(out + first, &y, (size_t)(count < LANES ? count : LANES) * sizeof *out);
    }
  }
}

INLINE void valueRows(const Attention *p, const Head *head, const Batch *batch, const int rows, int row) {
  int positions = 0;
  for (int r = row; r < row + rows; r++) positions = batch->counts[r] > positions ? batch->counts[r] : positions;
  int *ends = (int *)batch->turned;
  const int windows = findWindows(batch, rows, row, positions, ends);
  int column = 0;
  for (; column + VALUE_VECTORS * LANES <= p->padded; column += VALUE_VECTORS * LANES) {
    valueTile(p, head, batch, rows, VALUE_VECTORS, row, column, ends, windows);
  }
  for (; column < p->padded; column += LANES) valueTile(p, head, batch, rows, 1, row, column, ends, windows);
}

static void attendBatch(const Attention *p, const Head *head, Batch *batch) {
  for (int q = 0; q < batch->count; q++) {
    const size_t padded = (size_t)p->padded;
    memcpy(batch->rows + (size_t)q * padded, p->queries + (size_t)batch->units[q] * padded, padded * 2);
  }
  scoreQueries(p, head, batch);
  for (int q = 0; q < batch->count; q++) shareQuery(p, head, batch, q);
#define VALUE_ROWS(count) valueRows(p, head, batch, count, row)
  FOR_TILES(batch->count, VALUE_ROWS);
}

/** [4] q, [5] q exponents, [6] heads, [7] kvHeads, [8] size, [9] padded, [10] scale mantissa, [11] scale exponent, [12] out, [13] layer */
int attend(const Device *device, const int32_t *record, int part, int parts) {
  const Attention attention = {.rows = rowsOf(device, record),
                               .queries = at(device, record[4]),
                               .queryExponents = at(device, record[5]),
                               .heads = record[6],
                               .kvHeads = record[7],
                               .size = record[8],
                               .padded = record[9],
                               .mantissa = record[10],
                               .exponent = record[11],
                               .out = at(device, record[12]),
                               .table = at(device, device->control[CONTROL_EXP2]),
                               .positions = at(device, device->control[CONTROL_POSITIONS]),
                               .caches = at(device, device->control[CONTROL_CACHES])};
  const Attention *p = &attention;
  // Tiles of values are of whole vectors, and read nothing behind a cache.
  if (p->padded % 16 != 0 || p->padded > SIZE_MAX_) return 0;
  int task = 0;
  for (int row = 0, end; row < p->rows; row = end) {
    // Neighbouring rows of one cache.
    int positions = p->positions[row] + 1;
    for (end = row + 1; end < p->rows && p->caches[end] == p->caches[row]; end++) {
      positions = p->positions[end] + 1 > positions ? p->positions[end] + 1 : positions;
    }
    // As many queries at once as memory takes; at least eight of the most positions, which are 2^16.
    const int fitting = (int)(SCORE_BYTES / ((size_t)roundUp(positions, COLUMNS) * 6));
    const int most = fitting < 8 ? 8 : fitting < QUERIES ? fitting : QUERIES;
    for (int group = 0; group < p->kvHeads; group++) {
      const Head head = headOf(device, p, p->caches[row], record[13], group);
      const int firstHead = (group * p->heads + p->kvHeads - 1) / p->kvHeads;
      const int heads = ((group + 1) * p->heads + p->kvHeads - 1) / p->kvHeads - firstHead;
      const int all = heads * (end - row);
      for (int from = 0; from < all; from += most, task++) {
        if (task % parts != part) continue;
        uint8_t *work = device->work;
        Batch batch = {.count = all - from < most ? all - from : most, .positions = 0};
        for (int q = 0; q < batch.count; q++) {
          const int r = row + (from + q) / heads;
          batch.units[q] = r * p->heads + firstHead + (from + q) % heads;
          batch.counts[q] = p->positions[r] + 1;
          if (batch.counts[q] > batch.positions) batch.positions = batch.counts[q];
        }
        batch.stride = roundUp(batch.positions, WINDOW);
        batch.turned = (int32_t *)work;
        batch.rows = (int16_t *)(work + TURNED_BYTES);
        batch.scores = (int32_t *)(work + TURNED_BYTES + QUERY_BYTES);
        batch.shares = (int16_t *)(batch.scores + (size_t)batch.count * (size_t)batch.stride);
        attendBatch(p, &head, &batch);
      }
    }
  }
  return 1;
}
