// Intervals: the smallest and largest value over a block. Truth is 0 or 1.
struct Span {
  double low, high;
};

static const double EVER = std::numeric_limits<double>::infinity();
// Beyond this a double rounds whole numbers: such a bound says nothing.
static const double LARGEST = 9007199254740991.0;

INLINE Span exact(Span a) { return {a.low >= -LARGEST ? a.low : -EVER, a.high <= LARGEST ? a.high : EVER}; }
INLINE Span span(double a) { return exact({a, a}); }
INLINE Span truth(bool surely, bool maybe) { return {surely ? 1.0 : 0.0, maybe ? 1.0 : 0.0}; }
INLINE Span any_number() { return {-EVER, EVER}; }
INLINE Span any_truth() { return {0.0, 1.0}; }
INLINE Span both(Span a, Span b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }
INLINE Span operator+(Span a, Span b) { return exact({a.low + b.low, a.high + b.high}); }
INLINE Span operator-(Span a, Span b) { return exact({a.low - b.high, a.high - b.low}); }
INLINE Span operator-(Span a) { return {-a.high, -a.low}; }
INLINE double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }
INLINE Span operator*(Span a, Span b) {
  double p = times(a.low, b.low), q = times(a.low, b.high), r = times(a.high, b.low), s = times(a.high, b.high);
  return exact({std::min(std::min(p, q), std::min(r, s)), std::max(std::max(p, q), std::max(r, s))});
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
INLINE Span smaller(Span a, Span b) { return {std::min(a.low, b.low), std::min(a.high, b.high)}; }
INLINE Span larger(Span a, Span b) { return {std::max(a.low, b.low), std::max(a.high, b.high)}; }
INLINE Span absolute(Span a) { return {std::max(0.0, std::max(a.low, -a.high)), std::max(std::fabs(a.low), std::fabs(a.high))}; }
INLINE Span choose(Span c, Span a, Span b) { return c.low >= 1 ? a : c.high <= 0 ? b : both(a, b); }
INLINE Span rounded(Span a, double (*f)(double)) { return {f(a.low), f(a.high)}; }
INLINE Span less(Span a, Span b) { return truth(a.high < b.low, a.low < b.high); }
INLINE Span at_most(Span a, Span b) { return truth(a.high <= b.low, a.low <= b.high); }
INLINE Span equal(Span a, Span b) {
  return truth(a.low == a.high && b.low == b.high && a.low == b.low, a.low <= b.high && b.low <= a.high);
}
INLINE Span negated(Span a) { return {1 - a.high, 1 - a.low}; }

template <class T>
static Span over(const T* values, long count) {
  Span found = {EVER, -EVER};
  for (long n = 0; n < count; ++n) {
    double x = (double)values[n];
    if (x != x) return any_number();
    found = both(found, {x, x});
  }
  return exact(found);
}

// What rounding to float may make of a bound.
INLINE Span wide(Span a) {
  double below = std::fabs(a.low) * 1e-6 + 1e-37, above = std::fabs(a.high) * 1e-6 + 1e-37;
  return {std::isfinite(a.low) ? a.low - below : a.low, std::isfinite(a.high) ? a.high + above : a.high};
}
