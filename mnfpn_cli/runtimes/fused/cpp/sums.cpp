// Weighted sums of rows of a table: early smoothing resizes maps by them.

#include "vectors.h"

// Add TERMS rows to sums of one load of channels.
template <class Load>
static inline void add_terms(Vector sums[TERMS], const int* index, const Value* weight, int channels, Load load) {
    Channels rows[TERMS];
    UNROLLED for (int k = 0; k < TERMS; k++) rows[k] = load(long(index[k]) * channels);
    Terms weights;
    memcpy(&weights, weight, sizeof weights);
    add_products(sums, rows, weights);
}

// Sum channels of a pixel, N loads of them at once; return the first channel that is left.
template <int N>
static int sum_channels(const int* index, const Value* weight, const Value* rows, Value* to, int terms, int channels,
                        int c) {
    constexpr int LOAD = WIDTH * TERMS;
    for (; c + N * LOAD <= channels; c += N * LOAD) {
        Vector sums[N][TERMS] = {};
        for (int k = 0; k < terms; k += TERMS)
            UNROLLED for (int n = 0; n < N; n++)
                add_terms(sums[n], index + k, weight + k, channels, [=](long at) {
                    Channels row;
                    memcpy(&row, rows + at + c + n * LOAD, sizeof row);
                    return row;
                });
        UNROLLED for (int n = 0; n < N; n++) {
            const Channels sum = rounded(sums[n]);
            memcpy(to + c + n * LOAD, &sum, sizeof sum);
        }
    }
    return c;
}

extern "C" int mnfpn_terms() { return TERMS; }

// Row p of y becomes the sum of weights[p][k] * rows[indices[p][k]], for all terms k, a multiple of TERMS.
extern "C" void mnfpn_sum(const int* indices, const Value* weights, const Value* rows, Value* y, long pixels, int terms,
                          int channels, int threads) {
    constexpr int MOST = (WIDTH == 16 ? 16 : 8) / TERMS;  // loads of which the sums stay in registers
#pragma omp parallel for num_threads(threads)
    for (long p = 0; p < pixels; p++) {
        const int* index = indices + p * terms;
        const Value* weight = weights + p * terms;
        Value* to = y + p * channels;
        int c = sum_channels<MOST>(index, weight, rows, to, terms, channels, 0);
        c = sum_channels<4 / TERMS>(index, weight, rows, to, terms, channels, c);
        c = sum_channels<1>(index, weight, rows, to, terms, channels, c);
        if (c == channels) continue;
        const size_t left = (channels - c) * sizeof(Value);
        Vector sums[TERMS] = {};
        for (int k = 0; k < terms; k += TERMS)
            add_terms(sums, index + k, weight + k, channels, [=](long at) {
                Channels row{};
                memcpy(&row, rows + at + c, left);
                return row;
            });
        const Channels sum = rounded(sums);
        memcpy(to + c, &sum, left);
    }
}
