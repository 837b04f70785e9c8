// Sums over features of u tanh(a + b) or u sigmoid(a + b), a by query and b by key, with one
// exponential for each a and b in place of one for each pair. How, and how exact: codegen/algebra.py.
enum { EXACT, WIDE, FAST, NEAR };

// Exponents of one side beyond this are for EXACT; far below, EF is nothing beside 1.
static const float MOST_EXPONENT = 60.0f, LEAST_EXPONENT = -80.0f;
// Two denominators below e^43.5 have a product that is a float; one of them is at most 2 max(EF, 1) / u.
static const float MOST_PRODUCT = 42.8f;
// Weights below this share of the largest are as large as this, where they are divided by.
static const float LEAST_WEIGHT = 0x1p-30f;
// Beyond this EF is more than LARGE, which is for what is nothing beside others: of sigmoids all may be so small.
static const float MOST_SMALL = 41.0f;
// 1 + tanh a tanh b is at least 0.4.
static const float MOST_NEAR = 0.6f;
static const float LARGE = 0x1p60f;
// Centres nearer to 0 than this are not worth their rounding.
static const float LEAST_CENTRE = 4.0f;

INLINE real bottom(real a, real b) {
#if defined(__AVX512F__)
  return (real)_mm512_min_ps((__m512)a, (__m512)b);
#else
  return a < b ? a : b;
#endif
}

// n / d to an ulp or so, for d from 1e-38 to 1e38.
INLINE real quotient(real n, real d) {
#if defined(__AVX512F__)
  const real x = (real)_mm512_rcp14_ps((__m512)d), y = n * x;
  return y + y * (1.0f - d * x);
#else
  return n / d;
#endif
}

INLINE real reciprocal(real d) {
#if defined(__AVX512F__)
  const real x = (real)_mm512_rcp14_ps((__m512)d);
  return x + x * (1.0f - d * x);
#else
  return 1.0f / d;
#endif
}

INLINE real magnitude(real z) { return choose((mask)(z == z), absolute(z), all(INF)); }
INLINE real upper(real z) { return choose((mask)(z == z), z, all(INF)); }
INLINE real power(real z) { return exp_negative(top(bottom(z, all(MOST_EXPONENT)), all(LEAST_EXPONENT))); }

// Lane n is the sum of x[n].
INLINE real sums_of(const real* x) {
#if defined(__AVX512F__)
  __m512 quarter[4];
  for (int n = 0; n < 4; ++n) {
    const __m512 a = (__m512)x[4 * n], b = (__m512)x[4 * n + 1], c = (__m512)x[4 * n + 2], d = (__m512)x[4 * n + 3];
    const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    quarter[n] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)), _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
  }
  __m512 half[2];
  for (int n = 0; n < 2; ++n) {
    const __m512 a = quarter[2 * n], b = quarter[2 * n + 1];
    half[n] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  return (real)_mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88), _mm512_shuffle_f32x4(half[0], half[1], 0xdd));
#else
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = sum_of(x[n]);
  return made;
#endif
}

// Halfway between the extremes of some numbers that lie close to each other and far from 0, so that
// their differences from it are exact; else 0.
INLINE float centre_of(float low, float high) {
  const float middle = low + (high - low) / 2;
  return std::fabs(middle) >= LEAST_CENTRE && std::fabs(middle) < INF && high - low <= std::fabs(middle) ? middle : 0.0f;
}

// Of each feature, over the keys of a head.
template <class T>
INLINE void centre_keys(float* to, const T* from, long apart, long width, long keys) {
  for (long d0 = 0; d0 < width; d0 += 16) {
    const long some = std::min<long>(16, width - d0);
    float low[16], high[16];
    std::fill(low, low + 16, INF);
    std::fill(high, high + 16, -INF);
    for (long j = 0; j < keys; ++j)
      for (long d = 0; d < some; ++d) {
        const float x = from[j * apart + d0 + d];
        low[d] = x < low[d] ? x : low[d];
        high[d] = x > high[d] ? x : high[d];
      }
    for (long d = 0; d < some; ++d) to[d0 + d] = centre_of(low[d], high[d]);
  }
}

// Forms are chosen for so many queries, in both kernels alike, so that weights are what lse says.
#define CHOSEN 24

// D features; exponents are z = SCALE (a + b). A thread has one of these for each such sum.
template <bool TANH, long D, long GROUP>
struct Sums {
  static constexpr long PADDED = (D + 15) / 16 * 16, SIDES = TANH ? 2 : 1;
  // of a tile of keys: e^z, tanh b, the largest z of each feature, of all, and the largest |tanh b|
  static constexpr long TILE = SIDES * D * LANES + PADDED + 16;
  // so many are added up at once: a sum of few has less rounding
  static constexpr long SHORT = 16;
  static constexpr long PARTS = (GROUP + CHOSEN - 1) / CHOSEN;
  static constexpr float SCALE = TANH ? 2.0f : -1.0f;

  Room room;
  float *half, *folded, *near, *weighted;  // of queries: e^z / 2, e^z / u, tanh a, u tanh a
  float u[PADDED], inverse_u[PADDED], logs[PADDED], slopes[PADDED], starts[PADDED / SHORT], unit, least;
  float row_tops[PARTS][PADDED], row_top[PARTS], row_near[PARTS];
  bool fits;

  const void* weights_at = nullptr;
  bool is_weighed = false;

  Sums() : room(4 * GROUP * PADDED) {
    half = room.at;
    folded = half + GROUP * PADDED;
    near = folded + GROUP * PADDED;
    weighted = near + GROUP * PADDED;
  }

  // The weights of a head; without any they are 1.
  template <class T>
  void weights(const T* from) {
    if (is_weighed && weights_at == from) return;
    is_weighed = true;
    weights_at = from;
    float most = 0;
    fits = true;
    for (long d = 0; d < D; ++d) {
      const float x = from ? (float)from[d] : 1.0f;
      fits &= std::fabs(x) < INF;
      most = std::max(most, std::fabs(x));
    }
    int exponent = 0;
    std::frexp(most, &exponent);
    unit = fits && most > 0 ? std::ldexp(1.0f, std::max(-120, std::min(exponent, 120))) : 0.0f;
    const float one = unit > 0 ? 1.0f / unit : 0.0f;
    for (long d = 0; d < PADDED; ++d) {
      slopes[d] = d < D ? (from ? (float)from[d] : 1.0f) : 0.0f;
      u[d] = slopes[d] * one;
    }
    for (long d0 = 0; d0 < PADDED; d0 += SHORT) {
      double sum = 0;
      for (long d = d0; d < d0 + SHORT; ++d) sum += u[d];
      starts[d0 / SHORT] = (float)-sum;
    }
    for (long d = 0; d < PADDED; d += WIDTH) {
      const real x = load(u + d), size = top(absolute(x), all(LEAST_WEIGHT));
      store(inverse_u + d, 1.0f / choose((mask)(x < 0.0f), -size, size));
    }
    least = -INF;
    for (long d = 0; d < PADDED; ++d) {
      logs[d] = d < D ? std::log(std::fabs(inverse_u[d])) : -INF;
      least = std::max(least, logs[d]);
    }
  }

  // The queries of a group, a = by x + back centre.
  void rows(const float* x, long count, const float* centre, float by, float back) {
    for (long part = 0; part * CHOSEN < count; ++part)
      rows_of_part(part, x, part * CHOSEN, std::min(count, (part + 1) * CHOSEN), centre, by, back);
  }

  void rows_of_part(long part, const float* x, long begin, long end, const float* centre, float by, float back) {
    real highest = all(-INF), nearest = {};
    for (long d = 0; d < PADDED; d += WIDTH) {
      const real inv = load(inverse_u + d), weight = load(u + d), shift = load(centre + d) * back;
      real tops = all(-INF);
      for (long r = begin; r < end; ++r) {
        const real a = load(x + r * PADDED + d) * by + shift, z = a * SCALE, e = power(z);
        store(half + r * PADDED + d, e * 0.5f);
        store(folded + r * PADDED + d, e * inv);
        tops = top(tops, upper(z));
        if constexpr (TANH) {
          const real t = tanh_of(a);
          store(near + r * PADDED + d, t);
          store(weighted + r * PADDED + d, t * weight);
          nearest = top(nearest, magnitude(t));
        }
      }
      highest = top(highest, tops);
      store(row_tops[part] + d, tops + load(logs + d));
    }
    row_top[part] = top_of(highest);
    row_near[part] = top_of(nearest);
  }

  // A tile of keys, b = by (x - centre); those that are not there are as if b were 0.
  static void keys(float* to, const float* x, const float* centre, float by, long there) {
    float* const tops = to + SIDES * D * LANES;
    std::fill(tops, tops + PADDED, 0.0f);
    real highest = all(-INF), nearest = {};
    for (long d = 0; d < D; ++d) {
      real most = all(-INF);
      for (long c = 0; c < COLS; ++c) {
        const mask is_key = existing(c * WIDTH, there);
        const real b = choose(is_key, (load(x + d * LANES + c * WIDTH) - centre[d]) * by, all(0.0f)), z = b * SCALE;
        store(to + d * LANES + c * WIDTH, power(z));
        most = top(most, choose(is_key, upper(z), all(-INF)));
        if constexpr (TANH) {
          const real t = tanh_of(b);
          store(to + (D + d) * LANES + c * WIDTH, t);
          nearest = top(nearest, magnitude(t));
        }
      }
      tops[d] = top_of(most);
      highest = top(highest, most);
    }
    tops[PADDED] = top_of(highest);
    tops[PADDED + 1] = top_of(nearest);
  }

  // What some queries and a tile of keys allow.
  int form(const float* tile, long part) const {
    const float* const tops = tile + SIDES * D * LANES;
    if (!fits) return EXACT;
    if (TANH && row_near[part] * tops[PADDED + 1] <= MOST_NEAR) return NEAR;
    if (!(row_top[part] <= MOST_EXPONENT && tops[PADDED] <= MOST_EXPONENT)) return EXACT;
    real most = all(least), largest = all(-INF);
    for (long d = 0; d < PADDED; d += WIDTH) {
      const real weighted = load(row_tops[part] + d) + load(tops + d);
      most = top(most, weighted);
      largest = top(weighted - load(logs + d), largest);  // the second where there is no feature
    }
    if (!TANH && top_of(largest) > MOST_SMALL) return EXACT;
    return top_of(most) <= MOST_PRODUCT ? FAST : WIDE;
  }

  // sum_d of u (tanh or sigmoid), for some queries and a tile.
  void scores(float* to, long ld, const float* tile, int form, long begin, long end) const {
    if (form == FAST) in_rows<FAST>(to, ld, tile, begin, end);
    if (form == WIDE) in_rows<WIDE>(to, ld, tile, begin, end);
    if constexpr (TANH) if (form == NEAR) in_rows<NEAR>(to, ld, tile, begin, end);
  }

  template <int FORM>
  __attribute__((noinline)) void in_rows(float* to, long ld, const float* tile, long begin, long end) const {
    long r = begin;
    for (; r + SUM_ROWS <= end; r += SUM_ROWS) score<FORM, SUM_ROWS>(to + r * ld, ld, tile, r * PADDED);
    for (; r < end; ++r) score<FORM, 1>(to + r * ld, ld, tile, r * PADDED);
  }

  template <int FORM, int R>
  inline __attribute__((always_inline)) void score(float* to, long ld, const float* tile, long row) const {
    const float* const second = tile + D * LANES;
    // FAST makes sum u / (EF + 1), WIDE twice that, NEAR what is wanted
    const float share = unit * (FORM == NEAR ? 1.0f : (TANH ? -1.0f : 0.5f) * (FORM == FAST ? 2.0f : 1.0f));
    for (long d0 = 0; d0 < D; d0 += SHORT) {
      real made[R][COLS];
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < COLS; ++c) made[r][c] = all(TANH && FORM != NEAR ? starts[d0 / SHORT] * (FORM == FAST ? 0.5f : 1.0f) : 0.0f);
      for (long d = d0; d < std::min(D, d0 + SHORT) / 2 * 2; d += 2) {
        real f[COLS], g[COLS];
        for (int c = 0; c < COLS; ++c) {
          const float* const at = (FORM == NEAR ? second : tile) + d * LANES + c * WIDTH;
          f[c] = load(at);
          g[c] = load(at + LANES);
        }
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < COLS; ++c) {
            const long p = row + r * PADDED + d;
            if constexpr (FORM == FAST) {
              const real s = folded[p] * f[c] + inverse_u[d], t = folded[p + 1] * g[c] + inverse_u[d + 1];
              made[r][c] += quotient(s + t, s * t);
            } else if constexpr (FORM == WIDE) {
              const real s = bottom(half[p] * f[c] + 0.5f, all(LARGE)), t = bottom(half[p + 1] * g[c] + 0.5f, all(LARGE));
              made[r][c] += quotient(u[d] * t + u[d + 1] * s, s * t);
            } else {
              const real s = near[p] * f[c] + 1.0f, t = near[p + 1] * g[c] + 1.0f;
              made[r][c] += quotient((u[d] * f[c] + weighted[p]) * t + (u[d + 1] * g[c] + weighted[p + 1]) * s, s * t);
            }
          }
      }
      if (D % 2 && d0 + SHORT >= D) {
        const long d = D - 1;
        for (int c = 0; c < COLS; ++c) {
          const real f = load((FORM == NEAR ? second : tile) + d * LANES + c * WIDTH);
          for (int r = 0; r < R; ++r) {
            const long p = row + r * PADDED + d;
            if constexpr (FORM == FAST) made[r][c] += reciprocal(folded[p] * f + inverse_u[d]);
            else if constexpr (FORM == WIDE) made[r][c] += quotient(all(u[d]), bottom(half[p] * f + 0.5f, all(LARGE)));
            else made[r][c] += quotient(u[d] * f + weighted[p], near[p] * f + 1.0f);
          }
        }
      }
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < COLS; ++c) {
          float* const at = to + r * ld + c * WIDTH;
          store(at, made[r][c] * share + (d0 ? load(at) : (real){}));
        }
    }
  }

  // From the cotangents of a tile of pairs to those of a, b and u.
  template <bool ROW, bool KEY, bool WEIGHT>
  void spread(const float* cotangents, long ld, const float* tile, int form, long begin, long end, float by_row, float by_key, float* of_rows, float* of_keys, real* of_weights) const {
    if (TANH && form == NEAR) spread_rows<TANH, ROW, KEY, WEIGHT>(cotangents, ld, tile, begin, end, by_row, by_key, of_rows, of_keys, of_weights);
    else spread_rows<false, ROW, KEY, WEIGHT>(cotangents, ld, tile, begin, end, by_row, by_key, of_rows, of_keys, of_weights);
  }

  template <bool IS_NEAR, bool ROW, bool KEY, bool WEIGHT>
  __attribute__((noinline)) void spread_rows(const float* cotangents, long ld, const float* tile, long begin, long end, float by_row, float by_key, float* of_rows, float* of_keys, real* of_weights) const {
    real weights_here[D] = {};
    long r = begin;
    for (; r + SUM_ROWS <= end; r += SUM_ROWS)
      spread_some<IS_NEAR, ROW, KEY, WEIGHT, SUM_ROWS>(cotangents + r * ld, ld, tile, r * PADDED, by_row, by_key, of_rows, of_keys, weights_here);
    for (; r < end; ++r)
      spread_some<IS_NEAR, ROW, KEY, WEIGHT, 1>(cotangents + r * ld, ld, tile, r * PADDED, by_row, by_key, of_rows, of_keys, weights_here);
    if constexpr (WEIGHT)
      for (long d = 0; d < D; ++d) of_weights[d] += weights_here[d];
  }

  template <bool IS_NEAR, bool ROW, bool KEY, bool WEIGHT, int R>
  inline __attribute__((always_inline)) void spread_some(const float* cotangents, long ld, const float* tile, long row, float by_row, float by_key, float* of_rows, float* of_keys, real* of_weights) const {
    const float* const from = IS_NEAR ? tile + D * LANES : tile;
    const float* const of_row = IS_NEAR ? near : half;
    for (long d0 = 0; d0 < D; d0 += WIDTH) {
      real sums[R][WIDTH];
      if (d0 + WIDTH > D)
        for (int r = 0; r < R; ++r)
          for (int n = 0; n < WIDTH; ++n) sums[r][n] = (real){};
      for (long d = d0; d < std::min<long>(d0 + WIDTH, D); ++d) {
        real by_query[R] = {}, weight = {};
        for (int c = 0; c < COLS; ++c) {
          const real f = load(from + d * LANES + c * WIDTH);
          real key = {};
          for (int r = 0; r < R; ++r) {
            const real dt = load(cotangents + r * ld + c * WIDTH);
            const float e = of_row[row + r * PADDED + d];
            real made, slope;
            if constexpr (IS_NEAR) {
              made = quotient(f + e, e * f + 1.0f);
              slope = 1.0f - made * made;
            } else {
              const real r = reciprocal(bottom(e * f + 0.5f, all(LARGE)));
              if constexpr (TANH) {
                made = 1.0f - r;
                slope = 1.0f - made * made;
              } else {
                made = r * 0.5f;
                slope = made - made * made;
              }
            }
            const real part = dt * slope;
            by_query[r] += part;
            key += part;
            weight += dt * made;
          }
          if constexpr (KEY) {
            float* const at = of_keys + d * LANES + c * WIDTH;
            store(at, load(at) + key * (slopes[d] * by_key));
          }
        }
        for (int r = 0; r < R; ++r) sums[r][d - d0] = by_query[r];
        if constexpr (WEIGHT) of_weights[d] += weight;
      }
      if constexpr (ROW)
        for (int r = 0; r < R; ++r) {
          float* const at = of_rows + row + r * PADDED + d0;
          store(at, load(at) + sums_of(sums[r]) * (load(slopes + d0) * by_row));
        }
    }
  }
};
