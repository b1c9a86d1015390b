// Copies the neighbourhood of each pixel of an image to a row, so that a convolution becomes one matrix product. Input and
// output are channels-last, so that nothing is permuted.
//
//   out  bf16 [n, oh, ow, k * k * c], contiguous; tap (ky, kx) of an output pixel at (ky * k + kx) * c
//   x    bf16 [n, h, w, c], contiguous, c a multiple of 8; pixels outside are zero
//
// A block computes one output pixel; its threads copy 16 bytes each. Bound by memory bandwidth. A pixel is read
// k * k / stride^2 times, from cache after the first.
#include "device.cuh"

// Grid (ow, oh, n), any block size. oh and n are at most 65535.
extern "C" __global__ void im2col_bf16(bf16* out, const bf16* x, unsigned h, unsigned w, unsigned c, unsigned k,
                                       unsigned stride, unsigned padding) {
    const unsigned chunks = c / 8, row_chunks = k * k * chunks;
    const long long pixel = (static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    bf16* to = out + pixel * row_chunks * 8;
    const bf16* image = x + static_cast<long long>(blockIdx.z) * h * w * c;
    for (unsigned i = threadIdx.x; i < row_chunks; i += blockDim.x) {
        const unsigned tap = i / chunks, chunk = i % chunks;
        // To the left of and above the image, the sum wraps around to a large number.
        const unsigned row = blockIdx.y * stride + tap / k - padding;
        const unsigned column = blockIdx.x * stride + tap % k - padding;
        uint4 values = {0, 0, 0, 0};
        if (row < h && column < w)
            values = load_16(image + (static_cast<long long>(row) * w + column) * c + chunk * 8);
        store_16(to + i * 8, values);
    }
}
