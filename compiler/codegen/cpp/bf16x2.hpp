// What `frame.hpp` packs and adds up, for products of bfloat16 in pairs: of features, of keys, of queries.
#if defined(__AVX512BF16__)
INLINE void columns(bf16x2* to, const bf16* from, long apart, long width, long key, long keys) {
  const bf16* const tokens = from + key * apart;
  const auto some = [&](long j, long e) {
    real pairs;
    std::memcpy(&pairs, tokens + j * apart + 2 * e, sizeof(pairs));
    return pairs;
  };
  const auto one = [&](long j, long e) {
    const bf16* const pair = tokens + j * apart + 2 * e;
    return paired(pair[0], 2 * e + 1 < width ? pair[1] : bf16{0});
  };
  in_columns(to, width / 2, steps<bf16x2>(width), std::min<long>(LANES, keys - key), some, one);
}

INLINE void rows_of(bf16x2* to, long padded, const bf16* from, long apart, long width, long first, long count, long most) {
  std::memset(to, 0, most * padded * sizeof(bf16x2));
  for (long j = 0; j < count; ++j) std::memcpy(to + j * padded, from + (first + j) * apart, width * sizeof(bf16));
}

INLINE void stacked(bf16x2* to, long padded, const bf16* from, long apart, long width, long first, long count, long most) {
  std::memset(to, 0, steps<bf16x2>(most) * padded * sizeof(bf16x2));
  for (long j = 0; j < count; ++j) {
    const bf16* const token = from + (first + j) * apart;
    bf16x2* const step = to + j / 2 * padded;
    for (long d = 0; d < width; ++d) step[d].bits |= (uint32_t)token[d].bits << (j % 2 * 16);
  }
}

INLINE const bf16x2* restacked(bf16x2* to, const bf16x2* rows, long padded, long count) {
  for (long r = 0; r < count; r += 2) {
    const bf16x2 *const even = rows + r * padded, *const odd = even + padded;
    bf16x2* const step = to + r * padded;
    for (long e = 0; e < padded; ++e) {
      const uint32_t low = even[e].bits, high = odd[e].bits;
      step[2 * e].bits = (low & 0xffff) | high << 16;
      step[2 * e + 1].bits = low >> 16 | (high & 0xffff0000);
    }
  }
  return to;
}

INLINE void put_weights(bf16x2* row, long j, real w) {
  _mm256_storeu_si256((__m256i*)(row + j / 2), (__m256i)_mm512_cvtneps_pbh((__m512)w));
}

// These round the cotangents in a room of their own.
INLINE void add_over_keys(float* c, long ldc, const float* a, long lda, const bf16x2* b, long rows, void* room) {
  constexpr long STEPS = steps<bf16x2>(LANES);
  bf16x2* const pairs = (bf16x2*)room;
  for (long r = 0; r < rows; ++r)
    for (long j = 0; j < LANES; j += WIDTH) put_weights(pairs + r * STEPS, j, load(a + r * lda + j));
  product<true>(c, ldc, pairs, STEPS, 1, b, ldc, rows, ldc / WIDTH, STEPS);
}

INLINE __m512i rounded(real x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)x)); }

INLINE void add_over_rows(float* c, long ldc, const float* a, long lda, const bf16x2* b, long rows, void* room) {
  bf16x2* const pairs = (bf16x2*)room;
  for (long r = 0; r < rows; r += 2)
    for (long j = 0; j < LANES; j += WIDTH) {
      const __m512i low = rounded(load(a + r * lda + j));
      const __m512i high = rounded(r + 1 < rows ? load(a + (r + 1) * lda + j) : (real){});
      _mm512_storeu_si512(pairs + r / 2 * LANES + j, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  product<true>(c, ldc, pairs, 1, LANES, b, ldc, LANES, ldc / WIDTH, steps<bf16x2>(rows));
}
#endif
