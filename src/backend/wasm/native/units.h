// Units of weights: the integers of 16 columns, whichever form they have (../kernels/pack.as.ts), for vectors of 512 bits.

#ifndef GYROTRON_UNITS_H
#define GYROTRON_UNITS_H

#include "product.h"

#if VECTOR_BYTES == 64

/** Four groups of columns, and what their mantissas are multiplied by at present. */
typedef struct {
  int bits;
  const uint8_t *weights[4], *multipliers[4];
  __m512i factors, offsets;
} Unit;

/** Columns behind the last group repeat it. */
INLINE Unit openUnit(const Product *p, int unit) {
  Unit result = {.bits = p->bits};
  for (int g = 0; g < 4; g++) {
    const int group = unit * 4 + g < p->groups ? unit * 4 + g : p->groups - 1;
    result.weights[g] = p->weights + (size_t)group * groupBytes(p);
    result.multipliers[g] = multipliersOf(p, group);
  }
  return result;
}

/** Multipliers of a byte of 16 columns for four blocks, each twice. */
INLINE __m512i multipliersTwice(const Unit *unit, size_t block) {
  int32_t fours[4];
  for (int g = 0; g < 4; g++) memcpy(fours + g, unit->multipliers[g] + block, 4);
  const __m128i all = _mm_loadu_si128((const __m128i *)fours);
  return _mm512_cvtepu8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(all, all), _mm_unpacklo_epi8(all, all)));
}

/** Mantissas of 8 bits of a block's four pairs of k. */
INLINE void bytePairs(const Unit *unit, size_t block, __m512i pairs[BLOCK_PAIRS]) {
  const __m512i firstPairs = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
  const __m512i lastPairs = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
  __m256i parts[4];
  for (int g = 0; g < 4; g++) parts[g] = _mm256_loadu_si256((const __m256i *)(unit->weights[g] + block * 32));
  const __m512i left = _mm512_inserti64x4(_mm512_castsi256_si512(parts[0]), parts[1], 1);
  const __m512i right = _mm512_inserti64x4(_mm512_castsi256_si512(parts[2]), parts[3], 1);
  const __m512i first = _mm512_permutex2var_epi64(left, firstPairs, right);
  const __m512i last = _mm512_permutex2var_epi64(left, lastPairs, right);
  pairs[0] = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(first));
  pairs[1] = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(first, 1));
  pairs[2] = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(last));
  pairs[3] = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(last, 1));
}

/** The integers of a block's four pairs of k. Blocks are asked for in order, from 0. */
INLINE void unitPairs(Unit *unit, size_t block, __m512i pairs[BLOCK_PAIRS]) {
  if (unit->bits == 14) {
    for (size_t k = 0; k < BLOCK_PAIRS; k++) pairs[k] = fourGroups(unit->weights, block * 64 + k * 16);
    return;
  }
  if (unit->bits == 4) {
    if (block % 4 == 0) {
      const __m512i both = fourGroups(unit->multipliers, block / 4 * LEVEL_BLOCK_BYTES);
      unit->factors = twiceLow(both);
      unit->offsets = twiceHigh(both);
    }
    levelPairs(fourGroups(unit->weights, block * LEVEL_BLOCK_BYTES), unit->factors, unit->offsets, pairs);
    return;
  }
  if (block % 4 == 0) unit->factors = multipliersTwice(unit, block);
  bytePairs(unit, block, pairs);
  for (int k = 0; k < BLOCK_PAIRS; k++) pairs[k] = _mm512_mullo_epi16(pairs[k], unit->factors);
}

#endif

#endif
