// Normalisation of bf16 activations with statistics in f32: over the rows of a matrix, and over groups of channels of an
// image (followed by ReLU). All tensors are contiguous and 16-byte aligned. Bound by memory bandwidth: a row is read once
// if it fits in a warp's registers, and otherwise again from the L1 cache.
#include "device.cuh"

namespace normalise {

// A row of up to 1024 numbers in the registers of a warp: vector i of lane l is the row's vector i * 32 + l.
constexpr int VECTORS = 4;

static __device__ __forceinline__ void row_in_registers(bf16* out, const bf16* x, const float* weight,
                                                        const float* bias, unsigned n, float eps) {
    const unsigned lane = threadIdx.x % 32, vectors = n / 8;
    float row[VECTORS][8], sum = 0, square = 0;
    UNROLL_FOR (int i = 0; i < VECTORS; ++i) {
        const unsigned at = i * 32 + lane;
        uint4 packed = {0, 0, 0, 0};
        if (at < vectors) packed = load_16(x + at * 8);
        unpack_8(row[i], packed);
        UNROLL_FOR (int j = 0; j < 8; ++j) sum += row[i][j];
    }
    const float mean = warp_sum(sum) / n;
    UNROLL_FOR (int i = 0; i < VECTORS; ++i) {
        if (i * 32 + lane >= vectors) continue;
        UNROLL_FOR (int j = 0; j < 8; ++j) square += (row[i][j] - mean) * (row[i][j] - mean);
    }
    const float inverse = 1 / sqrtf(warp_sum(square) / n + eps);
    UNROLL_FOR (int i = 0; i < VECTORS; ++i) {
        const unsigned at = (i * 32 + lane) * 8;
        if (at >= n) continue;
        float w[8], b[8];
        load_floats(w, weight + at), load_floats(b, bias + at);
        UNROLL_FOR (int j = 0; j < 8; ++j) row[i][j] = (row[i][j] - mean) * inverse * w[j] + b[j];
        store_16(out + at, pack_8(row[i]));
    }
}

// The same for longer rows, which are read again in every pass.
static __device__ __forceinline__ void row_in_vectors(bf16* out, const bf16* x, const float* weight,
                                                      const float* bias, unsigned n, float eps) {
    const unsigned lane = threadIdx.x % 32;
    float values[8], sum = 0, square = 0;
    for (unsigned at = lane * 8; at < n; at += 256) {
        unpack_8(values, load_16(x + at));
        UNROLL_FOR (int j = 0; j < 8; ++j) sum += values[j];
    }
    const float mean = warp_sum(sum) / n;
    for (unsigned at = lane * 8; at < n; at += 256) {
        unpack_8(values, load_16(x + at));
        UNROLL_FOR (int j = 0; j < 8; ++j) square += (values[j] - mean) * (values[j] - mean);
    }
    const float inverse = 1 / sqrtf(warp_sum(square) / n + eps);
    for (unsigned at = lane * 8; at < n; at += 256) {
        unpack_8(values, load_16(x + at));
        float w[8], b[8];
        load_floats(w, weight + at), load_floats(b, bias + at);
        UNROLL_FOR (int j = 0; j < 8; ++j) values[j] = (values[j] - mean) * inverse * w[j] + b[j];
        store_16(out + at, pack_8(values));
    }
}

static __device__ __forceinline__ void row_of_any_length(bf16* out, const bf16* x, const float* weight,
                                                         const float* bias, unsigned n, float eps) {
    const unsigned lane = threadIdx.x % 32;
    float sum = 0, square = 0;
    for (unsigned i = lane; i < n; i += 32) sum += bf16_to_float(x[i]);
    const float mean = warp_sum(sum) / n;
    for (unsigned i = lane; i < n; i += 32) {
        const float centred = bf16_to_float(x[i]) - mean;
        square += centred * centred;
    }
    const float inverse = 1 / sqrtf(warp_sum(square) / n + eps);
    for (unsigned i = lane; i < n; i += 32)
        out[i] = float_to_bf16((bf16_to_float(x[i]) - mean) * inverse * weight[i] + bias[i]);
}

} // namespace normalise

// out, x bf16 [rows, n]; weight, bias f32 [n]; any n, multiples of 8 are faster. A warp computes a row. Grid
// ceil(rows / (threads / 32)).
extern "C" __global__ void __launch_bounds__(256)
    layer_norm_bf16(bf16* out, const bf16* x, const float* weight, const float* bias, unsigned rows,
                    unsigned n, float eps) {
    const unsigned row = thread_in_grid() / 32;
    if (row >= rows) return;
    const long long at = static_cast<long long>(row) * n;
    if (n % 8 == 0 && n <= normalise::VECTORS * 256) {
        normalise::row_in_registers(out + at, x + at, weight, bias, n, eps);
    } else if (n % 8 == 0) {
        normalise::row_in_vectors(out + at, x + at, weight, bias, n, eps);
    } else {
        normalise::row_of_any_length(out + at, x + at, weight, bias, n, eps);
    }
}

// Statistics of x bf16 [pixels, channels] for chunks of `pixels_per_chunk` pixels: partials f32
// [groups, chunks, 2] are the mean and the sum of squared distances from it. Grid (chunks, groups), 256
// threads. The second pass over a chunk reads from the cache if chunks are small, for example 1024 pixels.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_statistics_bf16(float* partials, const bf16* x, unsigned pixels, unsigned channels,
                               unsigned groups, unsigned pixels_per_chunk) {
    STATIC_SHARED(float, sums, 8);
    const unsigned width = channels / groups, first = blockIdx.x * pixels_per_chunk;
    const unsigned count = min(pixels_per_chunk, pixels - first) * width;
    const bf16* from = x + static_cast<long long>(first) * channels + blockIdx.y * width;
    float mean = 0, total = 0;
    for (int pass = 0; pass < 2; ++pass) {
        float sum = 0;
        for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
            const float value = bf16_to_float(from[static_cast<long long>(i / width) * channels + i % width]);
            sum += pass == 0 ? value : (value - mean) * (value - mean);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
        __syncthreads();
        total = 0;
        for (unsigned i = 0; i < blockDim.x / 32; ++i) total += sums[i];
        if (pass == 0) mean = total / count;
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        float* to = partials + (blockIdx.y * gridDim.x + blockIdx.x) * 2;
        to[0] = mean, to[1] = total;
    }
}

// out = max(0, (x - mean) / sqrt(variance + eps) * weight + bias) with the `partials` of the kernel above for the same
// chunks; weight, bias f32 [channels], channels a multiple of 8, groups <= 64. A thread computes 8 channels at a time.
// Any grid, 256 threads. A few blocks per SM are best, because each block first combines all chunks.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_relu_bf16(bf16* out, const bf16* x, const float* partials, const float* weight,
                         const float* bias, unsigned pixels, unsigned channels, unsigned groups,
                         unsigned pixels_per_chunk, unsigned chunks, float eps) {
    STATIC_SHARED(float, means, 64);
    STATIC_SHARED(float, inverses, 64);
    const unsigned width = channels / groups, lane = threadIdx.x % 32;
    for (unsigned group = threadIdx.x / 32; group < groups; group += blockDim.x / 32) {
        const float* from = partials + group * chunks * 2;
        const float all = static_cast<float>(pixels) * width;
        float sum = 0, square = 0;
        for (unsigned i = lane; i < chunks; i += 32)
            sum += from[2 * i] * (min(pixels_per_chunk, pixels - i * pixels_per_chunk) * width / all);
        const float mean = warp_sum(sum);
        for (unsigned i = lane; i < chunks; i += 32) {
            const float count = min(pixels_per_chunk, pixels - i * pixels_per_chunk) * width;
            square += from[2 * i + 1] + count * (from[2 * i] - mean) * (from[2 * i] - mean);
        }
        const float variance = warp_sum(square) / all;
        if (lane == 0) means[group] = mean, inverses[group] = 1 / sqrtf(variance + eps);
    }
    __syncthreads();
    const long long vectors = static_cast<long long>(pixels) * channels / 8;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long at = thread_in_grid(); at < vectors; at += step) {
        const unsigned channel = static_cast<unsigned>(at) % (channels / 8) * 8;
        float values[8], w[8], b[8];
        unpack_8(values, load_16(x + at * 8));
        load_floats(w, weight + channel), load_floats(b, bias + channel);
        UNROLL_FOR (int j = 0; j < 8; ++j) {
            const unsigned group = (channel + j) / width;
            const float y = (values[j] - means[group]) * inverses[group] * w[j] + b[j];
            values[j] = fmaxf(y, 0);
        }
        store_16(out + at * 8, pack_8(values));
    }
}
