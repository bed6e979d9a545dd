// What dense convolutions multiply: the values of maps, or where this is compiled with -DINT8 these in eight bits.
//
// bfloat16 multiplies two values at once, by AVX512-BF16, and int8 four, by AVX512-VNNI. Its sums are whole numbers, which
// a scale for each output makes values.

#pragma once

#include "vectors.h"

struct Rounding {  // of a map to eight bits: a value becomes value * inverse + zero; in floating point it stays
    float inverse, zero;
};

#if defined(INT8)

typedef uint8_t Operand;  // what is multiplied by weights
typedef int8_t Weight;
typedef uint32_t Input;   // operands that are multiplied at once
typedef __m512i Weights;
typedef __m256i HalfWeights;
typedef int Sum __attribute__((vector_size(WIDTH * sizeof(int))));
typedef int HalfSum __attribute__((vector_size(WIDTH / 2 * sizeof(int))));

static inline Sum multiply_add(Sum sum, Weights weights, Input input) {
    return (Sum)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(input), weights);
}
static inline HalfSum multiply_add(HalfSum sum, HalfWeights weights, Input input) {
    return (HalfSum)_mm256_dpbusd_epi32((__m256i)sum, _mm256_set1_epi32(input), weights);
}
// What a sum starts with, and the values of outputs whose sums did.
template <class S>
static inline S start(const float*) { return S{}; }
template <class V, class S>
static inline V values_of(S sum, V scale, V bias) {
    return __builtin_convertvector(sum, V) * scale + bias;
}

static inline void store_rounded(Operand* to, Vector value) {  // those that eight bits do not have become the nearest
    const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32((__m512)value), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i*)to, _mm512_cvtusepi32_epi8(whole));
}

#else

typedef Value Operand, Weight;
typedef Vector Sum;
typedef Half HalfSum;

template <class S>
static inline S start(const float* bias) { return load<S>(bias); }
template <class V, class S>
static inline V values_of(S sum, V, V) { return sum; }

static inline void store_rounded(Operand* to, Vector value) { store(to, value); }

#if defined(BFLOAT16)

typedef uint32_t Input;
typedef __m512bh Weights;
typedef __m256bh HalfWeights;

static inline Vector multiply_add(Vector sum, Weights weights, Input input) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, weights, (__m512bh)_mm512_set1_epi32(input));
}
static inline Half multiply_add(Half sum, HalfWeights weights, Input input) {
    return (Half)_mm256_dpbf16_ps((__m256)sum, weights, (__m256bh)_mm256_set1_epi32(input));
}

#else

typedef float Input;
typedef Vector Weights;
typedef Half HalfWeights;

template <class V>
static inline V multiply_add(V sum, V weights, Input input) { return sum + weights * input; }

#endif
#endif

constexpr int PAIR = sizeof(Input) / sizeof(Operand);  // operands that are multiplied at once
