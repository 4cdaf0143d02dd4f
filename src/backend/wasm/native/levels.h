// Weights in levels (docs/spec/01-numerics.md section 2.3), which stand in the order of ../kernels/pack.as.ts: for each
// block of eight k of four columns 16 bytes, whose 16-bit lanes are two k of a column and hold the four pairs of k in
// four bits each; for each 32 k of a column a multiplier of 16 bits and an offset above it.

#ifndef GYROTRON_LEVELS_H
#define GYROTRON_LEVELS_H

#include "lanes.h"

/** Bytes of a group's block, and of its columns' multipliers and offsets. */
#define LEVEL_BLOCK_BYTES 16

/** The same 16 bytes in each quarter, or all, of a vector. */
INLINE Words fourInAll(const uint8_t *four) {
#if VECTOR_BYTES == 64
  return (Words)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)four));
#elif VECTOR_BYTES == 32
  return (Words)_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)four));
#else
  return loadWords(four);
#endif
}

/** Vector `vector` of a block: as many of its four pairs of k as there are quarters. */
INLINE Words blockLevels(const uint8_t *block, int vector) {
  const Unsigned shifts = ((Unsigned)laneNumbers() / 4 + (Unsigned)splat(vector * LANES / 4)) * 4;
  return (Words)((Unsigned)fourInAll(block) >> shifts) & 0x000f000f;
}

/** Four pairs of a group's block as integers: levels times `factors` and `offsets` to them, each of a column twice. */
typedef uint16_t Eight16 __attribute__((vector_size(16)));

typedef struct {
  Eight16 factors, offsets;
} LevelFactors;

INLINE LevelFactors levelFactors(const uint8_t *four) {
  uint16_t x[8];
  memcpy(x, four, sizeof x);
  return (LevelFactors){{x[0], x[0], x[2], x[2], x[4], x[4], x[6], x[6]},
                        {x[1], x[1], x[3], x[3], x[5], x[5], x[7], x[7]}};
}

INLINE Eight16 levelPair(const uint8_t *block, int pair, LevelFactors with) {
  Eight16 levels;
  memcpy(&levels, block, sizeof levels);
  return ((levels >> (4 * pair)) & 15) * with.factors + with.offsets;
}

#if VECTOR_BYTES == 64
INLINE __m512i joinQuarters(__m128i a, __m128i b, __m128i c, __m128i d) {
  const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(a), b, 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(low, c, 2), d, 3);
}

/** 16 bytes of each of four groups. */
INLINE __m512i fourGroups(const uint8_t *const groups[4], size_t at) {
  __m128i parts[4];
  for (int g = 0; g < 4; g++) parts[g] = _mm_loadu_si128((const __m128i *)(groups[g] + at));
  return joinQuarters(parts[0], parts[1], parts[2], parts[3]);
}

/** Multipliers or offsets of 16 columns, each twice. */
INLINE __m512i twiceLow(__m512i pairs) {
  return _mm512_or_si512(_mm512_and_si512(pairs, _mm512_set1_epi32(65535)), _mm512_slli_epi32(pairs, 16));
}

INLINE __m512i twiceHigh(__m512i pairs) {
  return _mm512_or_si512(_mm512_srli_epi32(pairs, 16), _mm512_andnot_si512(_mm512_set1_epi32(65535), pairs));
}

/** The integers of a block's four pairs of k of 16 columns. */
INLINE void levelPairs(__m512i levels, __m512i factors, __m512i offsets, __m512i pairs[4]) {
  const __m512i four = _mm512_set1_epi16(15);
  for (int k = 0; k < 4; k++) {
    const __m512i level = _mm512_and_si512(_mm512_srli_epi16(levels, (unsigned)(4 * k)), four);
    pairs[k] = _mm512_add_epi16(_mm512_mullo_epi16(level, factors), offsets);
  }
}
#endif

#endif
