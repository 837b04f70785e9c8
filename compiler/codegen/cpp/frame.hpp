// What every kernel does around its pairs: arrays from torch, packed by tiles of keys.

// An array: where it starts, how far apart examples, heads and tokens are, how many heads share one.
template <class T>
struct Array {
  const T* at;
  long by_batch, by_head, by_row, by_key, shared;
  const T* of(long b, long h) const { return at + b * by_batch + h / shared * by_head; }
  long batches(long b) const { return by_batch ? b : 1; }
  long heads(long h) const { return by_head ? h / shared : 1; }
  // Those that differ, numbered: how many of B examples with H heads, which one, and where it starts.
  long slots(long B, long H) const { return batches(B) * heads(H); }
  long slot(long b, long h, long H) const { return (by_batch ? b * heads(H) : 0) + (by_head ? h / shared : 0); }
  const T* of_slot(long slot, long H) const { return at + slot / heads(H) * by_batch + slot % heads(H) * by_head; }
};

// How many keys a tile has, of M in all; and which of WIDTH keys from one on there are.
INLINE long keys_of(long tile, long M) { return std::min<long>(LANES, M - tile * LANES); }
INLINE mask existing(long key, long M) { return (mask)(lane_numbers() + (int32_t)key < (int32_t)M); }

template <class T>
static Array<T> array(void* const* data, const int64_t* strides, long k) {
  const int64_t* s = strides + 5 * k;
  return {(const T*)data[k], s[0], s[1], s[2], s[3], s[4]};
}

// Whether all heads number their tokens alike, and each example one after the other.
INLINE bool consecutive(const Array<int64_t>& places, long apart, long B, long count) {
  bool found = !places.by_head;
  for (long b = 0; b < places.batches(B); ++b) {
    const int64_t* const at = places.of(b, 0);
    for (long n = 1; found && n < count; ++n) found = at[n * apart] == at[0] + n;
  }
  return found;
}

// Units of work that threads take, some next to each other at once, at last one by one.
struct Queue {
  const long units, threads;
  long taken = 0, seats = 0;
  Queue(long units, long threads) : units(units), threads(threads) {}
  // A number for each thread.
  long seat() { return __atomic_fetch_add(&seats, 1, __ATOMIC_RELAXED); }
  bool take(long& first, long& last) {
    first = __atomic_load_n(&taken, __ATOMIC_RELAXED);
    do {
      if (first >= units) return false;
      last = first + std::max<long>((units - first) / (4 * threads), 1);
    } while (!__atomic_compare_exchange_n(&taken, &first, last, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
  }
};

// What differs by example or by head or not, numbered.
struct Slots {
  long examples, heads;
  Slots(long examples, long heads) : examples(examples), heads(heads) {}
  long count() const { return examples * heads; }
  long of(long b, long h) const { return (examples > 1 ? b * heads : 0) + (heads > 1 ? h : 0); }
  long example(long slot) const { return slot / heads; }
  long head(long slot) const { return slot % heads; }
};

// Memory for all threads, until the end of the call.
template <class T>
struct Pack {
  char* const block;
  T* const at;
  const long size;
  Pack(long slots, long size) : block(taken(slots * size * (long)sizeof(T))), at((T*)(block + HEAD)), size(size) {
    use(size_of(block));
  }
  ~Pack() {
    use(-size_of(block));
    given_back(block);
  }
  Pack(const Pack&) = delete;
  T* of(long slot) const { return at + slot * size; }
};

// Whether each thread packs what it reads when it comes to it, in memory of one slot that stays in its cache.
// Below LATE all fits there anyway, and what two threads read would be packed twice.
#ifndef LATE
#define LATE (1L << 21)
#endif
template <class T>
INLINE bool is_late(long slots, long size, long threads) { return slots >= threads && slots * size * (long)sizeof(T) >= LATE; }

// Of which slot the tiles are that a thread has packed for itself.
struct Shelf {
  const Room room;
  int64_t* const slots;
  explicit Shelf(long tiles) : room(2 * tiles), slots((int64_t*)room.at) { std::fill(slots, slots + tiles, -1); }
  // Whether a tile is to be packed, which its caller does.
  bool lacks(long tile, long slot) const {
    if (slots[tile] == slot) return false;
    slots[tile] = slot;
    return true;
  }
};

// `there` of LANES tokens, feature by feature; what is not there is 0. one(j, d) is what token j has at d,
// some(j, d) that and what follows as a vector, for all d below `whole`.
template <class F, class Some, class One>
INLINE void in_columns(F* to, long whole, long width, long there, Some some, One one) {
  for (long j = 0; j < LANES; j += WIDTH) {
    const long count = std::min<long>(WIDTH, there - j);
    long d = 0;
    for (; d + WIDTH <= whole; d += WIDTH) {
      real square[WIDTH] = {};
      for (long n = 0; n < count; ++n) square[n] = some(j + n, d);
      if (count > 0) transpose(square);
      for (long n = 0; n < WIDTH; ++n) std::memcpy(to + (d + n) * LANES + j, &square[n], sizeof(real));
    }
    for (; d < width; ++d)
      for (long n = j; n < j + WIDTH; ++n) to[d * LANES + n] = n < there ? one(n, d) : F{};
  }
}

// Tokens key .. key + LANES of vectors.
template <class T>
INLINE void columns(float* to, const T* from, long apart, long width, long key, long keys) {
  const T* const tokens = from + key * apart;
  const auto some = [&](long j, long d) { return load(tokens + j * apart + d); };
  const auto one = [&](long j, long d) { return (float)tokens[j * apart + d]; };
  in_columns(to, width, width, std::min<long>(LANES, keys - key), some, one);
}

// The same of ints and bools.
INLINE int64_t held(int64_t x) { return x; }
INLINE int32_t held(uint8_t x) { return x ? -1 : 0; }
template <class F, class T>
INLINE void columns(F* to, const T* from, long apart, long width, long key, long keys) {
  for (long d = 0; d < width; ++d)
    for (long n = 0; n < LANES; ++n) to[d * LANES + n] = key + n < keys ? held(from[(key + n) * apart + d]) : F{};
}

// The same, token by token, each a whole number of vectors wide.
template <class T>
INLINE void rows_of(float* to, long padded, const T* from, long apart, long width, long first, long count, long most) {
  for (long j = 0; j < count; ++j) {
    widened(to + j * padded, from + (first + j) * apart, width);
    for (long d = width; d < padded; ++d) to[j * padded + d] = 0.0f;
  }
  if (count < most) cleared(to + count * padded, (most - count) * padded);
}

template <class F, class T>
INLINE void rows_of(F* to, long padded, const T* from, long apart, long width, long first, long count, long most) {
  for (long j = 0; j < most; ++j)
    for (long d = 0; d < padded; ++d) to[j * padded + d] = j < count && d < width ? held(from[(first + j) * apart + d]) : F{};
}

// The same, in steps of a product that sums over tokens.
template <class T>
INLINE void stacked(float* to, long padded, const T* from, long apart, long width, long first, long count, long most) {
  rows_of(to, padded, from, apart, width, first, count, most);
}

// Have a token that is soon read, or written, fetched into the cache.
template <bool WRITE, class T>
INLINE void fetch(const T* token, long width) {
  for (long d = 0; d < width; d += 64 / (long)sizeof(T)) __builtin_prefetch(token + d, WRITE);
}

// Whether vectors stand as `stacked` packs them.
template <class F, class T>
INLINE bool is_stacked(const Array<T>& array, long width, long padded) {
  return std::is_same_v<F, T> && width == padded && array.by_key == width;
}

// Packed rows, in steps of a product that sums over them.
INLINE const float* restacked(float*, const float* rows, long, long) { return rows; }

// Sums over the keys of a tile, and over some queries, of cotangents of pairs:
// c[r] += sum_j a[r, j] b[j],  c[j] += sum_r a[r, j] b[r].
INLINE void add_over_keys(float* c, long ldc, const float* a, long lda, const float* b, long rows, void*) {
  product<true>(c, ldc, a, lda, 1, b, ldc, rows, ldc / WIDTH, LANES);
}
INLINE void add_over_rows(float* c, long ldc, const float* a, long lda, const float* b, long rows, void*) {
  product<true>(c, ldc, a, 1, lda, b, ldc, LANES, ldc / WIDTH, rows);
}

// Weights next to each other, where a product reads them; in a row of floats that are not needed any more.
INLINE void put_weights(float* row, long j, real w) { store(row + j, w); }

template <class T, class F>
INLINE void numbers(T* to, const F* from, long apart, long first, long count, long most) {
  for (long j = 0; j < most; ++j) to[j] = j < count ? (T)from[(first + j) * apart] : (T)0;
}

INLINE void truths(int32_t* to, const uint8_t* from, long apart, long first, long count, long most) {
  for (long j = 0; j < most; ++j) to[j] = j < count ? held(from[(first + j) * apart]) : 0;
}

// Of N queries and M keys, what is read at their distances stands feature by feature, FRONT places from
// the start, for queries that pad a group; in an odd number of vectors, so that features do not collide
// in the first cache.
#define FRONT 64
INLINE long apart_size(long N, long M) { return (FRONT + N + ceil_div(M, 64) * 64) / 32 * 32 + 48; }

// WIDTH places of all features, of which `count` are there behind the front.
template <class T>
INLINE void by_place(float* to, long size, const T* from, long apart, long width, long place, long count) {
  for (long d = 0; d < width; ++d)
    for (long n = place; n < place + WIDTH; ++n)
      to[d * size + n] = n >= FRONT && n < FRONT + count ? (float)from[(n - FRONT) * apart + d] : 0.0f;
}

// Whether vectors of a whole number of registers are read where they stand: by so few queries that to pack
// them would take longer.
#ifndef FEW
#define FEW 7
#endif
template <class F, class T>
INLINE bool is_direct(const Array<T>& array, long width, long H, long N) {
  return width % (WIDTH * DEPTH<F>) == 0 && N * (H / array.heads(H)) <= FEW;
}

// Pairs of one query with WIDTH keys of which `there` exist.
template <class T>
INLINE real pairs(const T* from, long there) {
  if (there >= WIDTH) return load(from);
  real made = {};
  for (long n = 0; n < there; ++n) made[n] = from[n];
  return made;
}

INLINE whole pairs(const int64_t* from, long there) {
  whole made = {};
  for (long n = 0; n < WIDTH && n < there; ++n) made[n] = from[n];
  return made;
}

INLINE mask pairs(const uint8_t* from, long there) {
  mask made = {};
  for (long n = 0; n < WIDTH && n < there; ++n) made[n] = from[n] ? -1 : 0;
  return made;
}

// Which of WIDTH pairs dropout keeps, by the random bits of their query and the places of their keys: the
// same, to the last bit, as `keep_pairs` of torch_ops says.
INLINE mask keep(whole rows, whole keys, float rate) {
  typedef uint64_t bits_type __attribute__((vector_size(WIDTH * 8)));
  bits_type bits = (bits_type)rows + UINT64_C(0x9e3779b97f4a7c15) * ((bits_type)keys + 1);
  bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
  bits ^= bits >> 31;
  return (mask)((to_real((whole)(bits >> 40)) + 0.5f) * 0x1p-24f >= rate);
}
