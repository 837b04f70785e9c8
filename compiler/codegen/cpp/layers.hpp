// Products of a matrix that all pairs share with vectors of COLS x WIDTH pairs, in blocks that stay in
// registers.
#define LAYER_ROWS 4

// y = W x, W of M rows.
template <int M, int N, int R, class T>
INLINE void layer_rows(real (*y)[COLS], const T* w, const real (*x)[COLS]) {
  real made[R][COLS] = {};
  for (long d = 0; d < N; ++d)
    for (int e = 0; e < R; ++e)
      for (int c = 0; c < COLS; ++c) made[e][c] += all(w[e * N + d]) * x[d][c];
  for (int e = 0; e < R; ++e)
    for (int c = 0; c < COLS; ++c) y[e][c] = made[e][c];
}

template <int M, int N, class T>
INLINE void layer(real (*y)[COLS], const T* w, const real (*x)[COLS]) {
  long e = 0;
  for (; e + LAYER_ROWS <= M; e += LAYER_ROWS) layer_rows<M, N, LAYER_ROWS>(y + e, w + e * N, x);
  for (; e < M; ++e) layer_rows<M, N, 1>(y + e, w + e * N, x);
}

// dx = W^T dy.
template <int M, int N, int R, class T>
INLINE void layer_columns(real (*dx)[COLS], const T* w, const real (*dy)[COLS]) {
  real made[R][COLS] = {};
  for (long e = 0; e < M; ++e)
    for (int d = 0; d < R; ++d)
      for (int c = 0; c < COLS; ++c) made[d][c] += all(w[e * N + d]) * dy[e][c];
  for (int d = 0; d < R; ++d)
    for (int c = 0; c < COLS; ++c) dx[d][c] = made[d][c];
}

template <int M, int N, class T>
INLINE void layer_back(real (*dx)[COLS], const T* w, const real (*dy)[COLS]) {
  long d = 0;
  for (; d + LAYER_ROWS <= N; d += LAYER_ROWS) layer_columns<M, N, LAYER_ROWS>(dx + d, w + d, dy);
  for (; d < N; ++d) layer_columns<M, N, 1>(dx + d, w + d, dy);
}

// dW += dy x^T, lane by lane.
template <int M, int N>
INLINE void layer_outer(real* dw, const real (*dy)[COLS], const real (*x)[COLS]) {
  for (long e = 0; e < M; ++e)
    for (long d = 0; d < N; ++d) {
      real made = dw[e * N + d];
      for (int c = 0; c < COLS; ++c) made += dy[e][c] * x[d][c];
      dw[e * N + d] = made;
    }
}
