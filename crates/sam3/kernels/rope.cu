// Rotary position encoding: the pairs (x[2i], x[2i+1]) of every head are turned by an angle of their row,
// (a, b) -> (a cos - b sin, b cos + a sin), in f32. A thread does 4 pairs, 16 bytes. Bound by memory.
//
//   x         bf16, row r of entry i at x + i * batch_stride + r * row_stride, heads * d numbers each
//   out       bf16, contiguous
//   cos, sin  f32 [p, d / 2]; row r of an entry takes row r % p
//
// d is a multiple of 8, strides count elements and are multiples of 8, tensors are aligned to 16 bytes.
#include "device.cuh"

namespace rope {

// Vector `at` of one row, turned if `rotated`.
static __device__ __forceinline__ void turn(bf16* out, const bf16* x, const float* cos, const float* sin,
                                            unsigned at, unsigned d, bool rotated) {
    uint4 packed = load_16(x + at * 8);
    if (rotated) {
        const unsigned pair = at * 8 % d / 2;
        float v[8], turned[8], c[4], s[4];
        unpack_8(v, packed);
        load_floats(c, cos + pair), load_floats(s, sin + pair);
        UNROLL_FOR (int i = 0; i < 4; ++i) {
            turned[2 * i] = v[2 * i] * c[i] - v[2 * i + 1] * s[i];
            turned[2 * i + 1] = v[2 * i + 1] * c[i] + v[2 * i] * s[i];
        }
        packed = pack_8(turned);
    }
    store_16(out + at * 8, packed);
}

} // namespace rope

// out [b, l, heads * d]; the first n_rotated rows of each entry are turned, the others copied. Grid
// (ceil(l * heads * d / 8 / threads), b).
extern "C" __global__ void rope_bf16(bf16* out, const bf16* x, const float* cos, const float* sin, unsigned l,
                                     unsigned heads, unsigned d, unsigned p, unsigned n_rotated,
                                     long long batch_stride, long long row_stride) {
    const unsigned vectors = heads * d / 8, entry = blockIdx.y;
    const unsigned row = thread_in_grid() / vectors, at = thread_in_grid() % vectors;
    if (row >= l) return;
    const long long table = static_cast<long long>(row % p) * (d / 2);
    rope::turn(out + (static_cast<long long>(entry) * l + row) * (heads * d),
               x + entry * batch_stride + row * row_stride, cos + table, sin + table, at, d, row < n_rotated);
}

// The same for entries of different lengths: entry i has rows starts[i] .. starts[i + 1] of x and of out, the
// first n_rotated[i] of which are turned. Grid (ceil(longest * heads * d / 8 / threads), b).
extern "C" __global__ void rope_varlen_bf16(bf16* out, const bf16* x, const float* cos, const float* sin,
                                            const unsigned* starts, const unsigned* n_rotated, unsigned heads,
                                            unsigned d, unsigned p, long long row_stride) {
    const unsigned vectors = heads * d / 8, entry = blockIdx.y, start = starts[entry];
    const unsigned row = thread_in_grid() / vectors, at = thread_in_grid() % vectors;
    if (row >= starts[entry + 1] - start) return;
    const long long table = static_cast<long long>(row % p) * (d / 2);
    rope::turn(out + static_cast<long long>(start + row) * (heads * d), x + (start + row) * row_stride,
               cos + table, sin + table, at, d, row < n_rotated[entry]);
}
