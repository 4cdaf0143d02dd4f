// Vectors of 32-bit lanes, as wide as the processor has them: AVX-512, AVX2, or whatever the compiler makes of
// 16 bytes. All but the dot product and the table look-up is plain C on vectors, so that one text serves all.

#ifndef GYROTRON_LANES_H
#define GYROTRON_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define INLINE static inline __attribute__((always_inline))
/** 32-bit lanes of a vector. */
#define LANES (VECTOR_BYTES / 4)
/** 64-bit lanes of one. */
#define WIDE (VECTOR_BYTES / 8)

typedef int32_t Words __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t HalfWords __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef int16_t HalfShorts __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef uint32_t Unsigned __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t Longs __attribute__((vector_size(VECTOR_BYTES)));
typedef double Doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef float HalfFloats __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef float Floats __attribute__((vector_size(VECTOR_BYTES)));

/** Lanes of 64 bits of a whole vector of 32-bit ones. */
typedef struct {
  Doubles low, high;
} DoublePair;

// Memory is aligned to what an element is, and every type may look at it.
#define LOOSE __attribute__((aligned(1), may_alias))
typedef Words LOOSE LooseWords;
typedef HalfWords LOOSE LooseHalfWords;
typedef HalfShorts LOOSE LooseHalfShorts;
typedef Floats LOOSE LooseFloats;
typedef Doubles LOOSE LooseDoubles;

INLINE Words loadWords(const void *at) { return *(const LooseWords *)at; }
INLINE void storeWords(void *at, Words x) { *(LooseWords *)at = x; }
INLINE Floats loadFloats(const void *at) { return *(const LooseFloats *)at; }
INLINE Doubles loadDoubles(const void *at) { return *(const LooseDoubles *)at; }

INLINE Words splat(int32_t x) { return (Words){} + x; }
INLINE Doubles splatDouble(double x) { return (Doubles){} + x; }

#if VECTOR_BYTES == 64
INLINE HalfWords lowHalf(Words x) { return (HalfWords)_mm512_castsi512_si256((__m512i)x); }
INLINE HalfWords highHalf(Words x) { return (HalfWords)_mm512_extracti64x4_epi64((__m512i)x, 1); }
INLINE Words joinHalves(HalfWords low, HalfWords high) {
  return (Words)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)low), (__m256i)high, 1);
}
#else
INLINE HalfWords lowHalf(Words x) {
  HalfWords half;
  memcpy(&half, &x, sizeof half);
  return half;
}

INLINE HalfWords highHalf(Words x) {
  HalfWords half;
  memcpy(&half, (const char *)&x + sizeof half, sizeof half);
  return half;
}

INLINE Words joinHalves(HalfWords low, HalfWords high) {
  Words x;
  memcpy(&x, &low, sizeof low);
  memcpy((char *)&x + sizeof low, &high, sizeof high);
  return x;
}
#endif

/** Lanes of `x` where `mask` is all ones, of `y` where it is 0. */
INLINE Words choose(Words mask, Words x, Words y) { return (x & mask) | (y & ~mask); }

#if VECTOR_BYTES == 64
INLINE Words smaller(Words x, Words y) {
  return (Words)_mm512_min_epi32((__m512i)x, (__m512i)y);
}
INLINE Words larger(Words x, Words y) { return (Words)_mm512_max_epi32((__m512i)x, (__m512i)y); }
#else
INLINE Words smaller(Words x, Words y) { return choose(x < y, x, y); }
INLINE Words larger(Words x, Words y) { return choose(x > y, x, y); }
#endif

/** Adds two products of 16 bits in each lane. */
INLINE Words addDot(Words sum, Words x, Words w) {
#if VECTOR_BYTES == 64 && defined(__AVX512VNNI__)
  return (Words)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
#elif VECTOR_BYTES == 64
  return sum + (Words)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif VECTOR_BYTES == 32
  return sum + (Words)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#else
  return sum + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
#endif
}

INLINE int32_t sumLanes(Words x) {
  int32_t sum = 0;
  for (int i = 0; i < LANES; i++) sum += x[i];
  return sum;
}

INLINE int32_t largestLane(Words x) {
  int32_t largest = x[0];
  for (int i = 1; i < LANES; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

/** 0, 1, 2, ... */
INLINE Words laneNumbers(void) {
  Words x;
  for (int i = 0; i < LANES; i++) x[i] = i;
  return x;
}

INLINE DoublePair toDoubles(Words x) {
  return (DoublePair){__builtin_convertvector(lowHalf(x), Doubles),
                      __builtin_convertvector(highHalf(x), Doubles)};
}

/** Integers of at most 2^31 in magnitude, to which this rounds to nearest even, as words. */
INLINE Words roundToWords(DoublePair x) {
  // 1.5 * 2^52: a sum's lowest bits are the integer, rounded as the sum is.
  const Doubles rounder = splatDouble(6755399441055744.0);
  const Words low = (Words)(x.low + rounder), high = (Words)(x.high + rounder);
#if VECTOR_BYTES == 64
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return (Words)_mm512_permutex2var_epi32((__m512i)low, even, (__m512i)high);
#else
  Words result;
  for (int i = 0; i < WIDE; i++) {
    result[i] = low[2 * i];
    result[i + WIDE] = high[2 * i];
  }
  return result;
#endif
}

/** The one rounding of exact values; -0 becomes +0. */
INLINE Floats roundOnce(DoublePair x) {
  const HalfFloats low = __builtin_convertvector(x.low, HalfFloats);
  const HalfFloats high = __builtin_convertvector(x.high, HalfFloats);
  return (Floats)joinHalves((HalfWords)low, (HalfWords)high) + 0.0f;
}

/** 2^e for e in -1022..1023. */
INLINE double power(int32_t e) {
  const uint64_t bits = (uint64_t)(e + 1023) << 52;
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE Doubles powersOfTwo(HalfWords e) {
  return (Doubles)((__builtin_convertvector(e, Longs) + 1023) << 52);
}

/** Section 5 of the lower 16 bits of each lane; `table` holds 64 u16. */
INLINE Words exp2Lanes(const uint16_t *table, Words z) {
  const Words places = (z >> 10) & 63;
  Words t;
#if VECTOR_BYTES == 64
  const __m512i first = _mm512_loadu_si512(table), second = _mm512_loadu_si512(table + 32);
  t = (Words)_mm512_permutex2var_epi16(first, (__m512i)places, second) & 65535;
#else
  for (int i = 0; i < LANES; i++) t[i] = table[places[i]];
#endif
  const Unsigned r = (Unsigned)z & 1023, a = (r * 45426) >> 10, c = a + ((a * a) >> 23);
  return (Words)((Unsigned)t + (((Unsigned)t * c + (1u << 21)) >> 22));
}

/** Whether any of these floats is not finite. */
INLINE int anyBad(Unsigned magnitudes) {
  uint32_t found = 0;
  const Words bad = (magnitudes >> 24) == 255;
#if VECTOR_BYTES == 64
  return _mm512_movepi32_mask((__m512i)bad) != 0;
#endif
  for (int i = 0; i < LANES; i++) found |= (uint32_t)bad[i];
  return found != 0;
}

#endif
