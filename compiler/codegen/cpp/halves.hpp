// Numbers of two bytes, as torch stores them: widened where they are read, rounded where written.

struct bf16 {
  uint16_t bits;
  operator float() const { return std::bit_cast<float>((uint32_t)bits << 16); }
};

struct fp16 {
  uint16_t bits;
  operator float() const {
#if defined(__F16C__)
    return _cvtsh_ss(bits);
#else
    // The same bits are those of a float 2^112 times as small, unless infinite or no number.
    const uint32_t size = (uint32_t)(bits & 0x7fff) << 13, sign = (uint32_t)(bits & 0x8000) << 16;
    const float x = std::bit_cast<float>(size) * 0x1p112f;
    const uint32_t made = size >= 0x0f800000 ? size | 0x7f800000 : std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>(made | sign);
#endif
  }
};

INLINE real load(const bf16* p) {
  typedef uint16_t bits_at __attribute__((vector_size(WIDTH * 2), aligned(2), may_alias));
  return (real)(__builtin_convertvector(*(const bits_at*)p, mask) << 16);
}

INLINE real load(const fp16* p) {
#if defined(__AVX512F__)
  return (real)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return (real)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = p[n];
  return made;
#endif
}

// To the nearest, of two as near to the even one.
INLINE void put(float* to, float x) { *to = x; }

INLINE void put(bf16* to, float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), rounded = bits + 0x7fff + (bits >> 16 & 1);
  to->bits = (uint16_t)((x == x ? rounded : bits | 0x400000) >> 16);
}

INLINE void put(fp16* to, float x) {
#if defined(__F16C__)
  to->bits = _cvtss_sh(x, 0);
#else
  const uint32_t bits = std::bit_cast<uint32_t>(x), size = bits & 0x7fffffff;
  uint32_t made;
  if (size > 0x7f800000) made = 0x7e00;
  else if (size >= 0x477ff000) made = 0x7c00;  // from 65520 on
  else if (size < 0x38800000) made = std::bit_cast<uint32_t>(std::fabs(x) + 0.5f) - 0x3f000000;  // subnormal
  else made = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
  to->bits = (uint16_t)(made | (bits >> 16 & 0x8000));
#endif
}

// Some numbers next to each other, as floats.
template <class T>
INLINE void widened(float* to, const T* from, long count) {
  long d = 0;
  for (; d + WIDTH <= count; d += WIDTH) store(to + d, load(from + d));
  for (; d < count; ++d) to[d] = from[d];
}
INLINE void widened(float* to, const float* from, long count) { std::memcpy(to, from, count * sizeof(float)); }
