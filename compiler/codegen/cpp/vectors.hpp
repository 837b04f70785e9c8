// Vectors of floats, of their masks and of whole numbers, for the widest instructions at hand.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define WIDTH 16
#define COLS 4
#elif defined(__AVX2__)
#include <immintrin.h>
#define WIDTH 8
#define COLS 2
#elif defined(__ARM_NEON)
#define WIDTH 4
#define COLS 4
#else
#define WIDTH 4
#define COLS 2
#endif
// A product keeps ROWS x COLS vectors in registers; a tile of keys is LANES wide.
#define ROWS 6
#define LANES (WIDTH * COLS)
// A sum over features keeps SUM_ROWS x COLS.
#if defined(__AVX512F__)
#define SUM_ROWS 4
#else
#define SUM_ROWS 2
#endif
#define INLINE static inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

typedef float real __attribute__((vector_size(WIDTH * 4)));
typedef float real_at __attribute__((vector_size(WIDTH * 4), aligned(4)));
typedef int32_t mask __attribute__((vector_size(WIDTH * 4)));
typedef int32_t mask_at __attribute__((vector_size(WIDTH * 4), aligned(4)));
typedef int64_t whole __attribute__((vector_size(WIDTH * 8)));
typedef int64_t whole_at __attribute__((vector_size(WIDTH * 8), aligned(8)));

INLINE mask lane_numbers() {
  mask made;
  for (int n = 0; n < WIDTH; ++n) made[n] = n;
  return made;
}

static const float INF = std::numeric_limits<float>::infinity();

// A number that is rounded by itself: no product is added before it is.
INLINE real by_itself(real x) {
#if defined(__x86_64__) || defined(__i386__)
  asm("" : "+v"(x));
#elif defined(__aarch64__) || defined(__arm__)
  asm("" : "+w"(x));
#else
  asm("" : "+m"(x));
#endif
  return x;
}

INLINE real all(float x) { return x - (real){}; }
INLINE whole whole_all(int64_t x) { return x - (whole){}; }
INLINE mask mask_all(bool x) { return (x ? -1 : 0) - (mask){}; }
INLINE real load(const float* p) { return *(const real_at*)p; }
INLINE mask load(const int32_t* p) { return *(const mask_at*)p; }
INLINE whole load(const int64_t* p) { return *(const whole_at*)p; }
INLINE void store(float* p, real x) { *(real_at*)p = x; }
INLINE void store(int32_t* p, mask x) { *(mask_at*)p = x; }
INLINE void store(int64_t* p, whole x) { *(whole_at*)p = x; }

INLINE mask narrow(whole x) { return __builtin_convertvector(x, mask); }
INLINE whole widen(mask x) { return __builtin_convertvector(x, whole); }
INLINE real to_real(whole x) { return __builtin_convertvector(x, real); }
INLINE real to_real(mask x) { return x ? all(1.0f) : (real){}; }
INLINE whole to_whole(real x) { return __builtin_convertvector(x, whole); }
INLINE whole to_whole(mask x) { return -widen(x); }
INLINE real choose(mask c, real a, real b) { return c ? a : b; }
INLINE whole choose(mask c, whole a, whole b) { return widen(c) ? a : b; }
INLINE mask choose(mask c, mask a, mask b) { return (c & a) | (~c & b); }

// As in torch, a number that is not one wins.
INLINE real larger(real a, real b) { return (a > b) | (a != a) ? a : b; }
INLINE real smaller(real a, real b) { return (a < b) | (a != a) ? a : b; }
INLINE whole larger(whole a, whole b) { return a > b ? a : b; }
INLINE whole smaller(whole a, whole b) { return a < b ? a : b; }
INLINE real absolute(real x) { return (real)((mask)x & 0x7fffffff); }
INLINE whole absolute(whole x) { return x < 0 ? -x : x; }
INLINE real sign(real x) { return to_real((mask)(x > 0)) - to_real((mask)(x < 0)); }
INLINE whole sign(whole x) { return (x < 0) - (x > 0); }

// A number as it is once stored: what follows does not fuse with how it was made.
INLINE real stored(real x) {
#if defined(__AVX512F__) || defined(__AVX2__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#endif
  return x;
}

// Some vectors of zeros: what a compiler makes of a fill takes longer where they are few.
INLINE void cleared(float* to, long count) {
  const real zeros = stored((real){});
  for (long n = 0; n < count; n += WIDTH) store(to + n, zeros);
}

// The larger of two, the second where one is not a number: one instruction.
INLINE real top(real a, real b) {
#if defined(__AVX512F__)
  return (real)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}

INLINE float sum_of(real x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)x);
#else
  float total = 0;
  for (int n = 0; n < WIDTH; ++n) total += x[n];
  return total;
#endif
}

INLINE long total_of(mask x) {
  long total = 0;
  for (int n = 0; n < WIDTH; ++n) total += x[n];
  return total;
}

INLINE bool any_of(mask x) { return total_of(x); }

INLINE float top_of(real x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)x);
#else
  float most = x[0];
  for (int n = 1; n < WIDTH; ++n) most = x[n] > most ? x[n] : most;
  return most;
#endif
}

// Two vectors by turns: what they have from some lane on.
template <long... N>
INLINE real zip(real a, real b, long from, std::integer_sequence<long, N...>) { return real{(N % 2 ? b : a)[from + N / 2]...}; }

// WIDTH vectors become their columns: zipping the first half with the second moves the highest bit of what
// numbers a vector and a lane to the lowest place.
INLINE void transpose(real* rows) {
  constexpr auto lanes = std::make_integer_sequence<long, WIDTH>();
  for (long bit = 1; bit < WIDTH; bit *= 2) {
    real made[WIDTH];
    for (long n = 0; n < WIDTH / 2; ++n) {
      made[2 * n] = zip(rows[n], rows[n + WIDTH / 2], 0, lanes);
      made[2 * n + 1] = zip(rows[n], rows[n + WIDTH / 2], WIDTH / 2, lanes);
    }
    for (long n = 0; n < WIDTH; ++n) rows[n] = made[n];
  }
}

// A function of the C library, lane by lane.
template <class F>
INLINE real lanes(F f, real x) {
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = f(x[n]);
  return made;
}

template <class F>
INLINE real lanes(F f, real x, real y) {
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = f(x[n], y[n]);
  return made;
}

INLINE real nearest(real x) {
#if defined(__AVX512F__)
  return (real)_mm512_roundscale_ps((__m512)x, 0);
#else
  return lanes([](float a) { return std::nearbyint(a); }, x);
#endif
}

// p 2^n, for whole n from -252 to 254.
INLINE real scaled(real p, real n) {
#if defined(__AVX512F__)
  return (real)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  mask whole_n = __builtin_convertvector(n, mask), half = whole_n >> 1;
  return p * (real)((half + 127) << 23) * (real)((whole_n - half + 127) << 23);
#endif
}

// e^x for x up to 0 and below -104 nothing, up to |x| / 5 ulps: less than the rounding of a difference
// of scores makes of it. What is not a number stays so.
INLINE real exp_of_difference(real x) {
  x = top(all(-105.0f), x);
  real n = nearest(x * 1.44269504f);
  real r = x * 1.44269504f - n;
  real p = r * 1.54614478e-4f + 1.33908668e-3f;
  p = p * r + 9.61805694e-3f;
  p = p * r + 5.55035696e-2f;
  p = p * r + 2.40226507e-1f;
  p = p * r + 6.93147182e-1f;
  return scaled(p * r + 1.0f, n);
}

// The same to a little more than half an ulp: x = n log 2 + r, and a polynomial in r.
INLINE real exp_negative(real x) {
  x = top(all(-105.0f), x);
  real n = nearest(x * 1.44269504f);
  real r = x - n * 0.693359375f + n * 2.12194440e-4f;
  real p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return scaled((p * (r * r) + r) + 1.0f, n);
}

INLINE real exponential(real x) {
  real made = exp_negative(smaller(x, all(88.8f)));
  return x > 88.72283f ? all(INF) : (x != x ? x : made);
}

// tanh x = (e - 1) / (e + 1) with e = e^(2 |x|) - 1 by its own series where x is small.
INLINE real tanh_of(real x) {
  real a = absolute(x), e = exp_negative(a * -2.0f), far = (1.0f - e) / (1.0f + e);
  real s = x * x;
  real p = s * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  real near = p * s * x + x;
  real signed_far = (real)((mask)far | ((mask)x & (int32_t)0x80000000));
  return a < 0.625f ? near : (x != x ? x : signed_far);
}

INLINE real sigmoid_of(real x) {
  real e = exp_negative(-absolute(x)), d = 1.0f / (1.0f + e);
  return x != x ? x : (x < 0.0f ? e * d : d);
}

INLINE whole floor_div(whole a, whole b) {
  whole made;
  for (int n = 0; n < WIDTH; ++n) {
    int64_t x = a[n], d = b[n];
    if (d == 0 || d == -1) {  // of the smallest number no machine has the opposite
      made[n] = d == 0 ? 0 : (int64_t)(0 - (uint64_t)x);
      continue;
    }
    made[n] = x / d - (x % d != 0 && ((x < 0) != (d < 0)));
  }
  return made;
}

INLINE whole remainder(whole a, whole b) { return a - b * floor_div(a, b); }

// Of reals as in torch: what is left over has the sign of the divisor.
INLINE float left_over(float a, float b) {
  float rest = std::fmod(a, b);
  return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

INLINE real remainder(real a, real b) { return lanes([](float x, float d) { return left_over(x, d); }, a, b); }

INLINE float floor_of_ratio(float a, float b) {
  if (b == 0) return a / b;
  const float rest = std::fmod(a, b), made = (a - rest) / b;
  return std::nearbyint(rest != 0 && (b < 0) != (rest < 0) ? made - 1 : made);
}

INLINE real floor_div(real a, real b) { return lanes([](float x, float d) { return floor_of_ratio(x, d); }, a, b); }

// By repeated squares; of a negative power only what is whole.
INLINE whole power(whole a, whole b) {
  whole made;
  for (int n = 0; n < WIDTH; ++n) {
    uint64_t base = (uint64_t)a[n], total = 1;
    for (int64_t left = b[n]; left > 0; left >>= 1, base *= base)
      if (left & 1) total *= base;
    made[n] = b[n] >= 0 || a[n] == 1 ? (int64_t)total : a[n] == -1 ? (b[n] % 2 ? -1 : 1) : 0;
  }
  return made;
}

INLINE int64_t within(int64_t place, int64_t size) { return std::min(std::max<int64_t>(place, 0), size - 1); }

template <class T>
INLINE real gather(const T* table, whole place, int64_t size) {
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = table[within(place[n], size)];
  return made;
}

// Of tables of WIDTH keys, side by side.
INLINE real gather_by_key(const float* tables, whole place, int64_t size) {
  real made;
  for (int n = 0; n < WIDTH; ++n) made[n] = tables[within(place[n], size) * LANES + n];
  return made;
}

// Where `absent`, a place outside was read as 0.
INLINE bool is_read(int64_t place, int64_t size, bool absent) { return !absent || (place >= 0 && place < size); }

INLINE bool all_alike(whole place) {
  bool alike = true;
  for (int n = 1; n < WIDTH; ++n) alike &= place[n] == place[0];
  return alike;
}

INLINE void scatter(float* table, whole place, real x, int64_t size, bool absent) {
  if (all_alike(place)) {
    if (is_read(place[0], size, absent)) table[within(place[0], size)] += sum_of(x);
    return;
  }
  for (int n = 0; n < WIDTH; ++n)
    if (is_read(place[n], size, absent)) table[within(place[n], size)] += x[n];
}

INLINE void scatter_by_key(float* tables, whole place, real x, int64_t size, bool absent) {
  for (int n = 0; n < WIDTH; ++n)
    if (is_read(place[n], size, absent)) tables[within(place[n], size) * LANES + n] += x[n];
}
