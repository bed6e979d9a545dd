// Vectors of channels, and the values that maps have: float32, or bfloat16 where this is compiled with -DBFLOAT16.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
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

typedef uint16_t Value;  // of a map

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

typedef float Value;

#endif

// Store two vectors past the caches, at a multiple of their size; other threads see them after `end_streams`.
static inline void stream(Value* to, const Vector values[2]) {
#if defined(BFLOAT16)
    _mm512_stream_si512((__m512i*)to, (__m512i)_mm512_cvtne2ps_pbh((__m512)values[1], (__m512)values[0]));
#elif defined(__AVX512F__)
    for (int v = 0; v < 2; v++) _mm512_stream_ps(to + v * WIDTH, (__m512)values[v]);
#elif defined(__AVX__)
    for (int v = 0; v < 2; v++) _mm256_stream_ps(to + v * WIDTH, (__m256)values[v]);
#else
    memcpy(to, values, 2 * sizeof(Vector));
#endif
}
static inline void end_streams() {
#if defined(__AVX__)
    _mm_sfence();
#endif
}

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

#if defined(__AVX512F__)  // by masks: through memory, as above, it takes several times as long

static inline __mmask16 first_of(int count) { return __mmask16((1u << count) - 1); }

template <>
inline void store_some(float* to, Vector value, int count) {
    _mm512_mask_storeu_ps(to, first_of(count), (__m512)value);
}

#if defined(BFLOAT16)

template <>
inline Vector load_some<Vector>(const Value* from, int count) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_of(count), from));
    return (Vector)_mm512_slli_epi32(wide, 16);
}
template <>
inline void store_some(Value* to, Vector value, int count) {
    _mm256_mask_storeu_epi16(to, first_of(count), (__m256i)rounded(value));
}

#else

template <>
inline Vector load_some<Vector>(const Value* from, int count) {
    return (Vector)_mm512_maskz_loadu_ps(first_of(count), from);
}

#endif
#endif

template <class V>
static inline V load_up_to(const Value* from, int count) {
    return count >= lanes<V> ? load<V>(from) : load_some<V>(from, count);
}
template <class T, class V>
static inline void store_up_to(T* to, V value, int count) {
    if (count >= lanes<V>) store(to, value);
    else store_some(to, value, count);
}

// Have a value in a register: of a value in memory that is used several times, GCC reads each use from there.
template <class V>
static inline V in_register(V value) {
#if defined(__AVX512F__)
    asm("" : "+v"(value));
#elif defined(__AVX__)
    asm("" : "+x"(value));
#endif
    return value;
}

template <class V>
static inline V clamp(V value, V least, V most) {  // a NaN stays one
    value = value < least ? least : value;
    return value > most ? most : value;
}
