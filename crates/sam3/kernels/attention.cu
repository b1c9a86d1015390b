// Attention in one pass: out = softmax(scale · q kᵀ [+ bias]) v, with the softmax kept online in f32 so that
// no matrix of scores exists. Every batch entry has its own number of keys.
//
//   out  bf16 [b, lq, heads * DV], contiguous
//   q    bf16, row r of entry i, head h at q + i * q_batch_stride + r * q_row_stride + h * D
//   k    bf16, key j of entry i, head h at k + (key_starts[i] + j) * k_row_stride + h * D
//   v    bf16, likewise with DV; with v_heads == 1 all heads share the values (no h * DV)
//   key_starts  b + 1 row numbers of k and v; entry i has keys key_starts[i] .. key_starts[i + 1]
//
// Strides count elements and are multiples of 8, and q, k, v are multiples of 16 bytes, so that every row can
// be copied in pieces of 16 bytes. scale > 0. An entry without keys gives zeros. Launch with grid (ceil(lq /
// ROWS), heads, b), THREADS threads and SHARED_BYTES of dynamic shared memory.
//
// How: a block owns ROWS queries; each of its warps owns ROW_BLOCKS * 16 of them, with their fragments of q
// and the running output in registers for the whole pass. Keys and values come in tiles of KEYS through two
// buffers: while one is used, cp.async fills the other, so a tile costs one barrier. Within a tile a warp
// takes SLICE keys at a time: scores, softmax, product with the values, all in registers.
//
// What bounds it: one mma (16x8x16) needs one fragment of keys or values, 256 bytes of shared memory, for
// every ROW_BLOCKS mma. An A100's SM does an mma in 2 clocks and reads 128 bytes a clock, so with ROW_BLOCKS
// = 2 the tensor cores are busy twice as long as shared memory, and with 1 equally long (d256_v256, where 32
// rows of output would not fit the registers). Global traffic of d256_v64: a block does 128 * 640 flops for
// the 640 bytes of one key, 128 flops a byte, or about 2.4 TB/s from L2 at 312 Tflop/s. Exponentials: d = 32
// does 128 flops per score, which takes as long as the score's exponential (16 of those a clock): there, and
// only there, the special function units bound it.
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

// Rows of 64 bytes or of multiples of 128 lie in shared memory with their 16-byte pieces permuted, so that
// the 8 rows of an 8x8 matrix fall into different banks: piece p of row r is at place p ^ permutation(r).
template <int WIDTH> static __device__ __forceinline__ unsigned permutation(unsigned row) {
    return WIDTH >= 64 ? row & 7 : (row >> 1) & 3;
}

// Starts copying rows `first ..` of a [*, WIDTH] matrix into a tile of KEYS rows; rows from `end` on become
// zeros. A thread copies the same piece of every STEP-th row, so that only the row's address changes.
template <int WIDTH, typename S>
static __device__ __forceinline__ void load_tile(unsigned tile, const bf16* rows, long long row_stride,
                                                 unsigned first, unsigned end) {
    constexpr unsigned PIECES = WIDTH / 8, STEP = S::THREADS / PIECES;
    static_assert(S::THREADS % PIECES == 0 && (STEP % 8 == 0 || STEP == 4), "see `place`");
    const unsigned row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const bf16* from = rows + (first + row) * row_stride + piece * 8;
    const unsigned place = (piece ^ permutation<WIDTH>(row)) * 16, to = tile + row * (WIDTH * 2);
    UNROLL_FOR (unsigned i = 0; i < S::KEYS; i += STEP) {
        if (S::KEYS % STEP != 0 && row + i >= S::KEYS) break;
        // permutation(row + i) = permutation(row) ^ permutation(i): either STEP keeps it or row < 4 = STEP.
        cp_async_16(to + i * (WIDTH * 2) + (place ^ permutation<WIDTH>(i) * 16), from, first + row + i < end);
        from += STEP * row_stride;
    }
}

// The place of piece pair `pair` in a row, for a lane whose `lane_bits` = (odd piece ^ permutation) * 16.
static __device__ __forceinline__ unsigned pair_place(int pair, unsigned lane_bits) {
    return (pair / 4) * 128 + (((pair % 4) * 32) ^ lane_bits);
}

// What a warp keeps in registers: for each 16 of its queries their fragments, the unfinished output, and of
// rows lane / 4 and lane / 4 + 8 the maximum so far (of score * scale * log2(e), or with a bias of the sum in
// units of log2) and the sum of the weights in this lane's columns.
template <typename S> struct Rows {
    unsigned q[S::ROW_BLOCKS][S::D / 16][4];
    float out[S::ROW_BLOCKS][S::DV / 8][4];
    float maximum[S::ROW_BLOCKS][2], sum[S::ROW_BLOCKS][2];
};

template <typename S> using Scores = float[S::ROW_BLOCKS][S::SLICE / 8][4];

// Reads the queries from `first_row` on, eight rows apart; rows beyond the last are zeros.
template <typename S>
static __device__ __forceinline__ void start_rows(Rows<S>& rows, const bf16* q, long long row_stride,
                                                  unsigned first_row, unsigned lq) {
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int half = 0; half < 2; ++half) {
            const unsigned row = first_row + b * 16 + half * 8;
            const bf16* from = q + (row < lq ? row * row_stride : 0);
            UNROLL_FOR (int step = 0; step < S::D / 16; ++step) {
                rows.q[b][step][half] = row < lq ? load_4(from + step * 16) : 0;
                rows.q[b][step][half + 2] = row < lq ? load_4(from + step * 16 + 8) : 0;
            }
            rows.maximum[b][half] = MINUS_INFINITY;
            rows.sum[b][half] = 0;
        }
        UNROLL_FOR (int n = 0; n < S::DV / 8; ++n)
            UNROLL_FOR (int i = 0; i < 4; ++i) rows.out[b][n][i] = 0;
    }
}

// Products of the queries with SLICE keys, `keys` being this lane's row of the first.
template <typename S>
static __device__ __forceinline__ void multiply_keys(Scores<S>& scores, const Rows<S>& rows, unsigned keys,
                                                     unsigned lane_bits) {
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b)
        UNROLL_FOR (int n = 0; n < S::SLICE / 8; ++n)
            UNROLL_FOR (int i = 0; i < 4; ++i) scores[b][n][i] = 0;
    UNROLL_FOR (int step = 0; step < S::D / 16; ++step) {
        UNROLL_FOR (int n = 0; n < S::SLICE / 16; ++n) {
            unsigned f[4];
            ldmatrix_x4(f, keys + n * 16 * (S::D * 2) + pair_place(step, lane_bits));
            UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
                mma_m16n8k16_bf16(scores[b][2 * n], rows.q[b][step], f[0], f[1]);
                mma_m16n8k16_bf16(scores[b][2 * n + 1], rows.q[b][step], f[2], f[3]);
            }
        }
    }
}

// Scores in units of log2: times `scale`, plus the bias of the rows from `first_row` and the keys from
// `first_key` on. Rows and keys beyond the last take the bias of the last; nothing uses them.
template <typename S>
static __device__ __forceinline__ void add_bias(Scores<S>& scores, const float* bias, long long row_stride,
                                                unsigned first_row, unsigned lq, unsigned first_key,
                                                unsigned end, float scale) {
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int i = 0; i < 4; ++i) {
            const float* from = bias + min(first_row + b * 16 + i / 2 * 8, lq - 1) * row_stride;
            UNROLL_FOR (int n = 0; n < S::SLICE / 8; ++n) {
                const float added = from[min(first_key + n * 8 + i % 2, end - 1)];
                scores[b][n][i] = fmaf(scores[b][n][i], scale, added * LOG2_E);
            }
        }
    }
}

template <typename S>
static __device__ __forceinline__ void mask_keys(Scores<S>& scores, unsigned first_key, unsigned end) {
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b)
        UNROLL_FOR (int n = 0; n < S::SLICE / 8; ++n)
            UNROLL_FOR (int i = 0; i < 4; ++i)
                if (first_key + n * 8 + i % 2 >= end) scores[b][n][i] = MINUS_INFINITY;
}

// Turns scores into fragments of 2^(score * scale - maximum), having raised the maxima of the rows to those
// of the scores. What was added up before shrinks where a maximum grew, which is rare after the first keys.
// The result fragments of two 16x8 products are one left fragment of the next.
template <typename S>
static __device__ __forceinline__ void weigh(unsigned (&weights)[S::ROW_BLOCKS][S::SLICE / 16][4],
                                             Rows<S>& rows, const Scores<S>& scores, float scale) {
    float reference[S::ROW_BLOCKS][2], shrink[S::ROW_BLOCKS][2];
    bool grew = false;
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int half = 0; half < 2; ++half) {
            float top = MINUS_INFINITY;
            UNROLL_FOR (int n = 0; n < S::SLICE / 8; ++n)
                top = fmaxf(top, fmaxf(scores[b][n][2 * half], scores[b][n][2 * half + 1]));
            top = fmaxf(top, shuffle_xor(top, 1));
            top = fmaxf(top, shuffle_xor(top, 2)) * scale;
            const float before = rows.maximum[b][half], now = fmaxf(before, top);
            // With only masked keys so far, compare with 0: (-inf) - (-inf) would be NaN.
            reference[b][half] = now == MINUS_INFINITY ? 0 : now;
            shrink[b][half] = exp2_fast(before - reference[b][half]);
            grew |= now > before;
            rows.maximum[b][half] = now;
        }
    }
    if (warp_any(grew)) {
        UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
            UNROLL_FOR (int half = 0; half < 2; ++half) {
                rows.sum[b][half] *= shrink[b][half];
                UNROLL_FOR (int n = 0; n < S::DV / 8; ++n) {
                    rows.out[b][n][2 * half] *= shrink[b][half];
                    rows.out[b][n][2 * half + 1] *= shrink[b][half];
                }
            }
        }
    }
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int n = 0; n < S::SLICE / 8; ++n) {
            UNROLL_FOR (int half = 0; half < 2; ++half) {
                const float low = exp2_fast(fmaf(scores[b][n][2 * half], scale, -reference[b][half]));
                const float high = exp2_fast(fmaf(scores[b][n][2 * half + 1], scale, -reference[b][half]));
                rows.sum[b][half] += low + high;
                weights[b][n / 2][n % 2 * 2 + half] = pack_bf16(low, high);
            }
        }
    }
}

// Adds the weighted values of SLICE keys, `values` being this lane's row of the first.
template <typename S>
static __device__ __forceinline__ void add_values(Rows<S>& rows,
                                                  const unsigned (&weights)[S::ROW_BLOCKS][S::SLICE / 16][4],
                                                  unsigned values, unsigned lane_bits) {
    UNROLL_FOR (int step = 0; step < S::SLICE / 16; ++step) {
        UNROLL_FOR (int n = 0; n < S::DV / 16; ++n) {
            unsigned f[4];
            ldmatrix_x4_trans(f, values + step * 16 * (S::DV * 2) + pair_place(n, lane_bits));
            UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
                mma_m16n8k16_bf16(rows.out[b][2 * n], weights[b][step], f[0], f[1]);
                mma_m16n8k16_bf16(rows.out[b][2 * n + 1], weights[b][step], f[2], f[3]);
            }
        }
    }
}

// One pass of a block over its keys. With SPLIT, blockIdx.z counts the parts of every entry, and the
// unfinished results go to `partial`; else the results go to `out`.
template <typename S, bool HAS_BIAS, bool SPLIT>
static __device__ __forceinline__ void run(bf16* out, const Inputs& in, const Bias& bias,
                                           const Partial& partial, unsigned splits) {
    constexpr int D = S::D, DV = S::DV, KEYS = S::KEYS;
    DYNAMIC_SHARED(shared);
    const unsigned lane = threadIdx.x % 32, column = lane % 4 * 2, head = blockIdx.y;
    const unsigned entry = SPLIT ? blockIdx.z / splits : blockIdx.z;
    const unsigned split = SPLIT ? blockIdx.z % splits : 0;
    const unsigned first_row = blockIdx.x * S::ROWS + threadIdx.x / 32 * (S::ROW_BLOCKS * 16) + lane / 4;

    // The keys of this block, counted from the entry's first; parts of a split are whole tiles.
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
    Rows<S> rows;
    start_rows<S>(rows, in.q + entry * in.q_batch_stride + head * D + column, in.q_row_stride, first_row,
                  in.lq);

    // Where this lane's row of the 8x8 matrices lies. Keys: matrices are (keys 0-7, 8-15) x (pieces 0, 1),
    // keys slower. Values, transposed on loading: (pieces 0, 1) x (keys 0-7, 8-15), pieces slower.
    const unsigned key_row = lane / 16 * 8 + lane % 8, value_row = lane % 16;
    const unsigned key_bits = ((lane / 8 % 2) ^ permutation<D>(key_row)) * 16;
    const unsigned value_bits = ((lane / 16) ^ permutation<DV>(value_row)) * 16;
    const float scale = in.scale * LOG2_E;
    const float* bias_rows = bias.values + entry * bias.batch_stride + head * bias.head_stride;

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
        ROLLED_FOR (unsigned slice = 0; slice < KEYS && tile + slice < end; slice += S::SLICE) {
            Scores<S> scores;
            multiply_keys<S>(scores, rows, key_tile + slice * (D * 2), key_bits);
            const unsigned first_key = tile + slice + column;
            if (HAS_BIAS)
                add_bias<S>(scores, bias_rows, bias.row_stride, first_row, in.lq, first_key, end, scale);
            if (tile + slice + S::SLICE > end) mask_keys<S>(scores, first_key, end);
            unsigned weights[S::ROW_BLOCKS][S::SLICE / 16][4];
            weigh<S>(weights, rows, scores, HAS_BIAS ? 1 : scale);
            add_values<S>(rows, weights, value_tile + slice * (DV * 2), value_bits);
        }
    }

    // Each lane of four added up its own columns only.
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int half = 0; half < 2; ++half) {
            rows.sum[b][half] += shuffle_xor(rows.sum[b][half], 1);
            rows.sum[b][half] += shuffle_xor(rows.sum[b][half], 2);
        }
    }
    const unsigned entries = SPLIT ? gridDim.z / splits : gridDim.z;
    UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
        UNROLL_FOR (int half = 0; half < 2; ++half) {
            const unsigned row = first_row + b * 16 + half * 8;
            if (row >= in.lq) continue;
            const long long at =
                (static_cast<long long>(split * entries + entry) * in.lq + row) * in.heads + head;
            const float sum = rows.sum[b][half], inverse = sum > 0 ? 1 / sum : 0;
            if (SPLIT && column == 0) partial.maxima[at] = rows.maximum[b][half], partial.sums[at] = sum;
            UNROLL_FOR (int n = 0; n < DV / 8; ++n) {
                const float low = rows.out[b][n][2 * half], high = rows.out[b][n][2 * half + 1];
                const long long to = at * DV + column + n * 8;
                if (SPLIT) {
                    partial.out[to] = low, partial.out[to + 1] = high;
                } else {
                    store_4(out + to, pack_bf16(low * inverse, high * inverse));
                }
            }
        }
    }
}

} // namespace attention

#define ATTENTION_INPUTS                                                                                     \
    const bf16 *q, const bf16 *k, const bf16 *v, const unsigned *key_starts, unsigned lq, unsigned heads,    \
        long long q_batch_stride, long long q_row_stride, long long k_row_stride, long long v_row_stride,    \
        unsigned v_heads, float scale
#define ATTENTION_PASS                                                                                       \
    {q, k, v, key_starts, lq, heads, q_batch_stride, q_row_stride, k_row_stride, v_row_stride, v_heads, scale}

// 128 queries a block, 128 threads, 40960 bytes of dynamic shared memory. The tracker's memory attention: one
// head of 256 whose values have 64 channels.
extern "C" __global__ void __launch_bounds__(attention::D256V64::THREADS, 2)
    attention_d256_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries a block, 256 threads, 65536 bytes of dynamic shared memory (which must be allowed first).
extern "C" __global__ void __launch_bounds__(attention::D256V256::THREADS, 1)
    attention_d256_v256(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V256, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 192 queries a block, 192 threads, 32768 bytes of dynamic shared memory. 192 divides both the windows of 576
// and the whole map of 5184.
extern "C" __global__ void __launch_bounds__(attention::D64V64::THREADS, 2)
    attention_d64_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D64V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries a block, 128 threads, 16384 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(attention::D32V32::THREADS, 3)
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
    attention_d256_v64_split(float* partial_out, float* maxima, float* sums, ATTENTION_INPUTS,
                             unsigned splits) {
    attention::run<attention::D256V64, false, true>(nullptr, ATTENTION_PASS, {}, {partial_out, maxima, sums},
                                                    splits);
}

// out bf16 [rows, dv] from partial_out [splits, rows, dv], maxima and sums [splits, rows], where rows is
// b * lq * heads and dv is even. A thread makes two channels: grid ceil(rows * dv / 2 / threads), any block.
extern "C" __global__ void attention_combine(bf16* out, const float* partial_out, const float* maxima,
                                             const float* sums, unsigned rows, unsigned dv, unsigned splits) {
    const unsigned row = thread_in_grid() / (dv / 2);
    if (row >= rows) return;
    const long long at = thread_in_grid() * 2ll, total = static_cast<long long>(rows) * dv;
    float top = MINUS_INFINITY;
    for (unsigned i = 0; i < splits; ++i) top = fmaxf(top, maxima[i * static_cast<long long>(rows) + row]);
    float sum = 0, low = 0, high = 0;
    for (unsigned i = 0; i < splits; ++i) {
        const float maximum = maxima[i * static_cast<long long>(rows) + row];
        const float weight = maximum == MINUS_INFINITY ? 0 : exp2_fast(maximum - top);
        sum += weight * sums[i * static_cast<long long>(rows) + row];
        low += weight * partial_out[i * total + at];
        high += weight * partial_out[i * total + at + 1];
    }
    const float inverse = sum > 0 ? 1 / sum : 0;
    store_4(out + at, pack_bf16(low * inverse, high * inverse));
}
