// Resizes 8-bit RGB images in fixed point, columns first, rounded to 8 bits in between, and then normalises. The result
// equals that of a CPU with the same weights bit for bit: all sums are of integers, and the normalisation is one
// subtraction and one division in f32.
//
// An axis is described by three tables of i32. For output position i they are the first input sample, first[i], the
// number of samples, count[i], and the weights from weights + i * pitch, in units of 2^-precision. An axis that keeps its
// size needs tables as well (first[i] = i, count[i] = 1, weight 2^precision), but the pass over columns may be omitted.
#include "device.cuh"

namespace resize {

static __device__ __forceinline__ int to_byte(int sum, unsigned precision) {
    return min(max(sum >> precision, 0), 255);
}

} // namespace resize

// out u8 [h, ow, 3] from rgb u8 [h, w, 3]. Grid (ceil(ow / threads), h).
extern "C" __global__ void resize_columns_u8(unsigned char* out, const unsigned char* rgb, const int* first,
                                             const int* count, const int* weights, unsigned pitch,
                                             unsigned precision, unsigned w, unsigned ow) {
    const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= ow) return;
    const unsigned char* from = rgb + (static_cast<long long>(blockIdx.y) * w + first[column]) * 3;
    const int* weight = weights + static_cast<long long>(column) * pitch;
    const int half = 1 << (precision - 1), taps = count[column];
    int sums[3] = {half, half, half};
    for (int i = 0; i < taps; ++i)
        UNROLL_FOR (int c = 0; c < 3; ++c) sums[c] += from[i * 3 + c] * weight[i];
    unsigned char* to = out + (static_cast<long long>(blockIdx.y) * ow + column) * 3;
    UNROLL_FOR (int c = 0; c < 3; ++c)
        to[c] = static_cast<unsigned char>(resize::to_byte(sums[c], precision));
}

namespace resize {

// The value at `column` (of ow * 3) of output row blockIdx.y: resized, then (x - mean) / std of its channel.
static __device__ __forceinline__ float row_value(const unsigned char* wide, const int* first,
                                                  const int* count, const int* weights, unsigned pitch,
                                                  unsigned precision, unsigned ow, unsigned column,
                                                  const float (&mean)[3], const float (&deviation)[3]) {
    const unsigned row = blockIdx.y, width = ow * 3;
    const unsigned char* from = wide + static_cast<long long>(first[row]) * width + column;
    const int* weight = weights + static_cast<long long>(row) * pitch;
    const int taps = count[row];
    int sum = 1 << (precision - 1);
    for (int i = 0; i < taps; ++i) sum += from[static_cast<long long>(i) * width] * weight[i];
    const unsigned c = column % 3;
    const float m = c == 0 ? mean[0] : c == 1 ? mean[1] : mean[2];
    const float d = c == 0 ? deviation[0] : c == 1 ? deviation[1] : deviation[2];
    return (static_cast<float>(to_byte(sum, precision)) - m) / d;
}

} // namespace resize

#define RESIZE_ROWS                                                                                          \
    const unsigned char *wide, const int *first, const int *count, const int *weights, unsigned pitch,       \
        unsigned precision, unsigned ow, float mean0, float mean1, float mean2, float std0, float std1,      \
        float std2

// out f32 [oh, ow, 3] from wide u8 [h, ow, 3]. Grid (ceil(ow * 3 / threads), oh).
extern "C" __global__ void resize_rows_f32(float* out, RESIZE_ROWS) {
    const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= ow * 3) return;
    out[static_cast<long long>(blockIdx.y) * ow * 3 + column] = resize::row_value(
        wide, first, count, weights, pitch, precision, ow, column, {mean0, mean1, mean2}, {std0, std1, std2});
}

// The same rounded to bf16.
extern "C" __global__ void resize_rows_bf16(bf16* out, RESIZE_ROWS) {
    const unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= ow * 3) return;
    out[static_cast<long long>(blockIdx.y) * ow * 3 + column] =
        float_to_bf16(resize::row_value(wide, first, count, weights, pitch, precision, ow, column,
                                        {mean0, mean1, mean2}, {std0, std1, std2}));
}
