// Depthwise convolution of channels-last images: one k x k filter per channel, stride 1, k / 2 zeros of padding, sums in
// f32.
//
//   out, x  bf16 [n, h, w, c], contiguous, c even
//   weight  f32 [k * k, c], bias f32 [c]
//
// A thread computes 2 channels of STRIP neighbouring pixels of a row. For k = 7 it reads 14 pixels instead of 56 for 8
// results, and each filter weight once instead of 8 times, so that the L1 cache (one clock for 32 of a warp's 128
// multiplications) keeps up with the arithmetic.
#include "device.cuh"

namespace depthwise {

constexpr int STRIP = 8;

// Adds TAPS weights of a row of the filter times the pixels of an image row, starting at column `first`.
template <int TAPS>
static __device__ __forceinline__ void add_row(float (&low)[STRIP], float (&high)[STRIP], const bf16* row,
                                               const float* weight, int first, int w, unsigned c) {
    unsigned pixels[STRIP + TAPS - 1];
    UNROLL_FOR (int i = 0; i < STRIP + TAPS - 1; ++i) {
        const int column = first + i;
        pixels[i] = column >= 0 && column < w ? load_4(row + static_cast<long long>(column) * c) : 0;
    }
    UNROLL_FOR (int tap = 0; tap < TAPS; ++tap) {
        const float2 pair = load_8(weight + static_cast<long long>(tap) * c);
        UNROLL_FOR (int i = 0; i < STRIP; ++i) {
            low[i] += low_bf16(pixels[i + tap]) * pair.x;
            high[i] += high_bf16(pixels[i + tap]) * pair.y;
        }
    }
}

} // namespace depthwise

// Grid (ceil(c / 2 * ceil(w / 8) / threads), h, n); k odd.
extern "C" __global__ void __launch_bounds__(128)
    depthwise_conv_bf16(bf16* out, const bf16* x, const float* weight, const float* bias, unsigned h,
                        unsigned w, unsigned c, unsigned k) {
    using namespace depthwise;
    const unsigned channel = thread_in_grid() % (c / 2) * 2, strip = thread_in_grid() / (c / 2);
    if (strip * STRIP >= w) return;
    const int start = static_cast<int>(strip) * STRIP, y = blockIdx.y, radius = k / 2;
    const bf16* image = x + static_cast<long long>(blockIdx.z) * h * w * c + channel;
    float low[STRIP], high[STRIP];
    UNROLL_FOR (int i = 0; i < STRIP; ++i) low[i] = bias[channel], high[i] = bias[channel + 1];
    for (int ky = 0; ky < static_cast<int>(k); ++ky) {
        const int from = y + ky - radius;
        if (from < 0 || from >= static_cast<int>(h)) continue;
        const bf16* row = image + static_cast<long long>(from) * w * c;
        const float* filter = weight + static_cast<long long>(ky) * k * c + channel;
        if (k == 7) {
            add_row<7>(low, high, row, filter, start - radius, w, c);
        } else {
            for (int kx = 0; kx < static_cast<int>(k); ++kx)
                add_row<1>(low, high, row, filter + static_cast<long long>(kx) * c, start - radius + kx, w,
                           c);
        }
    }
    bf16* to = out + ((static_cast<long long>(blockIdx.z) * h + y) * w + start) * c + channel;
    UNROLL_FOR (int i = 0; i < STRIP; ++i)
        if (start + i < static_cast<int>(w))
            store_4(to + static_cast<long long>(i) * c, pack_bf16(low[i], high[i]));
}
