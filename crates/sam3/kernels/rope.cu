// Rotary position encoding, together with the steps around it: the bias of the preceding product, the split into
// queries, keys and values, and the cut into windows. The pairs (x[2i], x[2i+1]) of every head are rotated by an angle
// of their row, (a, b) -> (a cos - b sin, b cos + a sin), in f32. A thread computes 4 pairs, 16 bytes. Bound by memory
// bandwidth.
//
//   cos, sin  f32 [p, d / 2]; row r of an entry uses row r % p
//   bias      bf16, one number per column of x
//
// d is a multiple of 8, tensors are contiguous and aligned to 16 bytes.
#include "device.cuh"

namespace rope {

// Adds 8 numbers of the bias to 8 numbers of x, and rotates them unless `cos` is null.
static __device__ __forceinline__ void rotate(bf16* out, const bf16* x, const bf16* bias, const float* cos,
                                              const float* sin) {
    float v[8], rotated[8], added[8], c[4], s[4];
    unpack_8(v, load_16(x)), unpack_8(added, load_16(bias));
    UNROLL_FOR (int i = 0; i < 8; ++i) v[i] += added[i];
    if (!cos) {
        store_16(out, pack_8(v));
        return;
    }
    load_floats(c, cos), load_floats(s, sin);
    UNROLL_FOR (int i = 0; i < 4; ++i) {
        rotated[2 * i] = v[2 * i] * c[i] - v[2 * i + 1] * s[i];
        rotated[2 * i + 1] = v[2 * i + 1] * c[i] + v[2 * i] * s[i];
    }
    store_16(out, pack_8(rotated));
}

} // namespace rope

// x [rows, parts * heads * d] -> out [parts, rows, heads * d]. The first n_rotated parts are rotated, row r by row r % p
// of the angles. With a window, x consists of images of width `width`, and the rows of out are in the order of windows.
// Grid ceil(rows * parts * heads * d / 8 / threads).
extern "C" __global__ void rope_bf16(bf16* out, const bf16* x, const bf16* bias, const float* cos,
                                     const float* sin, unsigned rows, unsigned heads, unsigned d, unsigned p,
                                     unsigned parts, unsigned n_rotated, unsigned width, unsigned window) {
    const unsigned c = heads * d, vectors = parts * c / 8;
    const unsigned row = thread_in_grid() / vectors, column = thread_in_grid() % vectors * 8;
    if (row >= rows) return;
    const unsigned part = column / c;
    const long long from = window_to_image(row, width, window);
    const long long angle = static_cast<long long>(row % p) * (d / 2) + column % d / 2;
    rope::rotate(out + (static_cast<long long>(part) * rows + row) * c + column % c,
                 x + from * (parts * c) + column, bias + column, part < n_rotated ? cos + angle : nullptr,
                 sin + angle);
}

// x [sum of lengths, heads * d] -> out, the same shape. Entry i has rows starts[i] .. starts[i + 1], of which the first
// n_rotated[i] are rotated. Grid (ceil(longest * heads * d / 8 / threads), entries).
extern "C" __global__ void rope_varlen_bf16(bf16* out, const bf16* x, const bf16* bias, const float* cos,
                                            const float* sin, const unsigned* starts,
                                            const unsigned* n_rotated, unsigned heads, unsigned d,
                                            unsigned p) {
    const unsigned vectors = heads * d / 8, entry = blockIdx.y, start = starts[entry];
    const unsigned row = thread_in_grid() / vectors, column = thread_in_grid() % vectors * 8;
    if (row >= starts[entry + 1] - start) return;
    const long long angle = static_cast<long long>(row % p) * (d / 2) + column % d / 2;
    const long long at = static_cast<long long>(start + row) * (heads * d) + column;
    rope::rotate(out + at, x + at, bias + column, row < n_rotated[entry] ? cos + angle : nullptr, sin + angle);
}
