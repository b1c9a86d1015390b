// The neighbourhoods of a picture's pixels as rows, so that a convolution becomes one product: channels last in
// and out, and nothing is permuted.
//
//   out  bf16 [n, oh, ow, k * k * c], contiguous; tap (ky, kx) of an output pixel at (ky * k + kx) * c
//   x    bf16 [n, h, w, c], contiguous, c a multiple of 8; pixels outside are zeros
//
// A block does one output pixel: its threads copy 16 bytes each, whole taps side by side. Bound by memory; a
// pixel is read k * k / stride^2 times, all but the first time from cache.
#include "device.cuh"

// Grid (ow, oh, n), any block. oh and n are at most 65535.
extern "C" __global__ void im2col_bf16(bf16* out, const bf16* x, unsigned h, unsigned w, unsigned c, unsigned k,
                                       unsigned stride, unsigned padding) {
    const unsigned pieces = c / 8, row_pieces = k * k * pieces;
    const long long pixel = (static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    bf16* to = out + pixel * row_pieces * 8;
    const bf16* picture = x + static_cast<long long>(blockIdx.z) * h * w * c;
    for (unsigned i = threadIdx.x; i < row_pieces; i += blockDim.x) {
        const unsigned tap = i / pieces, piece = i % pieces;
        // Left of or above the picture the sum wraps around to a large number.
        const unsigned row = blockIdx.y * stride + tap / k - padding;
        const unsigned column = blockIdx.x * stride + tap % k - padding;
        uint4 values = {0, 0, 0, 0};
        if (row < h && column < w)
            values = load_16(picture + (static_cast<long long>(row) * w + column) * c + piece * 8);
        store_16(to + i * 8, values);
    }
}
