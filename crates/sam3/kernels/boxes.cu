// Position features of the detector's queries, computed from boxes (cx, cy, w, h in 0..1, f32 [n, 4]): sine embeddings,
// distances to the cells of the grid, the attention bias, and refined boxes. A thread computes a number or a pair.
#include "device.cuh"

// out bf16 [n, 8 * pairs]: sine and cosine of 2 pi times y, x, w and h, in this order, divided by each of the
// wavelengths [pairs]. Grid ceil(n * 4 * pairs / threads).
extern "C" __global__ void box_sine_bf16(bf16* out, const float* boxes, const float* wavelengths, unsigned n,
                                         unsigned pairs) {
    const unsigned i = thread_in_grid(), box = i / (4 * pairs), side = i / pairs % 4;
    if (box >= n) return;
    const float half_turns = boxes[box * 4 + (side < 2 ? 1 - side : side)] * 2 / wavelengths[i % pairs];
    out[2 * i] = float_to_bf16(sin_pi(half_turns));
    out[2 * i + 1] = float_to_bf16(cos_pi(half_turns));
}

// out bf16 [2, n, side, 2]: along x and then along y, the distance d from both edges of each box to the start of each
// grid cell, as sign(8d) log8(1 + |8d|). Grid ceil(2 * n * side / threads).
extern "C" __global__ void box_distances_bf16(bf16* out, const float* boxes, unsigned n, unsigned side) {
    const unsigned i = thread_in_grid(), axis = i / (n * side), box = i / side % n;
    if (axis >= 2) return;
    const float cell = static_cast<float>(i % side) * (1.0f / static_cast<float>(side));
    const float centre = boxes[box * 4 + axis], half = boxes[box * 4 + 2 + axis] * 0.5f;
    UNROLL_FOR (int end = 0; end < 2; ++end) {
        const float scaled = (cell - (end == 0 ? centre - half : centre + half)) * 8;
        const float magnitude = logf(fabsf(scaled) + 1) / 2.0794415416798359f;
        out[2 * i + end] = float_to_bf16(scaled < 0 ? -magnitude : magnitude);
    }
}

// out f32 [heads, 1 + n, side, side]: 0 for the first query, then y[q, row, head] + x[q, column, head], where x and y
// are bf16 [n, side, heads]. Grid (ceil((1 + n) * side * side / threads), heads).
extern "C" __global__ void box_bias_f32(float* out, const bf16* x, const bf16* y, unsigned n, unsigned side,
                                        unsigned heads) {
    const unsigned i = thread_in_grid(), query = i / (side * side), head = blockIdx.y;
    if (query > n) return;
    float bias = 0;
    if (query > 0) {
        const unsigned first = (query - 1) * side, row = i / side % side, column = i % side;
        bias = bf16_to_float(y[(first + row) * heads + head]) +
               bf16_to_float(x[(first + column) * heads + head]);
    }
    out[static_cast<long long>(head) * (n + 1) * side * side + i] = bias;
}

// out f32 [n]: coordinates of boxes moved in logit space, sigmoid(delta + logit(box)), where the logit's argument is
// clamped to 1e-3 from 0 and 1. Grid ceil(n / threads).
extern "C" __global__ void refine_boxes_f32(float* out, const float* boxes, const bf16* deltas, unsigned n) {
    const unsigned i = thread_in_grid();
    if (i >= n) return;
    const float box = fminf(fmaxf(boxes[i], 0), 1);
    const float logit = logf(fmaxf(box, 1e-3f) / fmaxf(1 - box, 1e-3f));
    out[i] = 1 / (1 + expf(-(bf16_to_float(deltas[i]) + logit)));
}
