// Products of a matrix that all pairs share with vectors of COLS x WIDTH pairs, in blocks that stay in
// registers.
#define LAYER_ROWS 4

// R of y[e] = sum over COUNT d of w[e ROW + d STEP] x[d].
template <int R, int COUNT, int ROW, int STEP, class T>
INLINE void layer_block(real (*y)[COLS], const T* w, const real (*x)[COLS]) {
  real made[R][COLS] = {};
  for (long d = 0; d < COUNT; ++d)
    for (int e = 0; e < R; ++e)
      for (int c = 0; c < COLS; ++c) made[e][c] += all(w[e * ROW + d * STEP]) * x[d][c];
  for (int e = 0; e < R; ++e)
    for (int c = 0; c < COLS; ++c) y[e][c] = made[e][c];
}

template <int ROWS_ALL, int COUNT, int ROW, int STEP, class T>
INLINE void layer_product(real (*y)[COLS], const T* w, const real (*x)[COLS]) {
  long e = 0;
  for (; e + LAYER_ROWS <= ROWS_ALL; e += LAYER_ROWS) layer_block<LAYER_ROWS, COUNT, ROW, STEP>(y + e, w + e * ROW, x);
  for (; e < ROWS_ALL; ++e) layer_block<1, COUNT, ROW, STEP>(y + e, w + e * ROW, x);
}

// y = W x, W of M rows.
template <int M, int N, class T>
INLINE void layer(real (*y)[COLS], const T* w, const real (*x)[COLS]) {
  layer_product<M, N, N, 1>(y, w, x);
}

// dx = W^T dy.
template <int M, int N, class T>
INLINE void layer_back(real (*dx)[COLS], const T* w, const real (*dy)[COLS]) {
  layer_product<N, M, 1, N>(dx, w, dy);
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
