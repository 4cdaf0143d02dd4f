// SwiGLU (docs/spec/01-numerics.md section 9): `silu(gate) * up`, for records as of `gate` in ../kernels/index.as.ts.
//
// Floats: an f32 times an integer of at most 29 bits is exact in binary64, so are powers of two; `roundOnce` is
// the rounding of silu, the product with `up` a single one of binary32. A quotient of integers below 2^33 has
// the floor of the true one, as it is 2^-17 or more from the next integer unless it is one.

#include "kernels.h"

/** `G * 2^-6` of section 9. */
#define NATURAL 94548.46875
#define SCORE_MAX 1073741824.0

INLINE Doubles smallerDoubles(Doubles x, Doubles limit) {
  const Longs isBelow = x < limit;
  return (Doubles)(((Longs)x & isBelow) | ((Longs)limit & ~isBelow));
}

INLINE Doubles magnitude(Doubles x) { return (Doubles)((Longs)x & INT64_MAX); }

/** `floor(numerator / divisor)`, below 2^31. */
INLINE Doubles quotient(Doubles numerator, Doubles divisor) {
  return __builtin_convertvector(__builtin_convertvector(numerator / divisor, HalfWords), Doubles);
}

INLINE Floats silu(const uint16_t *table, Floats x) {
  const Words sign = (Words)x >> 31;
  const HalfFloats *halves = (const HalfFloats *)&x;
  const DoublePair wide = {__builtin_convertvector(halves[0], Doubles),
                           __builtin_convertvector(halves[1], Doubles)};
  const DoublePair scores = {smallerDoubles(magnitude(wide.low) * NATURAL, splatDouble(SCORE_MAX)),
                             smallerDoubles(magnitude(wide.high) * NATURAL, splatDouble(SCORE_MAX))};
  const Words z = -roundToWords(scores), k = -(z >> 16), u = exp2Lanes(table, z);
  const Words e = u >> smaller(k, splat(31));
  // Of x >= 0 the numerator is 2^31: 32768, here, by 2^16.
  const DoublePair numerator = toDoubles(choose(sign, u, splat(32768))), divisor = toDoubles(e + 32768);
  // Beyond 300 places every product rounds to 0, as it does for the true k.
  const Words places = -16 - (smaller(k, splat(300)) & sign);
  const DoublePair y = {quotient(numerator.low * 65536.0, divisor.low) * powersOfTwo(lowHalf(places)) * wide.low,
                        quotient(numerator.high * 65536.0, divisor.high) * powersOfTwo(highHalf(places)) *
                            wide.high};
  return roundOnce(y);
}

/** [3] status, [4] gate, [5] columns, [6] offset of up, [7] n, [8] out, [9] op of the product */
int gate(const Device *device, const int32_t *record, int part, int parts) {
  const uint16_t *table = at(device, device->control[CONTROL_EXP2]);
  const int n = record[7], from = shareOf(n, part, parts), to = shareOf(n, part + 1, parts);
  for (int row = 0; row < rowsOf(device, record); row++) {
    const float *x = (const float *)at(device, record[4]) + (size_t)row * (size_t)record[5];
    const float *up = x + record[6];
    float *out = (float *)at(device, record[8]) + (size_t)row * (size_t)n;
    Unsigned largest = {};
    for (int i = from; i < to; i += LANES) {
      if (i + LANES <= to) {
        const Floats y = silu(table, loadFloats(x + i)) * loadFloats(up + i) + 0.0f;
        storeWords(out + i, (Words)y);
        largest = (Unsigned)larger((Words)largest, (Words)(((Unsigned)y << 1) >> 1));
        continue;
      }
      Floats gates = {}, ups = {};
      const size_t bytes = (size_t)(to - i) * sizeof *x;
      memcpy(&gates, x + i, bytes);
      memcpy(&ups, up + i, bytes);
      const Floats y = silu(table, gates) * ups + 0.0f;
      memcpy(out + i, &y, bytes);
      largest = (Unsigned)larger((Words)largest, (Words)(((Unsigned)y << 1) >> 1));
    }
    if (anyBad(largest << 1)) markBad(at(device, record[3]), row, record[9]);
  }
  return 1;
}
