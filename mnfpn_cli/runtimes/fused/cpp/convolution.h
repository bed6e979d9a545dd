// A convolution, what it reads, and where its outputs go.
//
// Dense weights are (vectors, inputs / PAIR, WIDTH, PAIR), depthwise ones (vectors, 9, WIDTH) and float32.

#pragma once

#include <algorithm>

#include "vectors.h"

constexpr int DEPTH = WIDTH * PAIR;  // channels of a pixel that lie side by side behind a depthwise convolution

struct Convolution {
    const void* weight;
    const float* bias;
    float low, high;                 // of the activation
    int vectors;                     // of its outputs; 0 where there is no such convolution
    int kernel, stride, top, left;   // top and left: rows and columns of zeros before the map
};

// Value k of part b for pixel p is at base[b * part + p * pixel + k]. Where a part does not fill its last input, what is
// behind it in memory is multiplied by zero: it must be there. (So beside a pixel that is not finite, another may be NaN.)
struct Source {
    const Value* base;
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
