// Dense convolutions of some pixels of a map, by tiles whose sums fill the registers of vectors.

#pragma once

#include "convolution.h"

constexpr int GROUP = 4, PIXELS = 12;  // vectors and pixels of a tile, at most

// Convolve M pixels, for V vectors of the outputs: of the last one only half, where HALF.
template <int M, int V, bool HALF, class T>
static void tile(const Convolution& conv, Source from, Target<T> to, int pixel, int first) {
    constexpr int WHOLE = HALF ? V - 1 : V;
    Sum sum[M][V];
    HalfSum half[M];
    UNROLLED for (int m = 0; m < M; m++) {
        UNROLLED for (int v = 0; v < WHOLE; v++) sum[m][v] = start<Sum>(conv.bias + (first + v) * WIDTH);
        half[m] = start<HalfSum>(conv.bias + (first + V - 1) * WIDTH);
    }
    const int last = first + V == conv.vectors ? to.last : WIDTH;  // channels of the last vector
    const int steps = (from.values + PAIR - 1) / PAIR;
    const long vector = long(from.parts) * steps * WIDTH * PAIR;  // weights of a vector
    const Weight* weight = static_cast<const Weight*>(conv.weight) + first * vector;
    const Operand* x = from.base + pixel * from.pixel;
    for (int part = 0; part < from.parts; part++, x += from.part)
        for (int k = 0; k < steps; k++, weight += WIDTH * PAIR) {
            Weights w[V];
            HalfWeights h;
            UNROLLED for (int v = 0; v < WHOLE; v++) memcpy(&w[v], weight + v * vector, sizeof w[v]);
            if (HALF) memcpy(&h, weight + (V - 1) * vector, sizeof h);
            UNROLLED for (int m = 0; m < M; m++) {
                Input input;
                memcpy(&input, x + m * from.pixel + k * PAIR, sizeof input);
                UNROLLED for (int v = 0; v < WHOLE; v++) sum[m][v] = multiply_add(sum[m][v], w[v], input);
                if (HALF) half[m] = multiply_add(half[m], h, input);
            }
        }
    UNROLLED for (int v = 0; v < V; v++) {
        const int output = (first + v) * WIDTH, channels = v == V - 1 ? last : WIDTH;
        const auto at = [&](int m) { return (first + v) * to.vector + (pixel + m) * to.pixel; };
        if (v < WHOLE) {
            const Finish<Vector> finish(conv, output);
            UNROLLED for (int m = 0; m < M; m++) finish.write(to, sum[m][v], at(m), channels);
        } else {
            const Finish<Half> finish(conv, output);
            UNROLLED for (int m = 0; m < M; m++) finish.write(to, half[m], at(m), channels);
        }
    }
}

template <int M, int V, bool HALF, class T>
static void tile_of(int pixels, const Convolution& conv, Source from, Target<T> to, int pixel, int first) {
    if (pixels == M) tile<M, V, HALF>(conv, from, to, pixel, first);
    else if constexpr (M > 1) tile_of<M - 1, V, HALF>(pixels, conv, from, to, pixel, first);
}

template <int V, bool HALF, class T>
static void tiles_of(const Convolution& conv, Source from, Target<T> to, int begin, int end, int first) {
    constexpr int most = std::min(PIXELS, SUMS / V);
    const int pixels = end - begin, count = (pixels + most - 1) / most;
    for (int t = 0; t < count; t++) {
        const int start = pixels * t / count;
        tile_of<most, V, HALF>(pixels * (t + 1) / count - start, conv, from, to, begin + start, first);
    }
}

template <int V, class T>
static void tiles(const Convolution& conv, Source from, Target<T> to, int begin, int end, int first) {
    if (first + V == conv.vectors && to.last <= WIDTH / 2) tiles_of<V, true>(conv, from, to, begin, end, first);
    else tiles_of<V, false>(conv, from, to, begin, end, first);
}

// Return the vectors of a tile with which its sums fill the registers best, for so many pixels.
static int group_of(int pixels) {
    const auto sums = [&](int group) {
        const int most = std::min(PIXELS, SUMS / group);
        return group * pixels / ((pixels + most - 1) / most);
    };
    int best = GROUP;
    for (int group = GROUP; group > 1; group--)
        if (sums(group) > sums(best)) best = group;
    return best;
}

// Convolve pixels begin to end, for the vectors first to last of the outputs.
template <class T>
static void convolve(const Convolution& conv, Source from, Target<T> to, int begin, int end, int first, int last) {
    const int group = group_of(end - begin);
    for (int groups = (last - first + group - 1) / group; groups > 0; groups--) {
        const int vectors = (last - first) / groups;
        if (vectors == 1) tiles<1>(conv, from, to, begin, end, first);
        else if (vectors == 2) tiles<2>(conv, from, to, begin, end, first);
        else if (vectors == 3) tiles<3>(conv, from, to, begin, end, first);
        else tiles<4>(conv, from, to, begin, end, first);
        first += vectors;
    }
}

static void release() {}  // what convolutions leave in the processor: nothing
