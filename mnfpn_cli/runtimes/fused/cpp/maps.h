// Maps in memory, (rows, columns, channels), and what dense convolutions read of them.

#pragma once

#include <omp.h>

#include <type_traits>

#if defined(AMX)
#include "dense_amx.h"
#else
#include "dense.h"
#endif

constexpr long CACHE = (WIDTH == 16 ? 128 : 96) * 1024;  // floats between convolutions: less than a core caches

struct Map {
    int rows, columns, channels;
    long row() const { return long(columns) * channels; }
    long size() const { return rows * row(); }
};

// Return the floats that operands take, as whole vectors: one in two lines of the cache takes twice the time.
static long floats_of(long operands) {
    const long floats = (operands * long(sizeof(Operand)) + long(sizeof(float)) - 1) / long(sizeof(float));
    return (floats + WIDTH - 1) / WIDTH * WIDTH;
}

// Return the floats of a map as operands, where it must be rounded to these.
static long floats_rounded(long values) { return std::is_same_v<Operand, Value> ? 0 : floats_of(values + PAIR); }

// Return whether rows of a map are copied for a convolution: where it reads several, or pixels do not fill their inputs.
static bool copies(const Convolution& conv, const Map& map) { return conv.kernel > 1 || map.channels % PAIR; }

static long padded_row(const Convolution& conv, const Map& map) {
    return long(conv.left + map.columns + conv.kernel) * map.channels;
}

// Return what a dense convolution reads for a row of its output: the map itself, or a padded copy of some rows.
static Source window(const Convolution& conv, const Map& map, const Operand* x, int row, Operand* copy) {
    const long pixel = long(conv.stride) * map.channels, line = map.row();
    if (!copies(conv, map)) return {x + row * conv.stride * line, 0, pixel, 1, map.channels};
    const long padded = padded_row(conv, map), left = conv.left * map.channels;
    const Operand zero = Operand(conv.rounding.zero);
    for (int k = 0; k < conv.kernel; k++) {
        Operand* at = copy + k * padded;
        const int from = row * conv.stride - conv.top + k;
        const bool inside = from >= 0 && from < map.rows;
        std::fill(at, at + (inside ? left : padded), zero);
        if (!inside) continue;
        memcpy(at + left, x + from * line, line * sizeof(Operand));
        std::fill(at + left + line, at + padded, zero);
    }
    return {copy, padded, pixel, conv.kernel, conv.kernel * map.channels};
}

// Make operands of values of a map.
static void convert(const Value* from, Operand* to, long count, Rounding by) {
    if constexpr (std::is_same_v<Operand, Value>) {
        memcpy(to, from, count * sizeof(Value));
    } else {
        long k = 0;
        for (; k + WIDTH <= count; k += WIDTH) store_rounded(to + k, load<Vector>(from + k) * by.inverse + by.zero);
        Operand last[WIDTH];
        store_rounded(last, load_some<Vector>(from + k, int(count - k)) * by.inverse + by.zero);
        memcpy(to + k, last, (count - k) * sizeof(Operand));
    }
}

// Make operands of what this thread of a team takes of a map.
static void convert_share(const Value* from, Operand* to, long count, Rounding by) {
    const long me = omp_get_thread_num(), team = omp_get_num_threads(), begin = count * me / team;
    convert(from + begin, to + begin, count * (me + 1) / team - begin, by);
}
