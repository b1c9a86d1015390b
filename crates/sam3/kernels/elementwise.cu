// Small steps between the products: bias with activation, sums with a repeating operand, and the softmax of
// rows. Tensors are contiguous and aligned to 16 bytes; arithmetic is f32. Bound by memory.
#include "device.cuh"

namespace elementwise {

constexpr unsigned RELU = 1, GELU = 2, SIGMOID = 3;

static __device__ __forceinline__ float activate(float x, unsigned kind) {
    if (kind == RELU) return fmaxf(x, 0);
    if (kind == GELU) return 0.5f * x * (1 + erff(x * 0.70710678118654752f));
    if (kind == SIGMOID) return 1 / (1 + expf(-x));
    return x;
}

} // namespace elementwise

// out = activation(x + bias): out, x bf16 [rows, n], bias bf16 [n] or null; activation 0 none, 1 ReLU, 2 GELU
// (by erf), 3 sigmoid. out may be x. A thread does 8 numbers: grid ceil(rows * n / 8 / threads).
extern "C" __global__ void bias_activation_bf16(bf16* out, const bf16* x, const bf16* bias, unsigned rows,
                                                unsigned n, unsigned activation) {
    const long long first = thread_in_grid() * 8ll, total = static_cast<long long>(rows) * n;
    if (first >= total) return;
    if (n % 8 == 0) {
        const unsigned column = thread_in_grid() % (n / 8) * 8;
        float values[8], added[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        unpack_8(values, load_16(x + first));
        if (bias) unpack_8(added, load_16(bias + column));
        UNROLL_FOR (int i = 0; i < 8; ++i)
            values[i] = elementwise::activate(values[i] + added[i], activation);
        store_16(out + first, pack_8(values));
        return;
    }
    for (long long i = first; i < min(first + 8, total); ++i) {
        const float added = bias ? bf16_to_float(bias[i % n]) : 0;
        out[i] = float_to_bf16(elementwise::activate(bf16_to_float(x[i]) + added, activation));
    }
}

// out[i] = a[i] + b[i % period], bf16, total numbers. out may be a. Grid ceil(total / 8 / threads).
extern "C" __global__ void add_bf16(bf16* out, const bf16* a, const bf16* b, long long total,
                                    long long period) {
    const long long first = thread_in_grid() * 8ll;
    if (first >= total) return;
    if (total % 8 == 0 && period % 8 == 0) {
        float x[8], y[8];
        unpack_8(x, load_16(a + first));
        unpack_8(y, load_16(b + thread_in_grid() % static_cast<unsigned>(period / 8) * 8ll));
        UNROLL_FOR (int i = 0; i < 8; ++i) x[i] += y[i];
        store_16(out + first, pack_8(x));
        return;
    }
    for (long long i = first; i < min(first + 8, total); ++i)
        out[i] = float_to_bf16(bf16_to_float(a[i]) + bf16_to_float(b[i % period]));
}

// Row by row out = softmax(scores * scale + bias): scores f32 [rows, n] -> out bf16 [rows, n]. Row r adds the
// n numbers at bias + r / period * bias_outer_stride + r % period * bias_inner_stride (bias f32 or null; -inf
// masks; a row with nothing left gives zeros). A block does a row: grid rows, up to 256 threads.
extern "C" __global__ void __launch_bounds__(256)
    softmax_rows(bf16* out, const float* scores, const float* bias, unsigned n, float scale, unsigned period,
                 long long bias_outer_stride, long long bias_inner_stride) {
    STATIC_SHARED(float, maxima, 8);
    STATIC_SHARED(float, sums, 8);
    const unsigned row = blockIdx.x, warps = blockDim.x / 32;
    const float* from = scores + static_cast<long long>(row) * n;
    const float* added =
        bias ? bias + row / period * bias_outer_stride + row % period * bias_inner_stride : bias;
    float top = MINUS_INFINITY, sum = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
        const float x = from[i] * scale + (added ? added[i] : 0);
        if (x > top) sum *= expf(top - x), top = x;
        if (x != MINUS_INFINITY) sum += expf(x - top);
    }
    // The maximum of the warp, then of the block; sums follow the maximum they are relative to.
    const float warp_top = warp_max(top);
    const float part = warp_sum(top == MINUS_INFINITY ? 0 : sum * expf(top - warp_top));
    if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = warp_top, sums[threadIdx.x / 32] = part;
    __syncthreads();
    top = MINUS_INFINITY, sum = 0;
    for (unsigned i = 0; i < warps; ++i) top = fmaxf(top, maxima[i]);
    for (unsigned i = 0; i < warps; ++i)
        if (maxima[i] != MINUS_INFINITY) sum += sums[i] * expf(maxima[i] - top);
    const float inverse = sum > 0 ? 1 / sum : 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
        const float x = from[i] * scale + (added ? added[i] : 0);
        out[static_cast<long long>(row) * n + i] =
            float_to_bf16(x == MINUS_INFINITY ? 0 : expf(x - top) * inverse);
    }
}
