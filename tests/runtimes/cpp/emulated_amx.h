// The instructions of AMX that the kernels use, in plain C++: a processor without AMX tests the kernels by them.
//
// They do what Intel's manual says (Software Developer's Manual, volume 2: TILELOADD, TDPBF16PS, TDPBUSD and so on), and end the
// process where it says that the processor would fault.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbusd

namespace emulated {

struct Tile {
    int rows = 0, bytes = 0;
    alignas(64) unsigned char data[16][64] = {};
};

static thread_local Tile tiles[8];

[[noreturn]] static void fault(const char* what) {
    std::fprintf(stderr, "AMX: %s\n", what);
    std::abort();
}

static Tile& used(int tile) {
    if (!tiles[tile].rows || !tiles[tile].bytes) fault("a tile without a shape is used");
    return tiles[tile];
}

static float widened(uint16_t half) {
    const uint32_t bits = uint32_t(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static void loadconfig(const void* from) {
    unsigned char config[64];
    std::memcpy(config, from, sizeof config);
    if (config[0] != 1 || config[1] != 0) fault("no palette 1, or a row to start at");
    for (int n = 2; n < 16; n++)
        if (config[n]) fault("reserved bytes are not zero");
    for (int n = 0; n < 16; n++) {
        uint16_t bytes;
        std::memcpy(&bytes, config + 16 + 2 * n, sizeof bytes);
        const int rows = config[48 + n];
        if (n >= 8 && (rows || bytes)) fault("there are eight tiles");
        if (rows > 16 || bytes > 64 || !rows != !bytes) fault("a tile has 16 rows of 64 bytes");
        if (n >= 8) continue;
        tiles[n] = Tile();
        tiles[n].rows = rows, tiles[n].bytes = bytes;
    }
}

static void release() {
    for (Tile& tile : tiles) tile = Tile();
}

static void zero(int tile) { std::memset(used(tile).data, 0, sizeof used(tile).data); }

static void load(int tile, const void* base, long stride) {
    zero(tile);
    Tile& to = used(tile);
    for (int row = 0; row < to.rows; row++)
        std::memcpy(to.data[row], static_cast<const char*>(base) + row * stride, to.bytes);
}

static void store(int tile, void* base, long stride) {
    const Tile& from = used(tile);
    for (int row = 0; row < from.rows; row++)
        std::memcpy(static_cast<char*>(base) + row * stride, from.data[row], from.bytes);
}

// Add to sums, four bytes of a tile each, the products of as many bytes of inputs and of weights.
template <class Sum, class Input, class Weight, class Product>
static void multiply_add(int sums, int inputs, int weights, Product product) {
    constexpr int PAIR = 4 / sizeof(Input);
    Tile &to = used(sums), &left = used(inputs), &right = used(weights);
    if (sums == inputs || sums == weights || inputs == weights) fault("a tile is used twice");
    if (to.rows != left.rows || to.bytes != right.bytes || left.bytes != 4 * right.rows) fault("shapes do not fit");
    if (to.bytes % 4 || left.bytes % 4) fault("a pair is cut");
    for (int row = 0; row < to.rows; row++) {
        Sum sum[16];
        std::memcpy(sum, to.data[row], sizeof sum);
        for (int k = 0; k < right.rows; k++) {
            Input input[PAIR];
            Weight weight[16 * PAIR];
            std::memcpy(input, left.data[row] + 4 * k, sizeof input);
            std::memcpy(weight, right.data[k], sizeof weight);
            for (int n = 0; n < to.bytes / 4; n++)
                for (int i = 0; i < PAIR; i++) sum[n] += product(input[i], weight[PAIR * n + i]);
        }
        std::memcpy(to.data[row], sum, sizeof sum);
    }
}

static void multiply_bfloat16(int sums, int inputs, int weights) {
    const auto product = [](uint16_t input, uint16_t weight) { return widened(input) * widened(weight); };
    multiply_add<float, uint16_t, uint16_t>(sums, inputs, weights, product);
}

static void multiply_int8(int sums, int inputs, int weights) {  // of unsigned inputs and signed weights
    const auto product = [](uint8_t input, int8_t weight) { return int(input) * int(weight); };
    multiply_add<int, uint8_t, int8_t>(sums, inputs, weights, product);
}

}  // namespace emulated

#define _tile_loadconfig emulated::loadconfig
#define _tile_release emulated::release
#define _tile_zero emulated::zero
#define _tile_loadd emulated::load
#define _tile_stored emulated::store
#define _tile_dpbf16ps emulated::multiply_bfloat16
#define _tile_dpbusd emulated::multiply_int8
