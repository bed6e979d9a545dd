// A convolution, what it reads, and where its outputs go.
//
// Dense weights are (vectors, inputs / PAIR, WIDTH, PAIR), depthwise ones (vectors, 9, WIDTH) and float32. In int8, sums
// times a scale for each output are values, and the bias has what the zero of the operands adds to them.

#pragma once

#include <algorithm>

#include "products.h"

#if defined(AMX)
constexpr int DEPTH = WIDTH * PAIR;  // channels of a pixel that lie side by side behind a depthwise convolution: of a tile
#else
constexpr int DEPTH = WIDTH;
#endif

struct Convolution {
    const void* weight;
    const float *bias, *scale;       // of each output
    float low, high;                 // of the activation
    Rounding rounding;               // of what it reads
    int vectors;                     // of its outputs; 0 where there is no such convolution
    int kernel, stride, top, left;   // top and left: rows and columns of zeros before the map
};

// Value k of part b for pixel p is at base[b * part + p * pixel + k]. Where a part does not fill its last input, what is
// behind it in memory is multiplied by zero: it must be there. (So beside a pixel that is not finite, another may be NaN.)
struct Source {
    const Operand* base;
    long part, pixel;
    int parts, values;
};

template <class T>
struct Target {  // vector v of pixel p is at base[v * vector + p * pixel]; the last vector of all has so many channels
    T* base;
    long vector, pixel;
    const Value* added;
    int last;
};

// What makes values of sums, for a vector of outputs.
template <class V>
struct Finish {
    V scale, bias, least, most;

    Finish(const Convolution& conv, int output)
        : scale(load<V>(conv.scale + output)), bias(load<V>(conv.bias + output)), least(conv.low - V{}),
          most(conv.high - V{}) {}

    // Write some channels of it, `at` of the target.
    template <class S, class T>
    void write(const Target<T>& to, S sum, long at, int channels) const {
        V value = values_of<V>(sum, scale, bias);
        if (to.added) value += load_up_to<V>(to.added + at, channels);
        store_up_to(to.base + at, clamp(value, least, most), channels);
    }
};
