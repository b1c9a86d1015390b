// Elementwise operations between matrix products: bias and activation, bias and residual, addition of a repeating
// operand, and concatenation of sequences. Tensors are contiguous and 16-byte aligned; arithmetic is f32. Bound by memory
// bandwidth.
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
// (with erf), 3 sigmoid. out may be x. A thread computes 8 numbers. Grid ceil(rows * n / 8 / threads).
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

// out[i] = a[i] + b[i % period], bf16, for `total` numbers. out may be a. Grid ceil(total / 8 / threads).
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

// out = x + bias + residual: x bf16 [rows, n], bias [n], n a multiple of 8; row r adds row r % period of the residual.
// With a window, x is in the order of windows, and out and the residual are images of width `width`. Grid
// ceil(rows * n / 8 / threads).
extern "C" __global__ void bias_add_bf16(bf16* out, const bf16* x, const bf16* bias, const bf16* residual,
                                         unsigned rows, unsigned n, unsigned period, unsigned width,
                                         unsigned window) {
    const unsigned row = thread_in_grid() / (n / 8), column = thread_in_grid() % (n / 8) * 8;
    if (row >= rows) return;
    const unsigned to = window_to_image(row, width, window);
    float values[8], added[8], before[8];
    unpack_8(values, load_16(x + static_cast<long long>(row) * n + column));
    unpack_8(added, load_16(bias + column));
    unpack_8(before, load_16(residual + static_cast<long long>(to % period) * n + column));
    UNROLL_FOR (int i = 0; i < 8; ++i) values[i] = values[i] + added[i] + before[i];
    store_16(out + static_cast<long long>(to) * n + column, pack_8(values));
}

// A sequence to be concatenated by `cat_with_positions_bf16`, as an entry of its table.
struct SequencePart {
    const bf16* rows;      // [count, n]
    const bf16* positions; // [period, n]; row r takes row r % period
    long long first;       // the first row in the result
    long long count, period;
};

// rows [sum of counts, n], n a multiple of 8: the concatenated parts. placed: the same with their positions added. Grid
// (parts, any).
extern "C" __global__ void cat_with_positions_bf16(bf16* rows, bf16* placed, const SequencePart* parts,
                                                   unsigned n) {
    const SequencePart part = parts[blockIdx.x];
    const long long vectors = part.count * (n / 8);
    for (long long i = blockIdx.y * blockDim.x + threadIdx.x; i < vectors; i += gridDim.y * blockDim.x) {
        const long long row = i / (n / 8), column = i % (n / 8) * 8;
        const uint4 packed = load_16(part.rows + row * n + column);
        float values[8], added[8];
        unpack_8(values, packed);
        unpack_8(added, load_16(part.positions + row % part.period * n + column));
        UNROLL_FOR (int k = 0; k < 8; ++k) values[k] += added[k];
        const long long to = (part.first + row) * n + column;
        store_16(rows + to, packed), store_16(placed + to, pack_8(values));
    }
}
