// Convolutions, inverted residuals and sums of rows on a CPU. Maps are float32, in memory as (rows, columns, channels).
//
// A block has a dense convolution or none, a depthwise 3x3 or none, and a 1x1 convolution, which may add the input. The
// map behind the first is many times as large as input and output. It is never whole: some rows of it are made, used and
// overwritten in the processor's cache, by vectors of WIDTH channels: (vectors, rows, columns, WIDTH). Weights are
// (vectors, inputs, WIDTH).

#include <omp.h>

#include <algorithm>
#include <cstring>

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
constexpr long CACHE = 96 * 1024;      // floats between the convolutions of a block: less than a core's cache holds

#define UNROLLED _Pragma("GCC unroll 16")  // so that sums stay in registers

typedef float Vector __attribute__((vector_size(WIDTH * sizeof(float))));
typedef float Half __attribute__((vector_size(WIDTH / 2 * sizeof(float))));

template <class V>
static inline V load(const float* from) {
    V value;
    memcpy(&value, from, sizeof value);
    return value;
}
template <class V>
static inline void store(float* to, V value) { memcpy(to, &value, sizeof value); }
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
    const float *weight, *bias;
    float low, high;                 // of the activation
    int vectors;                     // of its outputs; 0 where there is no such convolution
    int kernel, stride, top, left;   // top and left: rows and columns of zeros before the map
};

struct Block {
    Map input, middle, output;  // middle: what the depthwise convolution reads
    Convolution dense, depthwise, project;
    int images, residual;
};

struct Source {  // value k of part b for pixel p is at base[b * part + p * pixel + k]
    const float* base;
    long part, pixel;
    int parts, values;
};

struct Target {  // vector v of pixel p is at base[v * vector + p * pixel]; the last vector of all has so many floats
    float* base;
    long vector, pixel;
    const float* added;
    int floats;
};

template <class V>
static inline void store_all(Target to, long place, V value, const Convolution& conv) {
    if (to.added) value += load<V>(to.added + place);
    store(to.base + place, clamp(value, conv.low, conv.high));
}

// Store the first floats of a vector: those of the last one of a pixel may be fewer than it holds.
template <class V>
static void store_some(Target to, long place, V value, const Convolution& conv, int floats) {
    V added{};
    if (to.added) memcpy(&added, to.added + place, floats * sizeof(float));
    value = clamp(value + added, conv.low, conv.high);
    memcpy(to.base + place, &value, floats * sizeof(float));
}

// Convolve M pixels, for V vectors of the outputs: of the last one only half, where HALF.
template <int M, int V, bool HALF>
static void tile(const Convolution& conv, Source from, Target to, int pixel, int first) {
    constexpr int WHOLE = HALF ? V - 1 : V;
    Vector sum[M][V];
    Half half[M];
    const long inputs = long(from.parts) * from.values;
    const float *weight = conv.weight + first * inputs * WIDTH, *bias = conv.bias + first * WIDTH;
    UNROLLED for (int m = 0; m < M; m++) {
        UNROLLED for (int v = 0; v < WHOLE; v++) sum[m][v] = load<Vector>(bias + v * WIDTH);
        half[m] = load<Half>(bias + (V - 1) * WIDTH);
    }
    const float* x = from.base + pixel * from.pixel;
    for (int part = 0; part < from.parts; part++, x += from.part)
        for (int k = 0; k < from.values; k++, weight += WIDTH) {
            Vector w[V];
            UNROLLED for (int v = 0; v < WHOLE; v++) w[v] = load<Vector>(weight + v * inputs * WIDTH);
            const Half h = HALF ? load<Half>(weight + (V - 1) * inputs * WIDTH) : Half{};
            UNROLLED for (int m = 0; m < M; m++) {
                const float value = x[m * from.pixel + k];
                UNROLLED for (int v = 0; v < WHOLE; v++) sum[m][v] += w[v] * value;
                if (HALF) half[m] += h * value;
            }
        }
    const bool narrow = !HALF && first + V == conv.vectors && to.floats < WIDTH;
    UNROLLED for (int m = 0; m < M; m++) {
        const long at = first * to.vector + (pixel + m) * to.pixel, end = at + (V - 1) * to.vector;
        UNROLLED for (int v = 0; v < WHOLE; v++) {
            const long place = at + v * to.vector;
            if (v == V - 1 && narrow) store_some(to, place, sum[m][v], conv, to.floats);
            else store_all(to, place, sum[m][v], conv);
        }
        if (HALF && to.floats == WIDTH / 2) store_all(to, end, half[m], conv);
        else if (HALF) store_some(to, end, half[m], conv, to.floats);
    }
}

template <int M, int V, bool HALF>
static void tile_of(int pixels, const Convolution& conv, Source from, Target to, int pixel, int first) {
    if (pixels == M) tile<M, V, HALF>(conv, from, to, pixel, first);
    else if constexpr (M > 1) tile_of<M - 1, V, HALF>(pixels, conv, from, to, pixel, first);
}

template <int V, bool HALF>
static void tiles_of(const Convolution& conv, Source from, Target to, int begin, int end, int first) {
    constexpr int most = std::min(PIXELS, SUMS / V);
    const int pixels = end - begin, count = (pixels + most - 1) / most;
    for (int t = 0; t < count; t++) {
        const int start = pixels * t / count;
        tile_of<most, V, HALF>(pixels * (t + 1) / count - start, conv, from, to, begin + start, first);
    }
}

template <int V>
static void tiles(const Convolution& conv, Source from, Target to, int begin, int end, int first) {
    if (first + V == conv.vectors && to.floats <= WIDTH / 2) tiles_of<V, true>(conv, from, to, begin, end, first);
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
static void convolve(const Convolution& conv, Source from, Target to, int begin, int end, int first, int last) {
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
static void depthwise_tile(const Convolution& conv, const float* const rows[3], float* to, int column, int vector) {
    Vector sum[M];
    UNROLLED for (int m = 0; m < M; m++) sum[m] = load<Vector>(conv.bias + vector * WIDTH);
    UNROLLED for (int ky = 0; ky < 3; ky++) {
        Vector w[3];
        UNROLLED for (int kx = 0; kx < 3; kx++) w[kx] = load<Vector>(conv.weight + (vector * 9 + ky * 3 + kx) * WIDTH);
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
static void depthwise_tile_of(int n, const Convolution& conv, const float* const rows[3], float* to, int at, int v) {
    if (n == M) depthwise_tile<M, S>(conv, rows, to, at, v);
    else if constexpr (M > 1) depthwise_tile_of<M - 1, S>(n, conv, rows, to, at, v);
}

template <int S>
static void depthwise_row(const Convolution& conv, const float* const rows[3], float* to, int columns, int vector) {
    constexpr int most = S == 1 ? 8 : 6;
    for (int t = 0, count = (columns + most - 1) / most; t < count; t++) {
        const int start = columns * t / count;
        depthwise_tile_of<most, S>(columns * (t + 1) / count - start, conv, rows, to, start, vector);
    }
}

// How a block is computed: `group` rows of the output at a time, from a ring of `slots` rows of the middle map.
struct Plan {
    bool shared;  // threads share all rows, and take some of the vectors each; else each takes rows of its own
    int bands;    // parts of an image's rows
    int group, slots, columns;  // columns: of a row in the ring, with zeros around
    int hidden, vectors;        // of the middle map; those made at a time
    long plane, part;           // floats of a vector in the ring, and of one behind the depthwise convolution
    long copied, expanded, projected;  // floats of the input's padded rows, of the ring, and of all before the 1x1
};

// Round up to whole vectors: one that is in two lines of the cache takes twice the time.
static long aligned(long floats) { return (floats + WIDTH - 1) / WIDTH * WIDTH; }

static Plan plan_of(const Block& b, int threads) {
    const auto [rows, columns, channels] = b.output;
    const Convolution &dense = b.depthwise.vectors ? b.dense : b.project, &depthwise = b.depthwise;
    Plan plan{};
    plan.shared = threads > 1 && rows < 16 * threads && rows * columns < 4096;
    plan.bands = plan.shared || threads == 1 ? 1 : threads * std::clamp(rows / (32 * threads), 1, 4);
    if (dense.vectors && dense.kernel > 1)
        plan.copied = aligned(long(dense.kernel) * (dense.left + b.input.columns + dense.kernel) * b.input.channels);
    plan.hidden = depthwise.vectors;
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
    plan.projected = plan.part * plan.hidden;
    return plan;
}

// Return what a dense convolution reads for a row of its output: a padded copy where it reads several rows.
static Source window(const Convolution& conv, const Map& map, const float* x, int row, float* copy) {
    const long pixel = long(conv.stride) * map.channels, line = map.row();
    if (conv.kernel == 1) return {x + row * conv.stride * line, 0, pixel, 1, map.channels};
    const long padded = long(conv.left + map.columns + conv.kernel) * map.channels, left = conv.left * map.channels;
    for (int k = 0; k < conv.kernel; k++) {
        float* at = copy + k * padded;
        const int from = row * conv.stride - conv.top + k;
        const bool inside = from >= 0 && from < map.rows;
        std::fill(at, at + (inside ? left : padded), 0.0f);
        if (!inside) continue;
        memcpy(at + left, x + from * line, line * sizeof(float));
        std::fill(at + left + line, at + padded, 0.0f);
    }
    return {copy, padded, pixel, conv.kernel, conv.kernel * map.channels};
}

// Make a row of the middle map, for the vectors first to last: rows and columns beyond the map are zeros.
static void expand_row(const Block& b, const Plan& plan, const float* x, int row, int first, int last, float* copy,
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
        const Target target{slot + left * WIDTH - first * plan.plane, plan.plane, WIDTH, nullptr, WIDTH};
        convolve(b.dense, window(b.dense, b.input, x, row, copy), target, 0, columns, first, last);
        return;
    }
    for (int v = first; v < last; v++)
        for (int p = 0; p < columns; p++) {
            const float* from = x + row * b.middle.row() + long(p) * channels + v * WIDTH;
            Vector value{};
            memcpy(&value, from, std::min(WIDTH, channels - v * WIDTH) * sizeof(float));
            store(slot + (v - first) * plan.plane + (left + p) * WIDTH, value);
        }
}

// Make the rows of the middle map from `missing` on that rows of the output need, and convolve them depthwise.
static void hidden_rows(const Block& b, const Plan& plan, const float* x, int begin, int end, int missing, int first,
                        int last, float* copy, float* expanded, float* to) {
    const Convolution& conv = b.depthwise;
    for (int row = missing; row < (end - 1) * conv.stride - conv.top + 3; row++)
        expand_row(b, plan, x, row, first, last, copy, expanded);
    for (int v = first; v < last; v++)
        for (int row = begin; row < end; row++) {
            const float* rows[3];
            for (int k = 0; k < 3; k++)
                rows[k] = expanded + (v - first) * plan.plane
                    + long((row * conv.stride + k) % plan.slots) * plan.columns * WIDTH;
            float* at = to + v * plan.part + long(row - begin) * b.output.columns * WIDTH;
            if (conv.stride == 1) depthwise_row<1>(conv, rows, at, b.output.columns, v);
            else depthwise_row<2>(conv, rows, at, b.output.columns, v);
        }
}

static Target output(const Block& b, const float* x, float* y, int row) {
    const long at = row * b.output.row();
    const int floats = b.output.channels - (b.project.vectors - 1) * WIDTH;
    return {y + at, WIDTH, b.output.channels, b.residual ? x + at : nullptr, floats};
}

static Source hidden(const Plan& plan, const float* from) { return {from, plan.part, WIDTH, plan.hidden, WIDTH}; }

// Compute rows of the output, by one thread.
static void band(const Block& b, const Plan& plan, const float* x, float* y, int begin, int end, float* copy) {
    const int vectors = b.project.vectors, columns = b.output.columns;
    if (!plan.hidden) {
        for (int row = begin; row < end; row++) {
            const Source source = window(b.project, b.input, x, row, copy);
            convolve(b.project, source, output(b, x, y, row), 0, columns, 0, vectors);
        }
        return;
    }
    float *expanded = copy + plan.copied, *projected = expanded + plan.expanded;
    const int stride = b.depthwise.stride, top = b.depthwise.top;
    int missing = begin * stride - top;
    for (int row = begin; row < end; row += plan.group) {
        const int stop = std::min(row + plan.group, end), from = std::max(missing, row * stride - top);
        for (int v = 0; v < plan.hidden; v += plan.vectors) {
            const int last = std::min(v + plan.vectors, plan.hidden);
            hidden_rows(b, plan, x, row, stop, from, v, last, copy, expanded + v * plan.plane, projected);
        }
        missing = (stop - 1) * stride - top + 3;
        convolve(b.project, hidden(plan, projected), output(b, x, y, row), 0, (stop - row) * columns, 0, vectors);
    }
}

// Compute an image by all threads: each some vectors of the middle map, then some pixels or vectors of the output.
static void together(const Block& b, const Plan& plan, const float* x, float* y, float* copy, float* projected) {
    const int me = omp_get_thread_num(), team = omp_get_num_threads(), vectors = b.project.vectors;
    const auto mine = [&](int total) { return std::pair(total * me / team, total * (me + 1) / team); };
    if (!plan.hidden) {
        const auto [first, last] = mine(vectors);
        for (int row = 0; row < b.output.rows; row++) {
            const Source source = window(b.project, b.input, x, row, copy);
            convolve(b.project, source, output(b, x, y, row), 0, b.output.columns, first, last);
        }
        return;
    }
    const auto [begin, end] = mine(plan.hidden);
    for (int v = begin; v < end; v += plan.vectors)
        hidden_rows(b, plan, x, 0, b.output.rows, -b.depthwise.top, v, std::min(v + plan.vectors, end), copy,
                    copy + plan.copied, projected);
#pragma omp barrier
    const int pixels = b.output.rows * b.output.columns;
    const bool by_pixel = pixels >= 48 * team;
    const auto [from, to] = by_pixel ? mine(pixels) : std::pair(0, pixels);
    const auto [first, last] = by_pixel ? std::pair(0, vectors) : mine(vectors);
    convolve(b.project, hidden(plan, projected), output(b, x, y, 0), from, to, first, last);
#pragma omp barrier
}

extern "C" int mnfpn_width() { return WIDTH; }

// Return the floats of scratch space that a block needs.
extern "C" long mnfpn_scratch(const Block* block, int threads) {
    const Plan plan = plan_of(*block, threads);
    return threads * (plan.copied + plan.expanded) + (plan.shared ? 1 : threads) * plan.projected;
}

extern "C" void mnfpn_run(const Block* block, const float* x, float* y, float* scratch, int threads) {
    const Block& b = *block;
    const Plan plan = plan_of(b, threads);
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num();
        if (plan.shared) {
            float* own = scratch + plan.projected + me * (plan.copied + plan.expanded);
            for (int n = 0; n < b.images; n++)
                together(b, plan, x + n * b.input.size(), y + n * b.output.size(), own, scratch);
        } else {
            float* own = scratch + me * (plan.copied + plan.expanded + plan.projected);
#pragma omp for schedule(dynamic)
            for (int n = 0; n < b.images * plan.bands; n++) {
                const int image = n / plan.bands, part = n % plan.bands, rows = b.output.rows;
                band(b, plan, x + image * b.input.size(), y + image * b.output.size(), rows * part / plan.bands,
                     rows * (part + 1) / plan.bands, own);
            }
        }
    }
}

// Channels of one sum, as many vectors as N says at once; return the first channel that is left.
template <int N>
static int sum_vectors(const int* index, const float* weight, const float* rows, float* to, int terms, int channels,
                       int c) {
    for (; c + N * WIDTH <= channels; c += N * WIDTH) {
        Vector sums[N] = {};
        for (int k = 0; k < terms; k++) {
            const float* row = rows + long(index[k]) * channels + c;
            UNROLLED
            for (int v = 0; v < N; v++) sums[v] += weight[k] * load<Vector>(row + v * WIDTH);
        }
        UNROLLED
        for (int v = 0; v < N; v++) store(to + c + v * WIDTH, sums[v]);
    }
    return c;
}

// Row p of y becomes the sum of weights[p][k] * rows[indices[p][k]], for all terms k.
extern "C" void mnfpn_sum(const int* indices, const float* weights, const float* rows, float* y, long pixels, int terms,
                          int channels, int threads) {
    constexpr int MOST = WIDTH == 16 ? 16 : 8;  // sums that stay in registers
#pragma omp parallel for num_threads(threads)
    for (long p = 0; p < pixels; p++) {
        const int* index = indices + p * terms;
        const float* weight = weights + p * terms;
        float* to = y + p * channels;
        int c = sum_vectors<MOST>(index, weight, rows, to, terms, channels, 0);
        c = sum_vectors<4>(index, weight, rows, to, terms, channels, c);
        c = sum_vectors<1>(index, weight, rows, to, terms, channels, c);
        for (; c < channels; c++) {
            float sum = 0;
            for (int k = 0; k < terms; k++) sum += weight[k] * rows[long(index[k]) * channels + c];
            to[c] = sum;
        }
    }
}
