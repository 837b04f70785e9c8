// Products of matrices: of floats, and of pairs of bfloat16 where the machine multiplies them.

// A factor holds its numbers in steps of one or, of pairs, two; a step of a product takes one of each.
template <class F>
constexpr long DEPTH = 1;
template <class F>
constexpr long steps(long count) { return (count + DEPTH<F> - 1) / DEPTH<F>; }

INLINE real added(real sum, real a, real b) { return sum + a * b; }

#if defined(__AVX512BF16__)
// Two numbers that are summed over, one after the other; the first in the lower half.
struct bf16x2 {
  uint32_t bits;
};
template <>
constexpr long DEPTH<bf16x2> = 2;

INLINE __m512bh all(bf16x2 x) { return (__m512bh)_mm512_set1_epi32((int)x.bits); }
INLINE __m512bh load(const bf16x2* p) { return (__m512bh)_mm512_loadu_si512(p); }
INLINE real added(real sum, __m512bh a, __m512bh b) { return (real)_mm512_dpbf16_ps((__m512)sum, a, b); }
INLINE bf16x2 paired(bf16 low, bf16 high) { return {low.bits | (uint32_t)high.bits << 16}; }

// What a product of arrays takes as factors: pairs where all of them are bfloat16.
template <class... T>
using Factor = std::conditional_t<(std::is_same_v<T, bf16> && ...), bf16x2, float>;
#else
template <class... T>
using Factor = float;
#endif

// e^x of a weight, for x up to 0, that a product takes as F: of pairs to 3e-6, far below their rounding.
// At 0 it is 1, where one key has all the weight.
template <class F>
INLINE real weight_of(real x) {
#if defined(__AVX512BF16__)
  if constexpr (DEPTH<F> == 2) {
    const real t = top(all(-150.0f), x * 1.44269504f);
    const real r = (real)_mm512_reduce_ps((__m512)t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    real p = r * 1.342669e-2f + 5.224247e-2f;
    p = p * r + 2.4128021e-1f;
    p = p * r + 6.9304484e-1f;
    return scaled(p * r + 1.0f, t);  // by the power below t
  }
#endif
  return exp_of_difference(x);
}

// c[r] (+)= sum_t a[r, t] b[t], t the steps: R rows and C vectors of columns in registers.
template <int R, int C, bool ADD, class F>
INLINE void tile(float* c, long ldc, const F* a, long row, long step, const F* b, long ldb, long count) {
  real made[R][C];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < C; ++n) made[r][n] = ADD ? load(c + r * ldc + n * WIDTH) : (real){};
  for (long t = 0; t < count; ++t) {
    decltype(load(b)) column[C];
    for (int n = 0; n < C; ++n) column[n] = load(b + t * ldb + n * WIDTH);
    for (int r = 0; r < R; ++r) {
      const auto x = all(a[r * row + t * step]);
      for (int n = 0; n < C; ++n) made[r][n] = added(made[r][n], x, column[n]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < C; ++n) store(c + r * ldc + n * WIDTH, made[r][n]);
}

template <int R, bool ADD, class F>
INLINE void strip(float* c, long ldc, const F* a, long row, long step, const F* b, long ldb, long vectors, long count) {
  long n = 0;
  for (; n + COLS <= vectors; n += COLS) tile<R, COLS, ADD>(c + n * WIDTH, ldc, a, row, step, b + n * WIDTH, ldb, count);
  if constexpr (COLS > 2)
    for (; n + 2 <= vectors; n += 2) tile<R, 2, ADD>(c + n * WIDTH, ldc, a, row, step, b + n * WIDTH, ldb, count);
  for (; n < vectors; ++n) tile<R, 1, ADD>(c + n * WIDTH, ldc, a, row, step, b + n * WIDTH, ldb, count);
}

// A product of any number of rows, and of whole vectors of columns.
template <bool ADD, class F>
static void product(float* c, long ldc, const F* a, long row, long step, const F* b, long ldb, long rows, long vectors, long count) {
  long r = 0;
  for (; r + ROWS <= rows; r += ROWS) strip<ROWS, ADD>(c + r * ldc, ldc, a + r * row, row, step, b, ldb, vectors, count);
  for (; r + 2 <= rows; r += 2) strip<2, ADD>(c + r * ldc, ldc, a + r * row, row, step, b, ldb, vectors, count);
  if (r < rows) strip<1, ADD>(c + r * ldc, ldc, a + r * row, row, step, b, ldb, vectors, count);
}

// Large memory that calls have given back. What is new from the system is cleared page by page, which takes
// long beside what a mask leaves to do; so the kernels of a process keep some blocks, the last ones.
#define HEAD 64
#define SPARE 2
#define LEAST_SPARE (1L << 17)
#if defined(__SANITIZE_ADDRESS__)
#define MOST_SPARE 0L
#else
#define MOST_SPARE (1L << 25)
#endif
inline char* spare[SPARE] = {};

// Ask for large pages where memory may be new: to clear one takes a tenth of what its small ones take.
INLINE void in_large_pages(void* from, long size) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t PAGE = 1 << 21;
  const uintptr_t first = ((uintptr_t)from + PAGE - 1) / PAGE * PAGE, last = ((uintptr_t)from + size) / PAGE * PAGE;
  if (first < last) madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

INLINE long& size_of(char* block) { return *(long*)block; }
INLINE bool is_kept(long size) { return size >= LEAST_SPARE && size <= MOST_SPARE; }

// Bytes that kernels of the process use, and the most since that was last asked.
inline long used = 0, most_used = 0;
INLINE void use(long more) {
  const long now = __atomic_add_fetch(&used, more, __ATOMIC_RELAXED);
  long most = __atomic_load_n(&most_used, __ATOMIC_RELAXED);
  while (now > most && !__atomic_compare_exchange_n(&most_used, &most, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}
extern "C" long most_held() { return __atomic_exchange_n(&most_used, __atomic_load_n(&used, __ATOMIC_RELAXED), __ATOMIC_RELAXED); }

static void given_back(char* block) {
  if (is_kept(size_of(block)))
    for (int n = 0; block && n < SPARE; ++n) block = __atomic_exchange_n(&spare[n], block, __ATOMIC_ACQ_REL);
  std::free(block);
}

// A block whose memory begins at HEAD.
static char* taken(long size) {
  for (int n = 0; is_kept(size) && n < SPARE; ++n) {
    char* const block = __atomic_exchange_n(&spare[n], nullptr, __ATOMIC_ACQ_REL);
    if (block && size_of(block) >= size) return block;
    if (block) given_back(block);
  }
  char* const block = (char*)std::aligned_alloc(64, (size + HEAD + 127) / 64 * 64);
  in_large_pages(block, size);
  size_of(block) = size;
  return block;
}

// Memory of one thread, given back at the end of its scope.
struct Room {
  const long size;
  float* const at;
  explicit Room(long floats) : size((floats * 4 + 127) / 64 * 64), at((float*)std::aligned_alloc(64, size)) { use(size); }
  ~Room() {
    use(-size);
    std::free(at);
  }
  Room(const Room&) = delete;
};

// The sums of some vectors, one in each lane.
template <long COUNT>
INLINE real sums_of(real* parts) {
  constexpr auto lanes = std::make_integer_sequence<long, WIDTH>();
  for (long n = 0; n < COUNT / 2; ++n)
    parts[n] = zip(parts[n], parts[n + COUNT / 2], 0, lanes) + zip(parts[n], parts[n + COUNT / 2], WIDTH / 2, lanes);
  if constexpr (COUNT > 2) return sums_of<COUNT / 2>(parts);
  return parts[0];
}

// c[r, j] = sum_d rows[r, d] keys[j, d] of some vectors of keys, of which `there` exist.
template <long WIDE, class F, class T>
static void dots(float* c, long ldc, const F* rows, long padded, const T* keys, long apart, long count, long vectors, long there) {
  typedef std::conditional_t<DEPTH<F> == 2, F, T> Stored;
  for (long first = 0; first < vectors * WIDTH; first += WIDTH)
    for (long r = 0; r < count; ++r) {
      const F* const row = rows + r * padded;
      real parts[WIDTH];
#pragma GCC unroll 16
      for (long j = 0; j < WIDTH; ++j) {
        const Stored* const key = (const Stored*)(keys + std::min(first + j, there - 1) * apart);
        real part = {};
        for (long d = 0; d < WIDE / DEPTH<F>; d += WIDTH) part = added(part, load(row + d), load(key + d));
        parts[j] = part;
      }
      store(c + r * ldc + first, sums_of<WIDTH>(parts));
    }
}

INLINE float weight_at(const float* weights, long j) { return weights[j]; }
#if defined(__AVX512BF16__)
INLINE float weight_at(const bf16x2* weights, long j) { return ((const bf16*)weights)[j]; }
#endif

// c[r] += sum_j weights[r, j] values[j].
template <long WIDE, class F, class T>
static void weighted(float* c, long ldc, const F* weights, long row, const T* values, long apart, long rows, long from, long to) {
  constexpr long VECTORS = WIDE / WIDTH, MOST = std::min<long>(std::max<long>(VECTORS, 1), COLS);
  for (long r = 0; r < rows; ++r)
    for (long n = 0; n < VECTORS; n += MOST) {
      real even[MOST], odd[MOST] = {};
      const long count = std::min(VECTORS - n, MOST);
      float* const at = c + r * ldc + n * WIDTH;
      for (long v = 0; v < count; ++v) even[v] = load(at + v * WIDTH);
      long j = from;
      for (; j + 1 < to; j += 2)
        for (long v = 0; v < count; ++v) {
          const T* const value = values + j * apart + (n + v) * WIDTH;
          even[v] += weight_at(weights + r * row, j) * load(value);
          odd[v] += weight_at(weights + r * row, j + 1) * load(value + apart);
        }
      for (long v = 0; v < count; ++v) {
        if (j < to) even[v] += weight_at(weights + r * row, j) * load(values + j * apart + (n + v) * WIDTH);
        store(at + v * WIDTH, even[v] + odd[v]);
      }
    }
}
