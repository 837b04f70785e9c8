// Intervals: the smallest and largest value over a block. Truth is 0 or 1.
// unsure: whether a value may be no number: what is asked of such a one is not so.
struct Span {
  double low, high;
  bool unsure = false;
};

static const double EVER = std::numeric_limits<double>::infinity();
// Beyond this a double rounds whole numbers: such a bound says nothing but that.
static const double LARGEST = 9007199254740991.0;

INLINE double bound(double a, double beyond) {
  if (std::isinf(a) || (a >= -LARGEST && a <= LARGEST)) return a;
  return a > 0 ? (beyond > 0 ? beyond : LARGEST) : a < 0 ? (beyond < 0 ? beyond : -LARGEST) : beyond;
}
INLINE Span exact(Span a) { return {bound(a.low, -EVER), bound(a.high, EVER), a.unsure}; }
INLINE Span span(double a) { return exact({a, a}); }
INLINE Span truth(bool surely, bool maybe) { return {surely ? 1.0 : 0.0, maybe ? 1.0 : 0.0}; }
INLINE Span any_number() { return {-EVER, EVER, true}; }
INLINE Span any_truth() { return {0.0, 1.0}; }
// Of ints: what may be beyond 64 bits begins again at the other end.
INLINE Span whole_span(Span a) { return a.low >= -LARGEST && a.high <= LARGEST ? a : any_number(); }
INLINE bool has_zero(Span a) { return a.low <= 0 && a.high >= 0; }
INLINE bool has_infinity(Span a) { return a.low == -EVER || a.high == EVER; }
INLINE Span both(Span a, Span b) { return {std::min(a.low, b.low), std::max(a.high, b.high), a.unsure || b.unsure}; }
INLINE Span operator-(Span a) { return {-a.high, -a.low, a.unsure}; }
INLINE Span operator+(Span a, Span b) {
  const bool opposite = (a.low == -EVER && b.high == EVER) || (a.high == EVER && b.low == -EVER);
  return exact({a.low + b.low, a.high + b.high, a.unsure || b.unsure || opposite});
}
INLINE Span operator-(Span a, Span b) { return a + -b; }
INLINE double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }
INLINE Span operator*(Span a, Span b) {
  double p = times(a.low, b.low), q = times(a.low, b.high), r = times(a.high, b.low), s = times(a.high, b.high);
  const bool none = (has_zero(a) && has_infinity(b)) || (has_infinity(a) && has_zero(b));
  return exact({std::min(std::min(p, q), std::min(r, s)), std::max(std::max(p, q), std::max(r, s)), a.unsure || b.unsure || none});
}
INLINE bool is_size(Span a) { return a.low == a.high && a.low > 0 && a.low < EVER; }
INLINE Span floor_div(Span a, Span b) {
  return is_size(b) ? Span{std::floor(a.low / b.low), std::floor(a.high / b.low)} : any_number();
}
INLINE Span remainder(Span a, Span b, double step) {
  if (!is_size(b)) return any_number();
  double first = std::floor(a.low / b.low), last = std::floor(a.high / b.low);
  if (first != last || !std::isfinite(a.low)) return {0.0, b.low - step};
  return {a.low - b.low * first, a.high - b.low * first};
}
INLINE Span smaller(Span a, Span b) { return {std::min(a.low, b.low), std::min(a.high, b.high), a.unsure || b.unsure}; }
INLINE Span larger(Span a, Span b) { return {std::max(a.low, b.low), std::max(a.high, b.high), a.unsure || b.unsure}; }
INLINE Span absolute(Span a) {
  return {std::max(0.0, std::max(a.low, -a.high)), std::max(std::fabs(a.low), std::fabs(a.high)), a.unsure};
}
INLINE Span choose(Span c, Span a, Span b) { return c.low >= 1 ? a : c.high <= 0 ? b : both(a, b); }
INLINE Span rounded(Span a, double (*f)(double)) { return {f(a.low), f(a.high), a.unsure}; }
INLINE Span compared(Span a, Span b, bool surely, bool maybe) { return truth(surely && !a.unsure && !b.unsure, maybe); }
INLINE Span less(Span a, Span b) { return compared(a, b, a.high < b.low, a.low < b.high); }
INLINE Span at_most(Span a, Span b) { return compared(a, b, a.high <= b.low, a.low <= b.high); }
INLINE Span equal(Span a, Span b) {
  const bool same = a.low == a.high && b.low == b.high && a.low == b.low;
  return compared(a, b, same, a.low <= b.high && b.low <= a.high);
}
INLINE Span negated(Span a) { return {1 - a.high, 1 - a.low}; }

// The extremes of some numbers, of bools those of 1 and 0.
template <class T>
static Span over(const T* values, long apart, long count) {
  Span found = {EVER, -EVER};
  for (long n = 0; n < count; ++n) {
    const double x = values[n * apart];
    if (x != x) return any_number();
    found = both(found, {x, x});
  }
  return exact(found);
}
INLINE Span over(const int64_t* values, long apart, long count) {
  int64_t low = values[0], high = low;
  for (long n = 1; n < count; ++n) {
    low = std::min(low, values[n * apart]);
    high = std::max(high, values[n * apart]);
  }
  return exact({(double)low, (double)high});
}
INLINE Span over(const uint8_t* values, long apart, long count) {
  bool surely = true, maybe = false;
  for (long n = 0; n < count; ++n) {
    surely &= values[n * apart] != 0;
    maybe |= values[n * apart] != 0;
  }
  return truth(surely, maybe);
}

// What rounding to float may make of a bound.
INLINE Span wide(Span a) {
  double below = std::fabs(a.low) * 1e-6 + 1e-37, above = std::fabs(a.high) * 1e-6 + 1e-37;
  return {std::isfinite(a.low) ? a.low - below : a.low, std::isfinite(a.high) ? a.high + above : a.high, a.unsure};
}

enum { EMPTY = 0, PARTIAL = 1, FULL = 2 };
INLINE int kind_of(Span visible) { return visible.low >= 1 ? FULL : visible.high <= 0 ? EMPTY : PARTIAL; }
INLINE long ceil_div(long a, long b) { return (a + b - 1) / b; }

// What some queries see of a tile: vectors of its keys, and whether all pairs there are.
struct Seen {
  long from, to;
  bool all;
  bool is_none() const { return from == to; }
  bool has(long vector) const { return vector >= from && vector < to; }
};

// The extremes of each `height` numbers, then of all.
template <class T>
INLINE void over_parts(Span* spans, long parts, const T* values, long apart, long count, long height) {
  spans[parts] = {EVER, -EVER};
  for (long part = 0; part * height < count; ++part) {
    const long first = part * height;
    spans[part] = over(values + first * apart, apart, std::min(height, count - first));
    spans[parts] = both(spans[parts], spans[part]);
  }
}

// Stretches of tokens, blocks of BLOCK stretches, blocks of BLOCK such blocks and so on up to one of all,
// numbered one level after the other.
#define BLOCK 16
struct Levels {
  long stretches, all, top = 0, start[17] = {};
  explicit Levels(long stretches) : stretches(stretches), all(stretches) {
    for (long count = stretches; count > 1; all += count) {
      count = ceil_div(count, BLOCK);
      start[++top] = all;
    }
  }
};

// The extremes of all blocks, where those of the stretches stand first.
INLINE void unite(Span* spans, const Levels& levels) {
  for (long level = 1, from = 0; level <= levels.top; from = levels.start[level++])
    for (long n = from; n < levels.start[level]; ++n) {
      Span& block = spans[levels.start[level] + (n - from) / BLOCK];
      block = (n - from) % BLOCK ? both(block, spans[n]) : spans[n];
    }
}

// Goes over the stretches that are not empty. What is known of a block is not asked of those in it, so that
// it costs as much as there are stretches to visit, and blocks at their edges.
struct Walk {
  const Levels& levels;
  long at = 0, full = 0;  // all below `full` are
  int kind = PARTIAL;
  explicit Walk(const Levels& levels) : levels(levels) {}

  // The next one, and its `kind`; -1 where there is none. kind_at(n) is that of stretch or block n.
  template <class F>
  inline __attribute__((always_inline)) long next(F kind_at) {
    while (at < levels.stretches) {
      if (at < full) return at++;
      long level = 0, size = 1;
      while (level < levels.top && at % (size * BLOCK) == 0) ++level, size *= BLOCK;
      while ((kind = kind_at(levels.start[level] + at / size)) == PARTIAL && level > 0) --level, size /= BLOCK;
      if (kind == FULL) full = std::min(at + size, levels.stretches);
      if (kind != EMPTY) return at++;
      at += size;
    }
    return -1;
  }
};
