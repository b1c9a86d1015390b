// Attention in one pass: out = softmax(scale · q kᵀ [+ bias]) v, with the softmax kept online in f32 so that no
// matrix of scores exists. Every batch entry has its own number of keys.
//
//   out  bf16 [b, lq, heads * DV], contiguous
//   q    bf16, row r of entry i, head h at q + i * q_batch_stride + r * q_row_stride + h * D
//   k    bf16, key j of entry i, head h at k + (key_starts[i] + j) * k_row_stride + h * D
//   v    bf16, likewise with DV; with v_heads == 1 all heads share the values (no h * DV)
//   key_starts  b + 1 row numbers of k and v; entry i has keys key_starts[i] .. key_starts[i + 1]
//
// Strides count elements and are multiples of 8, and q, k, v are multiples of 16 bytes, so that every row can be
// copied in pieces of 16 bytes. scale > 0. An entry without keys gives zeros. Launch with grid
// (ceil(lq / ROWS), heads, b), THREADS threads and SHARED_BYTES of dynamic shared memory.
//
// How: a block owns ROWS queries; each of its warps owns ROW_BLOCKS * 16 of them, with their fragments of q and
// the running output in registers for the whole pass. Keys and values come in tiles of KEYS through two buffers:
// while one is used, cp.async fills the other, so a tile costs one barrier. Within a tile a warp takes SLICE
// keys at a time: scores, softmax, product with the values, all in registers.
//
// What bounds it: one mma (16x8x16) needs one fragment of keys or values, 256 bytes of shared memory, for every
// ROW_BLOCKS mma. An A100's SM does an mma in 2 clocks and reads 128 bytes a clock, so with ROW_BLOCKS = 2 the
// tensor cores are busy twice as long as shared memory, and with 1 equally long (d256_v256, where 32 rows of
// output would not fit the registers). Global traffic of d256_v64: a block does 128 * 640 flops for the 640
// bytes of one key, 128 flops a byte, or about 2.4 TB/s from L2 at 312 Tflop/s. Exponentials: d = 32 does
// 128 flops per score, which takes as long as the score's exponential (16 of those a clock): there, and only
// there, the special function units bound it.
#include "device.cuh"

namespace attention {

constexpr float LOG2_E = 1.4426950408889634f;

template <int D_, int DV_, int ROW_BLOCKS_, int SLICE_, int KEYS_, int WARPS_> struct Shape {
    static constexpr int D = D_, DV = DV_, ROW_BLOCKS = ROW_BLOCKS_, SLICE = SLICE_, KEYS = KEYS_;
    static constexpr int THREADS = WARPS_ * 32;
    static constexpr int ROWS = WARPS_ * ROW_BLOCKS * 16;
    static constexpr int KEY_BYTES = KEYS * D * 2, VALUE_BYTES = KEYS * DV * 2;
    static constexpr int SHARED_BYTES = 2 * (KEY_BYTES + VALUE_BYTES);
    static_assert(D % 32 == 0 && DV % 32 == 0 && SLICE % 16 == 0 && KEYS % SLICE == 0, "whole fragments");
};

using D256V64 = Shape<256, 64, 2, 16, 32, 4>;
using D256V256 = Shape<256, 256, 1, 32, 32, 8>;
using D64V64 = Shape<64, 64, 2, 16, 64, 6>;
using D32V32 = Shape<32, 32, 2, 32, 64, 4>;

struct Inputs {
    const bf16 *q, *k, *v;
    const unsigned* key_starts;
    unsigned lq, heads;
    long long q_batch_stride, q_row_stride, k_row_stride, v_row_stride;
    unsigned v_heads;
    float scale;
};

// bias of entry i, head h, query r, key j: values[i * batch_stride + h * head_stride + r * row_stride + j].
struct Bias {
    const float* values;
    long long batch_stride, head_stride, row_stride;
};

// Unfinished results of a part of the keys, for `attention_combine`.
struct Partial {
    float* out;    // [splits, b, lq, heads * DV], not divided by the sums
    float* maxima; // [splits, b, lq, heads], of score * scale * log2(e); -inf for no keys
    float* sums;   // [splits, b, lq, heads], of 2^(score * scale * log2(e) - maximum)
};

// Rows of 64 bytes or of multiples of 128 lie in shared memory with their 16-byte pieces permuted, so that the 8
// rows of an 8x8 matrix fall into different banks: piece p of row r is at place p ^ permutation(r).
template <int WIDTH> static __device__ __forceinline__ unsigned permutation(unsigned row) {
    return WIDTH >= 64 ? row & 7 : (row >> 1) & 3;
}

// Starts copying rows `first ..` of a [*, WIDTH] matrix into a tile of KEYS rows; rows from `end` on become zeros.
template <int WIDTH, typename S>
static __device__ __forceinline__ void load_tile(unsigned tile, const bf16* rows, long long row_stride,
                                                 unsigned first, unsigned end) {
    constexpr unsigned PIECES = WIDTH / 8, TOTAL = S::KEYS * PIECES;
    UNROLL for (unsigned i = 0; i < (TOTAL + S::THREADS - 1) / S::THREADS; ++i) {
        const unsigned at = i * S::THREADS + threadIdx.x;
        if (TOTAL % S::THREADS != 0 && at >= TOTAL) break;
        const unsigned row = at / PIECES, piece = at % PIECES;
        const bool valid = first + row < end;
        const bf16* from = rows + (valid ? (first + row) * row_stride : 0) + piece * 8;
        cp_async_16(tile + row * (WIDTH * 2) + ((piece ^ permutation<WIDTH>(row)) * 16), from, valid);
    }
}

// The place of piece pair `pair` in a row, for a lane whose `lane_bits` = (odd piece ^ permutation) * 16.
static __device__ __forceinline__ unsigned pair_place(int pair, unsigned lane_bits) {
    return (pair / 4) * 128 + (((pair % 4) * 32) ^ lane_bits);
}

template <typename S, bool HAS_BIAS, bool SPLIT>
static __device__ __forceinline__ void run(bf16* out, const Inputs& in, const Bias& bias, const Partial& partial,
                                           unsigned splits) {
    constexpr int D = S::D, DV = S::DV, ROW_BLOCKS = S::ROW_BLOCKS, SLICE = S::SLICE, KEYS = S::KEYS;
    DYNAMIC_SHARED(shared);
    const unsigned lane = threadIdx.x % 32, group = lane / 4, column = lane % 4 * 2;
    const unsigned head = blockIdx.y;
    const unsigned entry = SPLIT ? blockIdx.z / splits : blockIdx.z;
    const unsigned split = SPLIT ? blockIdx.z % splits : 0;
    const unsigned first_row = blockIdx.x * S::ROWS + threadIdx.x / 32 * (ROW_BLOCKS * 16) + group;

    // The keys `begin .. end` of this block, counted from the entry's first; parts of a split are whole tiles.
    const unsigned start = in.key_starts[entry], keys = in.key_starts[entry + 1] - start;
    unsigned begin = 0, end = keys;
    if (SPLIT) {
        const unsigned tiles = (keys + KEYS - 1) / KEYS, part = (tiles + splits - 1) / splits * KEYS;
        begin = min(split * part, keys), end = min(begin + part, keys);
    }
    const bf16* k = in.k + start * in.k_row_stride + head * D;
    const bf16* v = in.v + start * in.v_row_stride + (in.v_heads == 1 ? 0 : head * DV);
    const unsigned key_tiles = shared_address(shared), value_tiles = key_tiles + 2 * S::KEY_BYTES;
    if (begin < end) {
        load_tile<D, S>(key_tiles, k, in.k_row_stride, begin, end);
        load_tile<DV, S>(value_tiles, v, in.v_row_stride, begin, end);
        cp_async_commit();
    }

    // Queries as fragments of 16x16, once and for all; rows beyond the last are zeros.
    unsigned q[ROW_BLOCKS][D / 16][4];
    const bf16* q_rows = in.q + entry * in.q_batch_stride + head * D + column;
    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
        UNROLL for (int half = 0; half < 2; ++half) {
            const unsigned row = first_row + b * 16 + half * 8;
            const bf16* from = q_rows + (row < in.lq ? row * in.q_row_stride : 0);
            UNROLL for (int step = 0; step < D / 16; ++step) {
                q[b][step][half] = row < in.lq ? load_4(from + step * 16) : 0;
                q[b][step][half + 2] = row < in.lq ? load_4(from + step * 16 + 8) : 0;
            }
        }

    float o[ROW_BLOCKS][DV / 8][4], row_max[ROW_BLOCKS][2], row_sum[ROW_BLOCKS][2];
    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b) {
        row_max[b][0] = row_max[b][1] = MINUS_INFINITY;
        row_sum[b][0] = row_sum[b][1] = 0;
        UNROLL for (int n = 0; n < DV / 8; ++n)
            UNROLL for (int i = 0; i < 4; ++i) o[b][n][i] = 0;
    }

    // Where this lane's row of the 8x8 matrices lies. Keys: matrices are (keys 0-7, 8-15) x (pieces 0, 1), keys
    // slower. Values, transposed on loading: (pieces 0, 1) x (keys 0-7, 8-15), pieces slower.
    const unsigned key_row = lane / 16 * 8 + lane % 8, value_row = lane % 16;
    const unsigned key_bits = ((lane / 8 % 2) ^ permutation<D>(key_row)) * 16;
    const unsigned value_bits = ((lane / 16) ^ permutation<DV>(value_row)) * 16;
    const float scale = in.scale * LOG2_E;

    unsigned buffer = 0;
    for (unsigned tile = begin; tile < end; tile += KEYS, buffer ^= 1) {
        // The tile has arrived for every thread, and nobody still reads the other buffer.
        cp_async_wait<0>();
        __syncthreads();
        if (tile + KEYS < end) {
            const unsigned next = buffer ^ 1;
            load_tile<D, S>(key_tiles + next * S::KEY_BYTES, k, in.k_row_stride, tile + KEYS, end);
            load_tile<DV, S>(value_tiles + next * S::VALUE_BYTES, v, in.v_row_stride, tile + KEYS, end);
            cp_async_commit();
        }
        const unsigned key_tile = key_tiles + buffer * S::KEY_BYTES + key_row * (D * 2);
        const unsigned value_tile = value_tiles + buffer * S::VALUE_BYTES + value_row * (DV * 2);

        UNROLL_NOT for (unsigned slice = 0; slice < KEYS && tile + slice < end; slice += SLICE) {
            // Scores of 16 * ROW_BLOCKS queries x SLICE keys.
            float s[ROW_BLOCKS][SLICE / 8][4];
            UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                UNROLL for (int n = 0; n < SLICE / 8; ++n)
                    UNROLL for (int i = 0; i < 4; ++i) s[b][n][i] = 0;
            UNROLL for (int step = 0; step < D / 16; ++step)
                UNROLL for (int n = 0; n < SLICE / 16; ++n) {
                    unsigned f[4];
                    ldmatrix_x4(f, key_tile + (slice + n * 16) * (D * 2) + pair_place(step, key_bits));
                    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b) {
                        mma_m16n8k16_bf16(s[b][2 * n], q[b][step], f[0], f[1]);
                        mma_m16n8k16_bf16(s[b][2 * n + 1], q[b][step], f[2], f[3]);
                    }
                }

            const unsigned first_key = tile + slice + column;
            if (HAS_BIAS) {
                UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                    UNROLL for (int i = 0; i < 4; ++i) {
                        const unsigned row = min(first_row + b * 16 + i / 2 * 8, in.lq - 1);
                        const float* from = bias.values + entry * bias.batch_stride + head * bias.head_stride +
                                            row * bias.row_stride;
                        UNROLL for (int n = 0; n < SLICE / 8; ++n) {
                            const unsigned key = min(first_key + n * 8 + i % 2, end - 1);
                            s[b][n][i] = fmaf(s[b][n][i], scale, from[key] * LOG2_E);
                        }
                    }
            }
            if (tile + slice + SLICE > end) {
                UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                    UNROLL for (int n = 0; n < SLICE / 8; ++n)
                        UNROLL for (int i = 0; i < 4; ++i)
                            if (first_key + n * 8 + i % 2 >= end) s[b][n][i] = MINUS_INFINITY;
            }

            // New maxima of the rows; what was added up so far shrinks where they grew, which is rare.
            float reference[ROW_BLOCKS][2], correction[ROW_BLOCKS][2];
            bool grew = false;
            UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                UNROLL for (int half = 0; half < 2; ++half) {
                    float m = row_max[b][half];
                    UNROLL for (int n = 0; n < SLICE / 8; ++n)
                        m = fmaxf(m, fmaxf(s[b][n][2 * half], s[b][n][2 * half + 1]));
                    m = fmaxf(m, shuffle_xor(m, 1));
                    m = fmaxf(m, shuffle_xor(m, 2));
                    // With only masked keys so far, compare with 0: (-inf) - (-inf) would be NaN.
                    const float at = m == MINUS_INFINITY ? 0 : (HAS_BIAS ? m : m * scale);
                    const float before = HAS_BIAS ? row_max[b][half] : row_max[b][half] * scale;
                    grew |= m > row_max[b][half];
                    correction[b][half] = exp2_fast(before - at);
                    reference[b][half] = at;
                    row_max[b][half] = m;
                }
            if (warp_any(grew)) {
                UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                    UNROLL for (int half = 0; half < 2; ++half) {
                        row_sum[b][half] *= correction[b][half];
                        UNROLL for (int n = 0; n < DV / 8; ++n) {
                            o[b][n][2 * half] *= correction[b][half];
                            o[b][n][2 * half + 1] *= correction[b][half];
                        }
                    }
            }

            // Probabilities; the result fragments of two 16x8 products are one left fragment of the next.
            unsigned p[ROW_BLOCKS][SLICE / 16][4];
            UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
                UNROLL for (int n = 0; n < SLICE / 8; ++n)
                    UNROLL for (int half = 0; half < 2; ++half) {
                        float(&x)[4] = s[b][n];
                        const float at = reference[b][half];
                        const float x0 = exp2_fast(HAS_BIAS ? x[2 * half] - at : fmaf(x[2 * half], scale, -at));
                        const float x1 =
                            exp2_fast(HAS_BIAS ? x[2 * half + 1] - at : fmaf(x[2 * half + 1], scale, -at));
                        row_sum[b][half] += x0 + x1;
                        p[b][n / 2][n % 2 * 2 + half] = pack_bf16(x0, x1);
                    }
            UNROLL for (int step = 0; step < SLICE / 16; ++step)
                UNROLL for (int n = 0; n < DV / 16; ++n) {
                    unsigned f[4];
                    ldmatrix_x4_trans(f, value_tile + (slice + step * 16) * (DV * 2) + pair_place(n, value_bits));
                    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b) {
                        mma_m16n8k16_bf16(o[b][2 * n], p[b][step], f[0], f[1]);
                        mma_m16n8k16_bf16(o[b][2 * n + 1], p[b][step], f[2], f[3]);
                    }
                }
        }
    }

    // Each lane of four added up its own columns only.
    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
        UNROLL for (int half = 0; half < 2; ++half) {
            row_sum[b][half] += shuffle_xor(row_sum[b][half], 1);
            row_sum[b][half] += shuffle_xor(row_sum[b][half], 2);
        }
    UNROLL for (int b = 0; b < ROW_BLOCKS; ++b)
        UNROLL for (int half = 0; half < 2; ++half) {
            const float sum = row_sum[b][half];
            const unsigned row = first_row + b * 16 + half * 8;
            if (row >= in.lq) continue;
            if (SPLIT) {
                const unsigned entries = gridDim.z / splits;
                const long long at =
                    (static_cast<long long>(split * entries + entry) * in.lq + row) * in.heads + head;
                if (column == 0) {
                    partial.maxima[at] = row_max[b][half] * scale;
                    partial.sums[at] = sum;
                }
                float* to = partial.out + at * DV + column;
                UNROLL for (int n = 0; n < DV / 8; ++n) {
                    to[n * 8] = o[b][n][2 * half];
                    to[n * 8 + 1] = o[b][n][2 * half + 1];
                }
            } else {
                const float inverse = sum > 0 ? 1 / sum : 0;
                bf16* to = out + ((static_cast<long long>(entry) * in.lq + row) * in.heads + head) * DV + column;
                UNROLL for (int n = 0; n < DV / 8; ++n)
                    store_4(to + n * 8, pack_bf16(o[b][n][2 * half] * inverse, o[b][n][2 * half + 1] * inverse));
            }
        }
}

} // namespace attention

#define ATTENTION_INPUTS                                                                                         \
    const bf16 *q, const bf16 *k, const bf16 *v, const unsigned *key_starts, unsigned lq, unsigned heads,        \
        long long q_batch_stride, long long q_row_stride, long long k_row_stride, long long v_row_stride,        \
        unsigned v_heads, float scale
#define ATTENTION_PASS                                                                                           \
    {q, k, v, key_starts, lq, heads, q_batch_stride, q_row_stride, k_row_stride, v_row_stride, v_heads, scale}

// 128 queries a block; the tracker's memory attention, one head of 256 whose values have 64 channels.
extern "C" __global__ void __launch_bounds__(attention::D256V64::THREADS, 2)
    attention_d256_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries a block.
extern "C" __global__ void __launch_bounds__(attention::D256V256::THREADS, 1)
    attention_d256_v256(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V256, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 192 queries a block, which divides both the windows of 576 and the whole map of 5184.
extern "C" __global__ void __launch_bounds__(attention::D64V64::THREADS, 2)
    attention_d64_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D64V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries a block.
extern "C" __global__ void __launch_bounds__(attention::D32V32::THREADS, 4)
    attention_d32_v32(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D32V32, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// The same with `bias` f32 added to the scaled scores; -inf masks a key. A stride of 0 repeats the bias along
// that axis. A query without any key left gives zeros.
extern "C" __global__ void __launch_bounds__(attention::D32V32::THREADS, 3)
    attention_bias_d32_v32(bf16* out, ATTENTION_INPUTS, const float* bias, long long bias_batch_stride,
                           long long bias_head_stride, long long bias_row_stride) {
    const attention::Bias added = {bias, bias_batch_stride, bias_head_stride, bias_row_stride};
    attention::run<attention::D32V32, true, false>(out, ATTENTION_PASS, added, {}, 1);
}

// attention_d256_v64 with every entry's keys in `splits` parts, for grids too small to fill a card: grid
// (ceil(lq / 128), heads, b * splits). `attention_combine` makes the result.
extern "C" __global__ void __launch_bounds__(attention::D256V64::THREADS, 2)
    attention_d256_v64_split(float* partial_out, float* maxima, float* sums, ATTENTION_INPUTS, unsigned splits) {
    attention::run<attention::D256V64, false, true>(nullptr, ATTENTION_PASS, {}, {partial_out, maxima, sums},
                                                    splits);
}

// out bf16 [rows, dv] from partial_out [splits, rows, dv], maxima and sums [splits, rows], where rows is
// b * lq * heads and dv is even. A thread makes two channels: grid ceil(rows * dv / 2 / threads), any block.
extern "C" __global__ void attention_combine(bf16* out, const float* partial_out, const float* maxima,
                                             const float* sums, unsigned rows, unsigned dv, unsigned splits) {
    const long long at = thread_in_grid(), pairs = dv / 2;
    if (at >= rows * pairs) return;
    const long long row = at / pairs, total = static_cast<long long>(rows) * dv;
    float top = MINUS_INFINITY;
    for (unsigned i = 0; i < splits; ++i) top = fmaxf(top, maxima[i * static_cast<long long>(rows) + row]);
    float sum = 0, low = 0, high = 0;
    for (unsigned i = 0; i < splits; ++i) {
        const float maximum = maxima[i * static_cast<long long>(rows) + row];
        const float weight = maximum == MINUS_INFINITY ? 0 : exp2_fast(maximum - top);
        sum += weight * sums[i * static_cast<long long>(rows) + row];
        low += weight * partial_out[i * total + at * 2];
        high += weight * partial_out[i * total + at * 2 + 1];
    }
    const float inverse = sum > 0 ? 1 / sum : 0;
    store_4(out + at * 2, pack_bf16(low * inverse, high * inverse));
}
