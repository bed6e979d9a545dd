// Convolutions, inverted residuals and sums of rows on a CPU. Maps are in memory as (rows, columns, channels), of float32,
// or of bfloat16 where this is compiled with -DBFLOAT16: what is multiplied in dense convolutions is bfloat16 then, by
// AVX512-BF16, two inputs at once. Sums, biases, the map behind the first convolution and depthwise weights are float32.
//
// A block has a dense convolution or none, a depthwise 3x3 or none, and a 1x1 convolution, which may add a map. The map
// behind the first is many times as large as input and output. It is never whole: some rows of it are made, used and
// overwritten in the processor's cache, by vectors of WIDTH channels: (vectors, rows, columns, WIDTH). Dense weights are
// (vectors, inputs / PAIR, WIDTH, PAIR), depthwise ones (vectors, 9, WIDTH).

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(BFLOAT16)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int WIDTH = 16, SUMS = 24;  // floats of a vector; sums of a tile: they fill the registers, beside weights and an input
#elif defined(__AVX__)
constexpr int WIDTH = 8, SUMS = 12;
#elif defined(__aarch64__)
constexpr int WIDTH = 4, SUMS = 24;
#else
constexpr int WIDTH = 4, SUMS = 12;
#endif
constexpr int GROUP = 4, PIXELS = 12;  // vectors and pixels of a tile, at most
constexpr int STRIP = 16;              // columns of a map that are summed in turn
constexpr long CACHE = 96 * 1024;      // floats between the convolutions of a block: less than a core's cache holds

#define UNROLLED _Pragma("GCC unroll 16")  // so that sums stay in registers

typedef float Vector __attribute__((vector_size(WIDTH * sizeof(float))));
typedef float Half __attribute__((vector_size(WIDTH / 2 * sizeof(float))));

template <class V>
constexpr int lanes = sizeof(V) / sizeof(float);

template <class V>
static inline V load(const float* from) {
    V value;
    memcpy(&value, from, sizeof value);
    return value;
}
template <class V>
static inline void store(float* to, V value) { memcpy(to, &value, sizeof value); }

#if defined(BFLOAT16)

typedef uint16_t Value;                 // of a map, and of the weights of dense convolutions
typedef uint32_t Input;                 // what a step of a sum multiplies by its weights
constexpr int PAIR = 2;                 // values of an input
typedef __m512bh Weights;
typedef __m256bh HalfWeights;
typedef __m512i Channels;               // values of a map that are loaded at once: PAIR vectors

static inline Vector multiply_add(Vector sum, Weights weights, Input input) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, weights, (__m512bh)_mm512_set1_epi32(input));
}
static inline Half multiply_add(Half sum, HalfWeights weights, Input input) {
    return (Half)_mm256_dpbf16_ps((__m256)sum, weights, (__m256bh)_mm256_set1_epi32(input));
}
static inline void add_products(Vector sums[PAIR], const Channels rows[PAIR], Input input) {
    sums[0] = multiply_add(sums[0], (Weights)_mm512_unpacklo_epi16(rows[0], rows[1]), input);
    sums[1] = multiply_add(sums[1], (Weights)_mm512_unpackhi_epi16(rows[0], rows[1]), input);
}
static inline Channels rounded(const Vector sums[PAIR]) {  // undoes the order in which the rows were unpacked
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)sums[1], (__m512)sums[0]);
    return _mm512_permutexvar_epi64(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), halves);
}
static inline __m256bh rounded(Vector value) { return _mm512_cvtneps_pbh((__m512)value); }
static inline __m128bh rounded(Half value) { return _mm256_cvtneps_pbh((__m256)value); }

template <class V>
static inline V load(const Value* from);  // a bfloat16 is the upper half of a float32
template <>
inline Vector load<Vector>(const Value* from) {
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
}
template <>
inline Half load<Half>(const Value* from) {
    return (Half)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from)), 16);
}
template <class V>
static inline void store(Value* to, V value) {
    const auto values = rounded(value);
    memcpy(to, &values, sizeof values);
}

#else

typedef float Value, Input;
constexpr int PAIR = 1;
typedef Vector Weights;
typedef Half HalfWeights;
typedef Vector Channels;

template <class V>
static inline V multiply_add(V sum, V weights, Input input) { return sum + weights * input; }
static inline void add_products(Vector sums[PAIR], const Channels rows[PAIR], Input input) {
    sums[0] = multiply_add(sums[0], rows[0], input);
}
static inline Channels rounded(const Vector sums[PAIR]) { return sums[0]; }

#endif

template <class V>
static V load_some(const Value* from, int count) {  // the others are zeros
    Value values[lanes<V>] = {};
    memcpy(values, from, count * sizeof(Value));
    return load<V>(values);
}
template <class T, class V>
static void store_some(T* to, V value, int count) {
    T values[lanes<V>];
    store(values, value);
    memcpy(to, values, count * sizeof(T));
}

template <class V>
static inline V load_up_to(const Value* from, int count) {
    return count >= lanes<V> ? load<V>(from) : load_some<V>(from, count);
}
template <class T, class V>
static inline void store_up_to(T* to, V value, int count) {
    if (count >= lanes<V>) store(to, value);
    else store_some(to, value, count);
}

template <class V>
static inline V clamp(V value, float low, float high) {  // a NaN stays one
    const V least = low - V{}, most = high - V{};
    value = value < least ? least : value;
    return value > most ? most : value;
}

struct Map {
    int rows, columns, channels;
    long row() const { return long(columns) * channels; }
    long size() const { return rows * row(); }
};

struct Convolution {
    const void* weight;
    const float* bias;
    float low, high;                 // of the activation
    int vectors;                     // of its outputs; 0 where there is no such convolution
    int kernel, stride, top, left;   // top and left: rows and columns of zeros before the map
};

struct Block {
    Map input, middle, output;  // middle: what the depthwise convolution reads
    Convolution dense, depthwise, project;
    int images;
};

struct Maps {  // of an image: what it reads, what is added to its output or null, and where that goes
    const Value *input, *added;
    Value* output;
};

// Value k of part b for pixel p is at base[b * part + p * pixel + k]. Where a part does not fill its last input, what is
// behind it in memory is multiplied by zero: it must be there.
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

// Convolve M pixels, for V vectors of the outputs: of the last one only half, where HALF.
template <int M, int V, bool HALF, class T>
static void tile(const Convolution& conv, Source from, Target<T> to, int pixel, int first) {
    constexpr int WHOLE = HALF ? V - 1 : V;
    Vector sum[M][V];
    Half half[M];
    const int last = first + V == conv.vectors ? to.last : WIDTH;  // channels of the last vector
    const long begin = first * to.vector + pixel * to.pixel, end = begin + (V - 1) * to.vector;
    const auto channels = [=](int v) { return v == V - 1 ? last : WIDTH; };
    const float* bias = conv.bias + first * WIDTH;
    UNROLLED for (int m = 0; m < M; m++) {
        UNROLLED for (int v = 0; v < WHOLE; v++) sum[m][v] = load<Vector>(bias + v * WIDTH);
        half[m] = load<Half>(bias + (V - 1) * WIDTH);
    }
    if (to.added) UNROLLED for (int m = 0; m < M; m++) {
            const Value* at = to.added + m * to.pixel;
            UNROLLED for (int v = 0; v < WHOLE; v++)
                sum[m][v] += load_up_to<Vector>(at + begin + v * to.vector, channels(v));
            if (HALF) half[m] += load_up_to<Half>(at + end, last);
        }
    const int steps = (from.values + PAIR - 1) / PAIR;
    const long vector = long(from.parts) * steps * WIDTH * PAIR;  // weights of a vector
    const Value *weight = static_cast<const Value*>(conv.weight) + first * vector, *x = from.base + pixel * from.pixel;
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
    const float low = conv.low, high = conv.high;
    UNROLLED for (int m = 0; m < M; m++) {
        T* at = to.base + m * to.pixel;
        UNROLLED for (int v = 0; v < WHOLE; v++)
            store_up_to(at + begin + v * to.vector, clamp(sum[m][v], low, high), channels(v));
        if (HALF) store_up_to(at + end, clamp(half[m], low, high), last);
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

template <int M, int S>
static void depthwise_tile(const Convolution& conv, const float* const rows[3], Value* to, int column, int vector) {
    Vector sum[M];
    const float* weight = static_cast<const float*>(conv.weight) + vector * 9 * WIDTH;
    UNROLLED for (int m = 0; m < M; m++) sum[m] = load<Vector>(conv.bias + vector * WIDTH);
    UNROLLED for (int ky = 0; ky < 3; ky++) {
        Vector w[3];
        UNROLLED for (int kx = 0; kx < 3; kx++) w[kx] = load<Vector>(weight + (ky * 3 + kx) * WIDTH);
        UNROLLED for (int c = 0; c < (M - 1) * S + 3; c++) {
            const Vector x = load<Vector>(rows[ky] + (column * S + c) * WIDTH);
            UNROLLED for (int m = 0; m < M; m++)
                if (c - m * S >= 0 && c - m * S < 3) sum[m] += w[c - m * S] * x;
        }
    }
    UNROLLED for (int m = 0; m < M; m++)
        store(to + (column + m) * WIDTH, clamp(sum[m], conv.low, conv.high));
}

template <int M, int S>
static void depthwise_tile_of(int n, const Convolution& conv, const float* const rows[3], Value* to, int at, int v) {
    if (n == M) depthwise_tile<M, S>(conv, rows, to, at, v);
    else if constexpr (M > 1) depthwise_tile_of<M - 1, S>(n, conv, rows, to, at, v);
}

template <int S>
static void depthwise_row(const Convolution& conv, const float* const rows[3], Value* to, int columns, int vector) {
    constexpr int most = S == 1 ? 8 : 6;
    for (int t = 0, count = (columns + most - 1) / most; t < count; t++) {
        const int start = columns * t / count;
        depthwise_tile_of<most, S>(columns * (t + 1) / count - start, conv, rows, to, start, vector);
    }
}

// How a block is computed: `group` rows of the output at a time, from a ring of `slots` rows of the middle map.
struct Plan {
    bool shared;  // threads share all rows, and take some of the vectors each; else each takes bands of its own
    int bands;    // parts of an image's rows, or where it has one, of its pixels
    int group, slots, columns;  // columns: of a row in the ring, with zeros around
    int hidden, vectors;        // of the middle map; those made at a time
    long plane, part;           // floats of a vector in the ring, values of one behind the depthwise convolution
    long copied, expanded, projected;  // floats of scratch: the input's padded rows, the ring, and all before the 1x1
};

// Return the floats that so many values take, as whole vectors: one in two lines of the cache takes twice the time.
static long floats_of(long values) {
    const long floats = (values * long(sizeof(Value)) + long(sizeof(float)) - 1) / long(sizeof(float));
    return (floats + WIDTH - 1) / WIDTH * WIDTH;
}

// Return whether rows of a map are copied for a convolution: where it reads several, or pixels do not fill their inputs.
static bool copies(const Convolution& conv, const Map& map) { return conv.kernel > 1 || map.channels % PAIR; }

static long padded_row(const Convolution& conv, const Map& map) {
    return long(conv.left + map.columns + conv.kernel) * map.channels;
}

// Return whether threads take pixels of a row, as Python makes one of a map for a 1x1 convolution alone.
static bool by_pixel(const Block& b) { return b.output.rows == 1 && !b.depthwise.vectors; }

static Plan plan_of(const Block& b, int threads) {
    const auto [rows, columns, channels] = b.output;
    const Convolution &dense = b.depthwise.vectors ? b.dense : b.project, &depthwise = b.depthwise;
    Plan plan{};
    plan.shared = threads > 1 && rows < 16 * threads && rows * columns < 4096;
    plan.bands = plan.shared || threads == 1 ? 1 : threads * std::clamp(rows / (32 * threads), 1, 4);
    if (dense.vectors && copies(dense, b.input)) plan.copied = floats_of(dense.kernel * padded_row(dense, b.input));
    plan.hidden = depthwise.vectors;
    if (by_pixel(b)) {
        plan.shared = threads > 1 && columns < 32 * threads;
        const long pixels = std::clamp(CACHE / b.input.channels, 24L, columns / threads + 1L);
        plan.bands = plan.shared ? 1 : int((columns + pixels - 1) / pixels);
    }
    if (!plan.hidden) return plan;
    plan.vectors = group_of(b.middle.columns);
    plan.columns = std::max(depthwise.left + b.middle.columns, (columns - 1) * depthwise.stride + 3);
    const long row = long(plan.hidden) * WIDTH * (plan.columns * depthwise.stride + columns);
    const long band = (rows + plan.bands - 1) / plan.bands;
    plan.group = plan.shared ? rows : int(std::clamp(CACHE / row - 2 / depthwise.stride, 1L, band));
    plan.slots = (plan.group - 1) * depthwise.stride + 3;
    plan.plane = long(plan.slots) * plan.columns * WIDTH;
    plan.part = long(plan.group) * columns * WIDTH;
    plan.expanded = plan.plane * (plan.shared ? std::min(plan.vectors, plan.hidden) : plan.hidden);
    plan.projected = floats_of(plan.part * plan.hidden);
    return plan;
}

// Return what a dense convolution reads for a row of its output: the map itself, or a padded copy of some rows.
static Source window(const Convolution& conv, const Map& map, const Value* x, int row, Value* copy) {
    const long pixel = long(conv.stride) * map.channels, line = map.row();
    if (!copies(conv, map)) return {x + row * conv.stride * line, 0, pixel, 1, map.channels};
    const long padded = padded_row(conv, map), left = conv.left * map.channels;
    for (int k = 0; k < conv.kernel; k++) {
        Value* at = copy + k * padded;
        const int from = row * conv.stride - conv.top + k;
        const bool inside = from >= 0 && from < map.rows;
        std::fill(at, at + (inside ? left : padded), Value(0));
        if (!inside) continue;
        memcpy(at + left, x + from * line, line * sizeof(Value));
        std::fill(at + left + line, at + padded, Value(0));
    }
    return {copy, padded, pixel, conv.kernel, conv.kernel * map.channels};
}

// Make a row of the middle map, for the vectors first to last: rows and columns beyond the map are zeros.
static void expand_row(const Block& b, const Plan& plan, const Value* x, int row, int first, int last, Value* copy,
                       float* to) {
    const int left = b.depthwise.left, columns = b.middle.columns, channels = b.middle.channels;
    const bool inside = row >= 0 && row < b.middle.rows;
    float* slot = to + long((row + b.depthwise.top) % plan.slots) * plan.columns * WIDTH;
    for (int v = first; v < last; v++) {
        float* at = slot + (v - first) * plan.plane;
        std::fill(at, at + (inside ? left : plan.columns) * WIDTH, 0.0f);
        if (inside) std::fill(at + (left + columns) * WIDTH, at + plan.columns * WIDTH, 0.0f);
    }
    if (!inside) return;
    if (b.dense.vectors) {
        const Target<float> target{slot + left * WIDTH - first * plan.plane, plan.plane, WIDTH, nullptr, WIDTH};
        convolve(b.dense, window(b.dense, b.input, x, row, copy), target, 0, columns, first, last);
        return;
    }
    for (int v = first; v < last; v++)
        for (int p = 0; p < columns; p++) {
            const Value* from = x + row * b.middle.row() + long(p) * channels + v * WIDTH;
            const Vector value = load_up_to<Vector>(from, channels - v * WIDTH);
            store(slot + (v - first) * plan.plane + (left + p) * WIDTH, value);
        }
}

// Make the rows of the middle map from `missing` on that rows of the output need, and convolve them depthwise.
static void hidden_rows(const Block& b, const Plan& plan, const Value* x, int begin, int end, int missing, int first,
                        int last, Value* copy, float* expanded, Value* to) {
    const Convolution& conv = b.depthwise;
    for (int row = missing; row < (end - 1) * conv.stride - conv.top + 3; row++)
        expand_row(b, plan, x, row, first, last, copy, expanded);
    for (int v = first; v < last; v++)
        for (int row = begin; row < end; row++) {
            const float* rows[3];
            for (int k = 0; k < 3; k++)
                rows[k] = expanded + (v - first) * plan.plane
                    + long((row * conv.stride + k) % plan.slots) * plan.columns * WIDTH;
            Value* at = to + v * plan.part + long(row - begin) * b.output.columns * WIDTH;
            if (conv.stride == 1) depthwise_row<1>(conv, rows, at, b.output.columns, v);
            else depthwise_row<2>(conv, rows, at, b.output.columns, v);
        }
}

static Target<Value> output(const Block& b, const Maps& maps, int row) {
    const long at = row * b.output.row();
    const int last = b.output.channels - (b.project.vectors - 1) * WIDTH;
    return {maps.output + at, WIDTH, b.output.channels, maps.added ? maps.added + at : nullptr, last};
}

static Source hidden(const Plan& plan, const Value* from) { return {from, plan.part, WIDTH, plan.hidden, WIDTH}; }

// Compute a band of the output, by one thread: rows or pixels begin to end.
static void band(const Block& b, const Plan& plan, const Maps& maps, int begin, int end, float* scratch) {
    const int vectors = b.project.vectors, columns = b.output.columns;
    Value* copy = reinterpret_cast<Value*>(scratch);
    if (by_pixel(b)) {
        const Source source = window(b.project, b.input, maps.input, 0, copy);
        convolve(b.project, source, output(b, maps, 0), begin, end, 0, vectors);
        return;
    }
    if (!plan.hidden) {
        for (int row = begin; row < end; row++) {
            const Source source = window(b.project, b.input, maps.input, row, copy);
            convolve(b.project, source, output(b, maps, row), 0, columns, 0, vectors);
        }
        return;
    }
    float* expanded = scratch + plan.copied;
    Value* projected = reinterpret_cast<Value*>(expanded + plan.expanded);
    const int stride = b.depthwise.stride, top = b.depthwise.top;
    int missing = begin * stride - top;
    for (int row = begin; row < end; row += plan.group) {
        const int stop = std::min(row + plan.group, end), from = std::max(missing, row * stride - top);
        for (int v = 0; v < plan.hidden; v += plan.vectors) {
            const int last = std::min(v + plan.vectors, plan.hidden);
            hidden_rows(b, plan, maps.input, row, stop, from, v, last, copy, expanded + v * plan.plane, projected);
        }
        missing = (stop - 1) * stride - top + 3;
        convolve(b.project, hidden(plan, projected), output(b, maps, row), 0, (stop - row) * columns, 0, vectors);
    }
}

// Compute an image by all threads: each some vectors of the middle map, then some pixels or vectors of the output.
static void together(const Block& b, const Plan& plan, const Maps& maps, float* own, Value* projected) {
    Value* copy = reinterpret_cast<Value*>(own);
    const int me = omp_get_thread_num(), team = omp_get_num_threads(), vectors = b.project.vectors;
    const auto mine = [&](int total) { return std::pair(total * me / team, total * (me + 1) / team); };
    if (!plan.hidden) {
        const auto [first, last] = mine(vectors);
        for (int row = 0; row < b.output.rows; row++) {
            const Source source = window(b.project, b.input, maps.input, row, copy);
            convolve(b.project, source, output(b, maps, row), 0, b.output.columns, first, last);
        }
        return;
    }
    const auto [begin, end] = mine(plan.hidden);
    for (int v = begin; v < end; v += plan.vectors)
        hidden_rows(b, plan, maps.input, 0, b.output.rows, -b.depthwise.top, v, std::min(v + plan.vectors, end), copy,
                    own + plan.copied, projected);
#pragma omp barrier
    const int pixels = b.output.rows * b.output.columns;
    const bool by_pixel = pixels >= 48 * team;
    const auto [from, to] = by_pixel ? mine(pixels) : std::pair(0, pixels);
    const auto [first, last] = by_pixel ? std::pair(0, vectors) : mine(vectors);
    convolve(b.project, hidden(plan, projected), output(b, maps, 0), from, to, first, last);
#pragma omp barrier
}

extern "C" int mnfpn_width() { return WIDTH; }
extern "C" int mnfpn_pair() { return PAIR; }

// Return the floats of scratch space that a block needs.
extern "C" long mnfpn_scratch(const Block* block, int threads) {
    const Plan plan = plan_of(*block, threads);
    return threads * (plan.copied + plan.expanded) + (plan.shared ? 1 : threads) * plan.projected;
}

// Compute a block; `added` is null, or a map like the output, which may be the output.
extern "C" void mnfpn_run(const Block* block, const Value* x, const Value* added, Value* y, float* scratch,
                          int threads) {
    const Block& b = *block;
    const Plan plan = plan_of(b, threads);
    const auto image = [&](long n) {
        return Maps{x + n * b.input.size(), added ? added + n * b.output.size() : nullptr, y + n * b.output.size()};
    };
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num();
        if (plan.shared) {
            float* own = scratch + plan.projected + me * (plan.copied + plan.expanded);
            for (int n = 0; n < b.images; n++)
                together(b, plan, image(n), own, reinterpret_cast<Value*>(scratch));
        } else {
            float* own = scratch + me * (plan.copied + plan.expanded + plan.projected);
#pragma omp for schedule(dynamic)
            for (int n = 0; n < b.images * plan.bands; n++) {
                const long part = n % plan.bands, length = by_pixel(b) ? b.output.columns : b.output.rows;
                band(b, plan, image(n / plan.bands), int(length * part / plan.bands),
                     int(length * (part + 1) / plan.bands), own);
            }
        }
    }
}

// Add some terms to sums of one load of channels: a term for each value of an input.
template <class Load>
static inline void add_terms(Vector sums[PAIR], const int* index, const Value* weight, int channels, Load load) {
    Channels rows[PAIR];
    UNROLLED for (int k = 0; k < PAIR; k++) rows[k] = load(long(index[k]) * channels);
    Input input;
    memcpy(&input, weight, sizeof input);
    add_products(sums, rows, input);
}

// Sum channels of a pixel, N loads of them at once; return the first channel that is left.
template <int N>
static int sum_channels(const int* index, const Value* weight, const Value* rows, Value* to, int terms, int channels,
                        int c) {
    constexpr int LOAD = WIDTH * PAIR;
    for (; c + N * LOAD <= channels; c += N * LOAD) {
        Vector sums[N][PAIR] = {};
        for (int k = 0; k < terms; k += PAIR)
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

// A pixel becomes the sum of weight[k] * rows[index[k]], for all terms k, which fill whole inputs.
static void sum_pixel(const int* index, const Value* weight, const Value* rows, Value* to, int terms, int channels) {
    constexpr int MOST = (WIDTH == 16 ? 16 : 8) / PAIR;  // loads of which the sums stay in registers
    int c = sum_channels<MOST>(index, weight, rows, to, terms, channels, 0);
    c = sum_channels<1>(index, weight, rows, to, terms, channels, c);
    if (c == channels) return;
    const size_t left = (channels - c) * sizeof(Value);
    Vector sums[PAIR] = {};
    for (int k = 0; k < terms; k += PAIR)
        add_terms(sums, index + k, weight + k, channels, [=](long at) {
            Channels row{};
            memcpy(&row, rows + at + c, left);
            return row;
        });
    const Channels sum = rounded(sums);
    memcpy(to + c, &sum, left);
}

// Sum the pixels of a map by strips of some columns: the rows that a strip and the next of its pixels read stay in cache.
extern "C" void mnfpn_sum(const int* indices, const Value* weights, const Value* rows, Value* y, int height, int width,
                          int terms, int channels, int threads) {
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int strip = 0; strip < width; strip += STRIP)
        for (int row = 0; row < height; row++)
            for (long p = long(row) * width + strip, end = long(row) * width + std::min(strip + STRIP, width); p < end; p++)
                sum_pixel(indices + p * terms, weights + p * terms, rows, y + p * channels, terms, channels);
}
