// Dense convolutions of some pixels of a map, by the tile registers of AMX: Intel's manual of optimization, chapter 20.
//
// A tile has up to 16 rows of 64 bytes: the inputs of 16 pixels; the weights of as many inputs for a vector of outputs,
// which lie in memory as a tile has them; or the sums of 16 pixels. Two by two tiles of sums are made at once.

#pragma once

#include <immintrin.h>

#include "convolution.h"

constexpr int ROWS = 16, LINE = 64;  // of a tile: rows at most, and bytes of a row
constexpr int GROUP = 2, PIXELS = 2 * ROWS;  // vectors of outputs, and pixels, that are made at once, at most

#if defined(INT8)
#define MULTIPLY_ADD _tile_dpbusd
#else
#define MULTIPLY_ADD _tile_dpbf16ps
#endif

// Numbers of tiles, which instructions hold: sums of the first pixels and of the others, inputs of both, weights.
#define TOP_LEFT 0
#define TOP_RIGHT 1
#define BOTTOM_LEFT 2
#define BOTTOM_RIGHT 3
#define TOP 4
#define BOTTOM 5
#define LEFT 6
#define RIGHT 7

struct alignas(64) TileShapes {  // as the instruction reads them
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

// Pixels that are convolved at once, and how: `steps` inputs in a tile, `repeats` of these in a part of the source.
struct Blocks {
    int count, pixels, top, steps, repeats;
};

// Tell the compiler that instructions read or write this memory and other: it does not know that those on tiles do.
static inline void is_used(const void* memory) { asm volatile("" ::"r"(memory) : "memory"); }

static void set_shapes(const Blocks& blocks) {
    TileShapes shapes;
    const auto set = [&](int tile, int rows, int bytes) { shapes.rows[tile] = rows, shapes.bytes[tile] = bytes; };
    const int bottom = blocks.pixels - blocks.top, inputs = blocks.steps * int(sizeof(Input));
    for (int tile : {LEFT, RIGHT}) set(tile, blocks.steps, LINE);
    for (int tile : {TOP_LEFT, TOP_RIGHT}) set(tile, blocks.top, LINE);
    set(TOP, blocks.top, inputs);
    if (bottom) {
        for (int tile : {BOTTOM_LEFT, BOTTOM_RIGHT}) set(tile, bottom, LINE);
        set(BOTTOM, bottom, inputs);
    }
    is_used(&shapes);
    _tile_loadconfig(&shapes);
}

// Sum products for pixels, the first at `x`, and outputs: a tile or two of each.
template <bool HAS_BOTTOM, bool HAS_RIGHT>
static void sum_products(const Blocks& blocks, Source from, const Operand* x, const Weight* weight, long vector,
                         Sum sums[4][ROWS]) {
    const long pixel = from.pixel * sizeof(Operand), lower = blocks.top * from.pixel;
    _tile_zero(TOP_LEFT);
    if (HAS_RIGHT) _tile_zero(TOP_RIGHT);
    if (HAS_BOTTOM) _tile_zero(BOTTOM_LEFT);
    if (HAS_BOTTOM && HAS_RIGHT) _tile_zero(BOTTOM_RIGHT);
    is_used(sums);
    for (int part = 0; part < from.parts; part++, x += from.part)
        for (int k = 0; k < blocks.repeats; k++, weight += blocks.steps * WIDTH * PAIR) {
            const Operand* inputs = x + k * blocks.steps * PAIR;
            _tile_loadd(TOP, inputs, pixel);
            _tile_loadd(LEFT, weight, LINE);
            MULTIPLY_ADD(TOP_LEFT, TOP, LEFT);
            if (HAS_RIGHT) {
                _tile_loadd(RIGHT, weight + vector, LINE);
                MULTIPLY_ADD(TOP_RIGHT, TOP, RIGHT);
            }
            if (HAS_BOTTOM) {
                _tile_loadd(BOTTOM, inputs + lower, pixel);
                MULTIPLY_ADD(BOTTOM_LEFT, BOTTOM, LEFT);
                if (HAS_RIGHT) MULTIPLY_ADD(BOTTOM_RIGHT, BOTTOM, RIGHT);
            }
        }
    _tile_stored(TOP_LEFT, sums[TOP_LEFT], LINE);
    if (HAS_RIGHT) _tile_stored(TOP_RIGHT, sums[TOP_RIGHT], LINE);
    if (HAS_BOTTOM) _tile_stored(BOTTOM_LEFT, sums[BOTTOM_LEFT], LINE);
    if (HAS_BOTTOM && HAS_RIGHT) _tile_stored(BOTTOM_RIGHT, sums[BOTTOM_RIGHT], LINE);
    is_used(sums);
}

// Make outputs of sums: a vector of some pixels.
template <class T>
static void finish_pixels(const Convolution& conv, Target<T> to, const Sum* sums, int pixel, int pixels, int v) {
    const int channels = v + 1 == conv.vectors ? to.last : WIDTH;
    const Sum begin = start<Sum>(conv.bias + v * WIDTH);  // tiles began with zeros
    const Finish<Vector> finish(conv, v * WIDTH);
    for (int p = 0; p < pixels; p++)
        finish.write(to, sums[p] + begin, v * to.vector + (pixel + p) * to.pixel, channels);
}

template <bool HAS_BOTTOM, bool HAS_RIGHT, class T>
static void convolve_vectors(const Convolution& conv, const Blocks& blocks, Source from, Target<T> to, int begin,
                             int v) {
    const long vector = long(from.parts) * blocks.repeats * blocks.steps * WIDTH * PAIR;  // weights of a vector
    const Weight* weight = static_cast<const Weight*>(conv.weight) + v * vector;
    Sum sums[4][ROWS];
    for (int n = 0, pixel = begin; n < blocks.count; n++, pixel += blocks.pixels) {
        sum_products<HAS_BOTTOM, HAS_RIGHT>(blocks, from, from.base + pixel * from.pixel, weight, vector, sums);
        const int middle = pixel + blocks.top, bottom = blocks.pixels - blocks.top;
        finish_pixels(conv, to, sums[TOP_LEFT], pixel, blocks.top, v);
        if (HAS_RIGHT) finish_pixels(conv, to, sums[TOP_RIGHT], pixel, blocks.top, v + 1);
        if (HAS_BOTTOM) finish_pixels(conv, to, sums[BOTTOM_LEFT], middle, bottom, v);
        if (HAS_BOTTOM && HAS_RIGHT) finish_pixels(conv, to, sums[BOTTOM_RIGHT], middle, bottom, v + 1);
    }
}

template <bool HAS_BOTTOM, class T>
static void convolve_blocks(const Convolution& conv, const Blocks& blocks, Source from, Target<T> to, int begin,
                            int first, int last) {
    set_shapes(blocks);
    for (; first + 1 < last; first += GROUP)
        convolve_vectors<HAS_BOTTOM, true>(conv, blocks, from, to, begin, first);
    if (first < last) convolve_vectors<HAS_BOTTOM, false>(conv, blocks, from, to, begin, first);
}

// Return the largest number of equal shares of `steps` that a tile holds each.
static int steps_of_tile(int steps) {
    int most = ROWS;
    while (steps % most) most--;
    return most;
}

static int group_of(int) { return GROUP; }

// Convolve pixels begin to end, for the vectors first to last of the outputs: blocks of two sizes that differ by one.
template <class T>
static void convolve(const Convolution& conv, Source from, Target<T> to, int begin, int end, int first, int last) {
    const int count = (end - begin + PIXELS - 1) / PIXELS;
    const int pixels = (end - begin) / count, longer = (end - begin) % count;
    const int all = (from.values + PAIR - 1) / PAIR, steps = steps_of_tile(all);
    for (auto [some, size] : {std::pair(longer, pixels + 1), std::pair(count - longer, pixels)}) {
        if (!some) continue;
        const Blocks blocks{some, size, size > ROWS ? (size + 1) / 2 : size, steps, all / steps};
        if (size > ROWS) convolve_blocks<true>(conv, blocks, from, to, begin, first, last);
        else convolve_blocks<false>(conv, blocks, from, to, begin, first, last);
        begin += some * size;
    }
}

// Give the tiles back: the system need not save them, and other libraries set shapes of their own.
static void release() { _tile_release(); }
