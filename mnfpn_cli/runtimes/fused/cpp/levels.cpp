// A level of a pyramid in one call: a convolution of a map, and a coarser map that is resized and added.
//
// Resizing down and across are independent. A row of the level first sums rows of the coarser map, then pixels of that
// sum. Rows next to each other sum nearly the same rows, so a few are made at once. Where the level is smoothed early,
// the coarser map is mixed before: for each offset of a 3x3 into channels of its own. The mixed map is never whole: some
// rows of it are in the processor's cache, for a few vectors of channels, and a thread makes all that it reads there.

#include <cmath>

#include "maps.h"

constexpr int AT_ONCE = 2;           // vectors of which pixels are summed, and which go past the caches
constexpr int LINES = 2;             // rows of a level that are made at once
constexpr int MOST_TERMS = 6;        // of two neighbours, for three offsets
constexpr long LARGE = 1024 * 1024;  // bytes of a map for each thread: more than stays in its cache

struct Side {  // each position sums so many terms: rows or columns of the coarser map, for an offset
    const int* indices;  // offset * positions of the coarser map + position
    const float* weights;
    int terms;
};

struct Level {
    Map input, coarse, output;
    Convolution conv, mix;  // of the input; of the coarser map, (vector, offset down, offset across), or none
    Side down, across;
    int images;
};

struct LevelMaps {  // of an image: what the convolution reads, the coarser map, also as operands, and the level
    const Operand* input;
    const Value* coarse;
    const Operand* operands;
    Value* output;
};

// How a level is computed: a group of vectors at a time, from a ring of `slots` rows of the coarser map.
struct LevelPlan {
    int offsets;         // in each direction
    int groups, bands;   // of AT_ONCE vectors, and of rows; threads take a band of a group each
    bool streamed;       // past the caches, which saves reading what is overwritten
    int batch, slots;    // rows that are mixed at once; slots are a multiple of these
    long plane;          // floats of a vector in the ring, for one offset
    long rows, row;      // of an image of the input with zeros around; operands of such a row
    long input;          // floats of scratch: the input with zeros around
    long coarse;         // floats of scratch: the coarser map as operands, where these are no values
    long copied, ring;   // likewise for each thread: a padded row of the coarser map, and the ring
    long sums, made;     // likewise for a row of the level: sums of rows for one vector, and the convolution
    long own() const { return copied + ring + LINES * (AT_ONCE * sums + made); }
};

// Return the rows of the coarser map that some rows of the level sum: the first, and the one behind the last.
static std::pair<int, int> rows_of(const Level& l, int begin, int end) {
    int first = l.coarse.rows, stop = 0;
    for (int k = begin * l.down.terms; k < end * l.down.terms; k++)
        if (l.down.weights[k] != 0) {
            const int at = l.down.indices[k] % l.coarse.rows;
            first = std::min(first, at), stop = std::max(stop, at + 1);
        }
    return {first, stop};
}

static LevelPlan plan_of(const Level& l, int threads) {
    LevelPlan plan{};
    plan.offsets = l.mix.vectors ? 3 : 1;
    const bool copied = l.mix.vectors && copies(l.mix, l.coarse);  // a row at a time
    plan.batch = copied ? 1 : std::clamp(64 / l.coarse.columns, 1, l.coarse.rows);
    int span = 0;  // rows that LINES of the level sum, at most
    for (int row = 0; row < l.output.rows; row++) {
        const auto [first, end] = rows_of(l, row, std::min(row + LINES, l.output.rows));
        span = std::max(span, end - first);
    }
    plan.slots = (span - 1 + plan.batch + plan.batch - 1) / plan.batch * plan.batch;
    plan.plane = long(plan.slots) * l.coarse.columns * WIDTH;
    const long vector = plan.plane * plan.offsets * plan.offsets;
    const int several = (l.conv.vectors + AT_ONCE - 1) / AT_ONCE;
    const int most = int(std::clamp(CACHE / (vector * AT_ONCE), 1L, long(several)));
    plan.groups = (several + most - 1) / most;
    plan.bands = threads == 1 ? 1 : std::clamp(2 * threads / plan.groups, 1, std::max(l.output.rows / 8, 1));
    const long bytes = l.images * l.output.size() * long(sizeof(Value));
    plan.streamed = bytes > threads * LARGE && l.output.channels % (AT_ONCE * WIDTH) == 0;
    plan.rows = l.input.rows + l.conv.kernel - 1, plan.row = padded_row(l.conv, l.input);
    plan.input = floats_of(l.images * plan.rows * plan.row + PAIR);
    if (l.mix.vectors) plan.coarse = floats_rounded(l.images * l.coarse.size());
    if (copied) plan.copied = floats_of(padded_row(l.mix, l.coarse));
    const long largest = (several + plan.groups - 1) / plan.groups * AT_ONCE;  // vectors of a group
    plan.ring = largest * vector;
    plan.sums = long(plan.offsets) * l.coarse.columns * WIDTH;
    plan.made = largest * l.output.columns * WIDTH;
    return plan;
}

// Put this thread's share of the rows of the input among zeros, as operands.
static void pad_input(const Level& l, const LevelPlan& plan, const Value* x, Operand* to) {
    const Convolution& conv = l.conv;
    const long line = l.input.row(), left = conv.left * l.input.channels;
    const Operand zero = Operand(conv.rounding.zero);
#pragma omp for
    for (long n = 0; n < l.images * plan.rows; n++) {
        const long row = n % plan.rows - conv.top;
        const bool inside = row >= 0 && row < l.input.rows;
        Operand* at = to + n * plan.row;
        std::fill(at, at + (inside ? left : plan.row), zero);
        if (!inside) continue;
        convert(x + (n / plan.rows * l.input.rows + row) * line, at + left, line, conv.rounding);
        std::fill(at + left + line, at + plan.row, zero);
    }
}

// Put rows begin to end of the coarser map into the ring, mixed or as they are, for the vectors first to last.
static void fill_ring(const Level& l, const LevelPlan& plan, const LevelMaps& maps, int begin, int end, int first,
                      int last, Operand* copy, float* ring) {
    const int columns = l.coarse.columns, channels = l.coarse.channels;
    float* to = ring + long(begin % plan.slots) * columns * WIDTH;
    if (l.mix.vectors) {
        const int several = plan.offsets * plan.offsets;
        const Target<float> target{to - first * several * plan.plane, plan.plane, WIDTH, nullptr, WIDTH};
        const Source source = window(l.mix, l.coarse, maps.operands, begin, copy);
        convolve(l.mix, source, target, 0, (end - begin) * columns, first * several, last * several);
        return;
    }
    const Value* from = maps.coarse + begin * l.coarse.row();
    for (int v = first; v < last; v++, to += plan.plane)
        for (int p = 0; p < (end - begin) * columns; p++)
            store(to + p * WIDTH, load_up_to<Vector>(from + long(p) * channels + v * WIDTH, channels - v * WIDTH));
}

// What a row of the level sums of a vector in the ring, for each offset across: where rows begin, and their weights.
struct Terms {
    long at[3][MOST_TERMS];  // floats behind the vector's first
    float weights[MOST_TERMS];
    int count = 0;
};

static Terms terms_of(const Level& l, const LevelPlan& plan, int row) {
    Terms terms;
    for (int k = row * l.down.terms; k < (row + 1) * l.down.terms; k++) {
        if (l.down.weights[k] == 0) continue;  // beyond an edge
        const int offset = l.down.indices[k] / l.coarse.rows, slot = l.down.indices[k] % l.coarse.rows % plan.slots;
        for (int across = 0; across < plan.offsets; across++)
            terms.at[across][terms.count] =
                (offset * plan.offsets + across) * plan.plane + long(slot) * l.coarse.columns * WIDTH;
        terms.weights[terms.count++] = l.down.weights[k];
    }
    return terms;
}

// Sum M vectors of some rows.
template <int M>
static void sum_vectors(const Terms& terms, const long at[], const float* ring, float* to) {
    Vector sums[M] = {};
    for (int k = 0; k < terms.count; k++)
        UNROLLED for (int m = 0; m < M; m++) sums[m] += load<Vector>(ring + at[k] + m * WIDTH) * terms.weights[k];
    UNROLLED for (int m = 0; m < M; m++) store(to + m * WIDTH, sums[m]);
}

// Sum rows of a vector in the ring for a row of the level: (offset across, columns of the coarser map, WIDTH).
static void sum_rows(const Level& l, const LevelPlan& plan, const Terms& terms, const float* ring, float* to) {
    constexpr int MOST = 8;  // vectors whose sums are in registers
    const long line = long(l.coarse.columns) * WIDTH;
    for (int across = 0; across < plan.offsets; across++, to += line) {
        long p = 0;
        const long* at = terms.at[across];
        for (; p + MOST * WIDTH <= line; p += MOST * WIDTH) sum_vectors<MOST>(terms, at, ring + p, to + p);
        for (; p < line; p += WIDTH) sum_vectors<1>(terms, at, ring + p, to + p);
    }
}

// Finish a row of the level, for V vectors: add sums of pixels to its convolution.
template <int TERMS, int V, bool STREAMED>
static void sum_pixels(const Level& l, const LevelPlan& plan, const float* sums, const float* made, Value* to,
                       int channels) {
    const int* index = l.across.indices;
    const float* weight = l.across.weights;
    const long plane = long(l.output.columns) * WIDTH;
    const Vector least = l.conv.low - Vector{}, most = l.conv.high - Vector{};
    for (int p = 0; p < l.output.columns; p++, index += TERMS, weight += TERMS, to += l.output.channels) {
        Vector sum[V];
        UNROLLED for (int v = 0; v < V; v++) sum[v] = load<Vector>(made + v * plane + p * WIDTH);
        UNROLLED for (int k = 0; k < TERMS; k++) {
            const float* at = sums + long(index[k]) * WIDTH;
            UNROLLED for (int v = 0; v < V; v++) sum[v] += load<Vector>(at + v * plan.sums) * weight[k];
        }
        UNROLLED for (int v = 0; v < V; v++) sum[v] = clamp(sum[v], least, most);
        if constexpr (STREAMED) stream(to, sum);
        else UNROLLED for (int v = 0; v < V; v++) store_up_to(to + v * WIDTH, sum[v], channels - v * WIDTH);
    }
}

template <int V, bool STREAMED, class... Args>
static void sum_pixels(const Level& l, const Args&... args) {
    switch (l.across.terms) {  // of one or two pixels, for one or three offsets
        case 1: return sum_pixels<1, V, STREAMED>(l, args...);
        case 2: return sum_pixels<2, V, STREAMED>(l, args...);
        case 3: return sum_pixels<3, V, STREAMED>(l, args...);
        case 6: return sum_pixels<6, V, STREAMED>(l, args...);
    }
}

// Compute rows begin to end of a level, for the vectors first to last, by one thread.
static void level_band(const Level& l, const LevelPlan& plan, const LevelMaps& maps, int begin, int end, int first,
                       int last, float* scratch) {
    Operand* copy = reinterpret_cast<Operand*>(scratch);
    float *ring = scratch + plan.copied, *sums = ring + plan.ring, *made = sums + LINES * AT_ONCE * plan.sums;
    const int columns = l.output.columns, channels = l.input.channels;
    const long plane = long(columns) * WIDTH, vector = plan.offsets * plan.offsets * plan.plane;
    Convolution conv = l.conv;
    conv.low = -INFINITY, conv.high = INFINITY;  // more is added before the activation
    int next = rows_of(l, begin, begin + 1).first / plan.batch * plan.batch;  // row for the ring: none before is read
    for (int row = begin; row < end; row += LINES) {
        const int lines = std::min(LINES, end - row);
        for (const int needed = rows_of(l, row, row + lines).second; next < needed; next += plan.batch)
            fill_ring(l, plan, maps, next, std::min(next + plan.batch, l.coarse.rows), first, last, copy, ring);
        Terms terms[LINES];
        for (int k = 0; k < lines; k++) {
            terms[k] = terms_of(l, plan, row + k);
            const Target<float> target{made + k * plan.made - first * plane, plane, WIDTH, nullptr, WIDTH};
            const Operand* from = maps.input + (row + k) * plan.row;
            const Source source{from, plan.row, channels, conv.kernel, conv.kernel * channels};
            convolve(conv, source, target, 0, columns, first, last);
        }
        for (int v = first, several; v < last; v += several) {
            several = std::min(last - v, AT_ONCE);
            for (int s = 0; s < several; s++)
                for (int k = 0; k < lines; k++)
                    sum_rows(l, plan, terms[k], ring + (v - first + s) * vector, sums + (k * AT_ONCE + s) * plan.sums);
            const int left = l.output.channels - v * WIDTH;
            for (int k = 0; k < lines; k++) {
                const float *sum = sums + k * AT_ONCE * plan.sums, *from = made + k * plan.made + (v - first) * plane;
                Value* to = maps.output + (row + k) * l.output.row() + v * WIDTH;
                if (several < AT_ONCE) sum_pixels<1, false>(l, plan, sum, from, to, left);
                else if (plan.streamed) sum_pixels<AT_ONCE, true>(l, plan, sum, from, to, left);
                else sum_pixels<AT_ONCE, false>(l, plan, sum, from, to, left);
            }
        }
    }
}

// Return the floats of scratch space that a level needs.
extern "C" long mnfpn_level_scratch(const Level* level, int threads) {
    const LevelPlan plan = plan_of(*level, threads);
    return plan.input + plan.coarse + threads * plan.own();
}

// Compute a level of the map x and the coarser one.
extern "C" void mnfpn_level(const Level* level, const Value* x, const Value* coarse, Value* y, float* scratch,
                            int threads) {
    const Level& l = *level;
    const LevelPlan plan = plan_of(l, threads);
    Operand* const padded = reinterpret_cast<Operand*>(scratch);
    Operand* const rounded = reinterpret_cast<Operand*>(scratch + plan.input);
    const Operand* const operands = plan.coarse ? rounded : reinterpret_cast<const Operand*>(coarse);
    scratch += plan.input + plan.coarse;
    const auto maps = [&](long image) {
        const long other = image * l.coarse.size();
        return LevelMaps{padded + image * plan.rows * plan.row, coarse + other, operands + other,
                         y + image * l.output.size()};
    };
#pragma omp parallel num_threads(threads)
    {
        if (plan.coarse) convert_share(coarse, rounded, l.images * l.coarse.size(), l.mix.rounding);
        pad_input(l, plan, x, padded);  // and wait for the other threads
        float* own = scratch + omp_get_thread_num() * plan.own();
        const int rows = l.output.rows, several = (l.conv.vectors + AT_ONCE - 1) / AT_ONCE;
#pragma omp for schedule(dynamic)
        for (int n = 0; n < l.images * plan.bands * plan.groups; n++) {
            const int group = n % plan.groups, band = n / plan.groups % plan.bands;
            const int first = several * group / plan.groups, last = several * (group + 1) / plan.groups;
            level_band(l, plan, maps(n / plan.groups / plan.bands), rows * band / plan.bands,
                       rows * (band + 1) / plan.bands, first * AT_ONCE, std::min(last * AT_ONCE, l.conv.vectors), own);
        }
        release();
        end_streams();
    }
}
