// Blocks of convolutions, each in one call. Maps are in memory as (rows, columns, channels).
//
// A block has a dense convolution or none, a depthwise 3x3 or none, and a 1x1 convolution; or one dense convolution alone,
// of any size. The last one may add a map. The map behind the first is many times as large as input and output. It is
// never whole: some rows of it are made, used and overwritten in the processor's cache, by vectors of WIDTH channels in
// float32: (vectors, rows, columns, WIDTH). In int8, what a dense convolution reads is rounded before: the input as a
// whole, and the rows that a depthwise convolution makes.

#include "depthwise.h"
#include "maps.h"

struct Block {
    Map input, middle, output;  // middle: what the depthwise convolution reads
    Convolution dense, depthwise, project;
    int images;
};

struct Maps {  // of an image: what it reads, also as operands, what is added to its output or null, and where that goes
    const Value* input;
    const Operand* operands;
    const Value* added;
    Value* output;
};

// How a block is computed: `group` rows of the output at a time, from a ring of `slots` rows of the middle map.
struct Plan {
    bool shared;  // threads share all rows, and take some of the vectors each; else each takes bands of its own
    int bands;    // parts of an image's rows, or where it has one, of its pixels
    int group, slots, columns;  // columns: of a row in the ring, with zeros around
    int hidden, vectors;        // vectors of the middle map; those made at a time
    int parts;                  // of DEPTH channels, behind the depthwise convolution
    long plane, part;           // floats of a vector in the ring, values of a part
    long rounded;               // floats of scratch: the input as operands, where these are no values
    long copied, expanded, projected;  // likewise: the input's padded rows, the ring, and all before the 1x1
};

// Return the convolution that reads the input, where it is a dense one.
static const Convolution& first(const Block& b) { return b.depthwise.vectors ? b.dense : b.project; }

// Return whether there is one convolution and one row, of which threads take pixels. Python makes one of a whole map.
static bool is_row(const Block& b) { return b.output.rows == 1 && !b.depthwise.vectors; }

static Plan plan_of(const Block& b, int threads) {
    const auto [rows, columns, channels] = b.output;
    const Convolution &dense = first(b), &depthwise = b.depthwise;
    Plan plan{};
    plan.shared = threads > 1 && rows < 16 * threads && rows * columns < 4096;
    plan.bands = plan.shared || threads == 1 ? 1 : threads * std::clamp(rows / (32 * threads), 1, 4);
    if (dense.vectors) plan.rounded = floats_rounded(b.images * b.input.size());
    if (dense.vectors && copies(dense, b.input)) plan.copied = floats_of(dense.kernel * padded_row(dense, b.input));
    plan.hidden = depthwise.vectors;
    if (is_row(b)) {
        plan.shared = threads > 1 && columns < 32 * threads && b.project.vectors >= threads;
        const long most = std::max(CACHE / b.input.channels, 24L), bands = (columns + most - 1) / most;
        plan.bands = plan.shared ? 1 : int((bands + threads - 1) / threads * threads);
    }
    if (!plan.hidden) return plan;
    plan.vectors = group_of(b.middle.columns);
    plan.columns = std::max(depthwise.left + b.middle.columns, (columns - 1) * depthwise.stride + 3);
    const long row = long(plan.hidden) * WIDTH * (plan.columns * depthwise.stride + columns);
    const long band = (rows + plan.bands - 1) / plan.bands;
    plan.group = plan.shared ? rows : int(std::clamp(CACHE / row - 2 / depthwise.stride, 1L, band));
    plan.slots = (plan.group - 1) * depthwise.stride + 3;
    plan.plane = long(plan.slots) * plan.columns * WIDTH;
    plan.parts = (plan.hidden * WIDTH + DEPTH - 1) / DEPTH;
    plan.part = long(plan.group) * columns * DEPTH;
    plan.expanded = plan.plane * (plan.shared ? std::min(plan.vectors, plan.hidden) : plan.hidden);
    plan.projected = floats_of(plan.part * plan.parts);
    return plan;
}

// Make a row of the middle map, for the vectors first to last: rows and columns beyond the map are zeros.
static void expand_row(const Block& b, const Plan& plan, const Maps& maps, int row, int first, int last, Operand* copy,
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
        convolve(b.dense, window(b.dense, b.input, maps.operands, row, copy), target, 0, columns, first, last);
        return;
    }
    for (int v = first; v < last; v++)
        for (int p = 0; p < columns; p++) {
            const Value* from = maps.input + row * b.middle.row() + long(p) * channels + v * WIDTH;
            const Vector value = load_up_to<Vector>(from, channels - v * WIDTH);
            store(slot + (v - first) * plan.plane + (left + p) * WIDTH, value);
        }
}

// Make the rows of the middle map from `missing` on that rows of the output need, and convolve them depthwise.
static void hidden_rows(const Block& b, const Plan& plan, const Maps& maps, int begin, int end, int missing, int first,
                        int last, Operand* copy, float* expanded, Operand* to) {
    const Convolution& conv = b.depthwise;
    const int columns = b.output.columns;
    for (int row = missing; row < (end - 1) * conv.stride - conv.top + 3; row++)
        expand_row(b, plan, maps, row, first, last, copy, expanded);
    for (int v = first; v < last; v++)
        for (int row = begin; row < end; row++) {
            const float* rows[3];
            for (int k = 0; k < 3; k++)
                rows[k] = expanded + (v - first) * plan.plane
                    + long((row * conv.stride + k) % plan.slots) * plan.columns * WIDTH;
            constexpr int VECTORS = DEPTH / WIDTH;
            Operand* at = to + v / VECTORS * plan.part + long(row - begin) * columns * DEPTH + v % VECTORS * WIDTH;
            if (conv.stride == 1) depthwise_row<1>(conv, rows, at, columns, v);
            else depthwise_row<2>(conv, rows, at, columns, v);
            if (v + 1 < plan.hidden) continue;
            for (int empty = v % VECTORS + 1; empty < VECTORS; empty++)  // the last part is not full
                for (int p = 0; p < columns; p++) store_rounded(at + p * DEPTH + (empty - v % VECTORS) * WIDTH, Vector{});
        }
}

static Target<Value> output(const Block& b, const Maps& maps, int row) {
    const long at = row * b.output.row();
    const int last = b.output.channels - (b.project.vectors - 1) * WIDTH;
    return {maps.output + at, WIDTH, b.output.channels, maps.added ? maps.added + at : nullptr, last};
}

static Source hidden(const Plan& plan, const Operand* from) { return {from, plan.part, DEPTH, plan.parts, DEPTH}; }

// Compute a band of the output, by one thread: rows or pixels begin to end.
static void band(const Block& b, const Plan& plan, const Maps& maps, int begin, int end, float* scratch) {
    const int vectors = b.project.vectors, columns = b.output.columns;
    Operand* copy = reinterpret_cast<Operand*>(scratch);
    if (is_row(b)) {
        const Source source = window(b.project, b.input, maps.operands, 0, copy);
        if (begin < end) convolve(b.project, source, output(b, maps, 0), begin, end, 0, vectors);
        return;
    }
    if (!plan.hidden) {
        for (int row = begin; row < end; row++) {
            const Source source = window(b.project, b.input, maps.operands, row, copy);
            convolve(b.project, source, output(b, maps, row), 0, columns, 0, vectors);
        }
        return;
    }
    float* expanded = scratch + plan.copied;
    Operand* projected = reinterpret_cast<Operand*>(expanded + plan.expanded);
    const int stride = b.depthwise.stride, top = b.depthwise.top;
    int missing = begin * stride - top;
    for (int row = begin; row < end; row += plan.group) {
        const int stop = std::min(row + plan.group, end), from = std::max(missing, row * stride - top);
        for (int v = 0; v < plan.hidden; v += plan.vectors) {
            const int last = std::min(v + plan.vectors, plan.hidden);
            hidden_rows(b, plan, maps, row, stop, from, v, last, copy, expanded + v * plan.plane, projected);
        }
        missing = (stop - 1) * stride - top + 3;
        convolve(b.project, hidden(plan, projected), output(b, maps, row), 0, (stop - row) * columns, 0, vectors);
    }
}

// Compute an image by all threads: each some vectors of the middle map, then some pixels or vectors of the output.
static void together(const Block& b, const Plan& plan, const Maps& maps, float* own, Operand* projected) {
    Operand* copy = reinterpret_cast<Operand*>(own);
    const int me = omp_get_thread_num(), team = omp_get_num_threads(), vectors = b.project.vectors;
    const auto mine = [&](int total) { return std::pair(total * me / team, total * (me + 1) / team); };
    if (!plan.hidden) {
        const auto [first, last] = mine(vectors);
        for (int row = 0; row < b.output.rows; row++) {
            const Source source = window(b.project, b.input, maps.operands, row, copy);
            convolve(b.project, source, output(b, maps, row), 0, b.output.columns, first, last);
        }
        return;
    }
    const auto [begin, end] = mine(plan.hidden);
    for (int v = begin; v < end; v += plan.vectors)
        hidden_rows(b, plan, maps, 0, b.output.rows, -b.depthwise.top, v, std::min(v + plan.vectors, end), copy,
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
extern "C" int mnfpn_depth() { return DEPTH; }

// Return the floats of scratch space that a block needs.
extern "C" long mnfpn_scratch(const Block* block, int threads) {
    const Plan plan = plan_of(*block, threads);
    return plan.rounded + threads * (plan.copied + plan.expanded) + (plan.shared ? 1 : threads) * plan.projected;
}

// Compute a block; `added` is null, or a map like the output, which may be the output.
extern "C" void mnfpn_run(const Block* block, const Value* x, const Value* added, Value* y, float* scratch,
                          int threads) {
    const Block& b = *block;
    const Plan plan = plan_of(b, threads);
    Operand* const rounded = reinterpret_cast<Operand*>(scratch);
    const Operand* const operands = plan.rounded ? rounded : reinterpret_cast<const Operand*>(x);
    scratch += plan.rounded;
    const auto image = [&](long n) {
        const long input = n * b.input.size(), output = n * b.output.size();
        return Maps{x + input, operands + input, added ? added + output : nullptr, y + output};
    };
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num();
        if (plan.rounded) {
            convert_share(x, rounded, b.images * b.input.size(), first(b).rounding);
#pragma omp barrier
        }
        if (plan.shared) {
            float* own = scratch + plan.projected + me * (plan.copied + plan.expanded);
            for (int n = 0; n < b.images; n++)
                together(b, plan, image(n), own, reinterpret_cast<Operand*>(scratch));
        } else {
            float* own = scratch + me * (plan.copied + plan.expanded + plan.projected);
#pragma omp for schedule(dynamic)
            for (int n = 0; n < b.images * plan.bands; n++) {
                const long part = n % plan.bands, length = is_row(b) ? b.output.columns : b.output.rows;
                band(b, plan, image(n / plan.bands), int(length * part / plan.bands),
                     int(length * (part + 1) / plan.bands), own);
            }
        }
        release();
    }
}
