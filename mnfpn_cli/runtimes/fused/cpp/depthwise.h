// Depthwise 3x3 convolutions of a row, by tiles whose sums fill the registers.

#pragma once

#include "convolution.h"

template <int M, int S>
static void depthwise_tile(const Convolution& conv, const float* const rows[3], Operand* to, int column, int vector) {
    Vector sum[M];
    const float* weight = static_cast<const float*>(conv.weight) + vector * 9 * WIDTH;
    UNROLLED for (int m = 0; m < M; m++) sum[m] = load<Vector>(conv.bias + vector * WIDTH);
    UNROLLED for (int ky = 0; ky < 3; ky++) {
        Vector w[3];
        UNROLLED for (int kx = 0; kx < 3; kx++) w[kx] = load<Vector>(weight + (ky * 3 + kx) * WIDTH);
        UNROLLED for (int c = 0; c < (M - 1) * S + 3; c++) {
            const Vector x = in_register(load<Vector>(rows[ky] + (column * S + c) * WIDTH));
            UNROLLED for (int m = 0; m < M; m++)
                if (c - m * S >= 0 && c - m * S < 3) sum[m] += w[c - m * S] * x;
        }
    }
    const Vector least = conv.low - Vector{}, most = conv.high - Vector{};
    UNROLLED for (int m = 0; m < M; m++) store_rounded(to + (column + m) * DEPTH, clamp(sum[m], least, most));
}

template <int M, int S>
static void depthwise_tile_of(int n, const Convolution& conv, const float* const rows[3], Operand* to, int at, int v) {
    if (n == M) depthwise_tile<M, S>(conv, rows, to, at, v);
    else if constexpr (M > 1) depthwise_tile_of<M - 1, S>(n, conv, rows, to, at, v);
}

template <int S>
static void depthwise_row(const Convolution& conv, const float* const rows[3], Operand* to, int columns, int vector) {
    constexpr int most = S == 1 ? 8 : 6;
    for (int t = 0, count = (columns + most - 1) / most; t < count; t++) {
        const int start = columns * t / count;
        depthwise_tile_of<most, S>(columns * (t + 1) / count - start, conv, rows, to, start, vector);
    }
}
