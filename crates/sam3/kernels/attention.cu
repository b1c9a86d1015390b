// Attention in one pass: out = softmax(scale · q kᵀ [+ bias]) v, with an online softmax in f32 instead of a score
// matrix. Each batch entry has its own number of keys.
//
//   out  bf16 [b, lq, heads * DV], contiguous
//   q    bf16, row r of entry i, head h at q + i * q_batch_stride + r * q_row_stride + h * D
//   k    bf16, key j of entry i, head h at k + (key_starts[i] + j) * k_row_stride + h * D
//   v    bf16, likewise with DV; with v_heads == 1 all heads share the values (no h * DV)
//   key_starts  b + 1 row numbers of k and v; entry i has keys key_starts[i] .. key_starts[i + 1]
//
// Strides are in elements and multiples of 8, and q, k, v are 16-byte aligned, so that rows can be copied in chunks of
// 16 bytes. scale > 0. The output of an entry without keys is zero. Launch with grid (ceil(lq / ROWS), heads, b),
// THREADS threads and SHARED_BYTES of dynamic shared memory.
//
// Algorithm: a block computes ROWS queries; each of its warps computes ROW_BLOCKS * 16 of them and keeps their
// fragments of q and the running output in registers. Keys and values are loaded in tiles of KEYS into two buffers:
// while one is used, cp.async fills the other, so that a tile costs one barrier. Within a tile a warp processes SLICE
// keys at a time in registers: scores, softmax, product with the values.
//
// Bounds (calculated, not measured): ROW_BLOCKS mma (16x8x16) share one fragment of keys or values, 256 bytes of shared
// memory. An SM of an A100 executes an mma in 2 clocks and reads 128 bytes per clock. With ROW_BLOCKS = 2 the tensor
// cores are therefore busy twice as long as shared memory, and with 1 equally long (d256_v256, where 32 rows of output
// do not fit in registers). Global memory of d256_v64: a block does 128 * 640 flops for the 640 bytes of one key, 128
// flops per byte, or about 2.4 TB/s from L2 at 312 Tflop/s. Exponentials: with d = 32 there are 128 flops per score,
// which take as long as its exponential (16 per clock); only there the special function units are the bound.
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

// Unnormalised results of a part of the keys, for `attention_combine`.
struct Partial {
    float* out;    // [splits, b, lq, heads * DV], not divided by the sums
    float* maxima; // [splits, b, lq, heads], of score * scale * log2(e); -inf for no keys
    float* sums;   // [splits, b, lq, heads], of 2^(score * scale * log2(e) - maximum)
};

// The 16-byte chunks of a row are permuted in shared memory, so that the 8 rows of an 8x8 matrix are in different
// banks: chunk p of row r is at position p ^ permutation(r). Rows have 64 bytes or a multiple of 128.
template <int WIDTH> static __device__ __forceinline__ unsigned permutation(unsigned row) {
    return WIDTH >= 64 ? row & 7 : (row >> 1) & 3;
}

// Starts copying rows `first ..` of a [*, WIDTH] matrix to a tile of KEYS rows. Rows from `end` are filled with zeros. A
// thread copies the same chunk of every STEP-th row, so that only the row address changes.
template <int WIDTH, typename S>
static __device__ __forceinline__ void load_tile(unsigned tile, const bf16* rows, long long row_stride,
                                                 unsigned first, unsigned end) {
    constexpr unsigned CHUNKS = WIDTH / 8, STEP = S::THREADS / CHUNKS;
    static_assert(S::THREADS % CHUNKS == 0 && (STEP % 8 == 0 || STEP == 4), "see the permutation below");
    const unsigned row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    const bf16* from = rows + (first + row) * row_stride + chunk * 8;
    const unsigned offset = (chunk ^ permutation<WIDTH>(row)) * 16, to = tile + row * (WIDTH * 2);
    UNROLL_FOR (unsigned i = 0; i < S::KEYS; i += STEP) {
        if (S::KEYS % STEP != 0 && row + i >= S::KEYS) break;
        // permutation(row + i) = permutation(row) ^ permutation(i), because STEP % 8 == 0, or row < 4 = STEP.
        cp_async_16(to + i * (WIDTH * 2) + (offset ^ permutation<WIDTH>(i) * 16), from, first + row + i < end);
        from += STEP * row_stride;
    }
}

// The offset of chunk pair `pair` in a row, for a lane with `lane_bits` = (odd chunk ^ permutation) * 16.
static __device__ __forceinline__ unsigned pair_offset(int pair, unsigned lane_bits) {
    return (pair / 4) * 128 + (((pair % 4) * 32) ^ lane_bits);
}

// The registers of a warp. For each 16 queries: their fragments, the unnormalised output, and for rows lane / 4 and
// lane / 4 + 8 the maximum so far (of score * scale * log2(e); with a bias, of the sum in units of log2) and the sum of
// the weights in this lane's columns.
template <typename S> struct Rows {
    unsigned q[S::ROW_BLOCKS][S::D / 16][4];
    float out[S::ROW_BLOCKS][S::DV / 8][4];
    float maximum[S::ROW_BLOCKS][2], sum[S::ROW_BLOCKS][2];
};

template <typename S> using Scores = float[S::ROW_BLOCKS][S::SLICE / 8][4];

// Loads the queries from `first_row`, eight rows apart. Rows beyond the last are zero.
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
            ldmatrix_x4(f, keys + n * 16 * (S::D * 2) + pair_offset(step, lane_bits));
            UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
                mma_m16n8k16_bf16(scores[b][2 * n], rows.q[b][step], f[0], f[1]);
                mma_m16n8k16_bf16(scores[b][2 * n + 1], rows.q[b][step], f[2], f[3]);
            }
        }
    }
}

// Multiplies the scores by `scale` and adds the bias of the rows from `first_row` and the keys from `first_key`, in units
// of log2. Rows and keys beyond the last get the bias of the last; their scores are not used.
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

// Raises the maxima of the rows to those of the scores, and converts the scores to fragments of 2^(score * scale -
// maximum). Where a maximum grows, which is rare after the first keys, the output and the sum so far are scaled down.
// The result fragments of two 16x8 products form one left fragment of the next product.
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
            // If all keys so far are masked, use 0 as the reference: (-inf) - (-inf) would be NaN.
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

// Adds the weighted values of SLICE keys. `values` is this lane's row of the first.
template <typename S>
static __device__ __forceinline__ void add_values(Rows<S>& rows,
                                                  const unsigned (&weights)[S::ROW_BLOCKS][S::SLICE / 16][4],
                                                  unsigned values, unsigned lane_bits) {
    UNROLL_FOR (int step = 0; step < S::SLICE / 16; ++step) {
        UNROLL_FOR (int n = 0; n < S::DV / 16; ++n) {
            unsigned f[4];
            ldmatrix_x4_trans(f, values + step * 16 * (S::DV * 2) + pair_offset(n, lane_bits));
            UNROLL_FOR (int b = 0; b < S::ROW_BLOCKS; ++b) {
                mma_m16n8k16_bf16(rows.out[b][2 * n], weights[b][step], f[0], f[1]);
                mma_m16n8k16_bf16(rows.out[b][2 * n + 1], weights[b][step], f[2], f[3]);
            }
        }
    }
}

// One pass of a block over its keys. With SPLIT, blockIdx.z numbers the parts of every entry, and the unnormalised
// results are written to `partial`; otherwise the results are written to `out`.
template <typename S, bool HAS_BIAS, bool SPLIT>
static __device__ __forceinline__ void run(bf16* out, const Inputs& in, const Bias& bias,
                                           const Partial& partial, unsigned splits) {
    constexpr int D = S::D, DV = S::DV, KEYS = S::KEYS;
    DYNAMIC_SHARED(shared);
    const unsigned lane = threadIdx.x % 32, column = lane % 4 * 2, head = blockIdx.y;
    const unsigned entry = SPLIT ? blockIdx.z / splits : blockIdx.z;
    const unsigned split = SPLIT ? blockIdx.z % splits : 0;
    const unsigned first_row = blockIdx.x * S::ROWS + threadIdx.x / 32 * (S::ROW_BLOCKS * 16) + lane / 4;

    // The keys of this block, relative to the entry's first. The parts of a split consist of complete tiles.
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

    // The position of this lane's row of the 8x8 matrices. Keys: matrices are (keys 0-7, 8-15) x (chunks 0, 1), keys
    // outermost. Values, transposed on loading: (chunks 0, 1) x (keys 0-7, 8-15), chunks outermost.
    const unsigned key_row = lane / 16 * 8 + lane % 8, value_row = lane % 16;
    const unsigned key_bits = ((lane / 8 % 2) ^ permutation<D>(key_row)) * 16;
    const unsigned value_bits = ((lane / 16) ^ permutation<DV>(value_row)) * 16;
    const float scale = in.scale * LOG2_E;
    const float* bias_rows = bias.values + entry * bias.batch_stride + head * bias.head_stride;

    unsigned buffer = 0;
    for (unsigned tile = begin; tile < end; tile += KEYS, buffer ^= 1) {
        // After this, the tile is complete for every thread, and no thread reads the other buffer any longer.
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

    // The sums of four lanes cover different columns.
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

// The tracker's memory attention: one head of 256 channels, with values of 64 channels. 128 queries per block, 128
// threads, 40960 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(attention::D256V64::THREADS, 2)
    attention_d256_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries per block, 256 threads, 65536 bytes of dynamic shared memory (more than the default limit: raise it with
// cuFuncSetAttribute).
extern "C" __global__ void __launch_bounds__(attention::D256V256::THREADS, 1)
    attention_d256_v256(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D256V256, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 192 queries per block, 192 threads, 32768 bytes of dynamic shared memory. 192 divides both a window of 576 queries and
// the complete grid of 5184.
extern "C" __global__ void __launch_bounds__(attention::D64V64::THREADS, 2)
    attention_d64_v64(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D64V64, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// 128 queries per block, 128 threads, 16384 bytes of dynamic shared memory.
extern "C" __global__ void __launch_bounds__(attention::D32V32::THREADS, 3)
    attention_d32_v32(bf16* out, ATTENTION_INPUTS) {
    attention::run<attention::D32V32, false, false>(out, ATTENTION_PASS, {}, {}, 1);
}

// The same with an f32 `bias` added to the scaled scores; -inf masks a key. A stride of 0 repeats the bias along that
// axis. The output of a query whose keys are all masked is zero.
extern "C" __global__ void __launch_bounds__(attention::D32V32::THREADS, 3)
    attention_bias_d32_v32(bf16* out, ATTENTION_INPUTS, const float* bias, long long bias_batch_stride,
                           long long bias_head_stride, long long bias_row_stride) {
    const attention::Bias added = {bias, bias_batch_stride, bias_head_stride, bias_row_stride};
    attention::run<attention::D32V32, true, false>(out, ATTENTION_PASS, added, {}, 1);
}

// attention_d256_v64 with the keys of every entry in `splits` parts, for grids too small to fill a GPU. Grid
// (ceil(lq / 128), heads, b * splits). `attention_combine` computes the result from the parts.
extern "C" __global__ void __launch_bounds__(attention::D256V64::THREADS, 2)
    attention_d256_v64_split(float* partial_out, float* maxima, float* sums, ATTENTION_INPUTS,
                             unsigned splits) {
    attention::run<attention::D256V64, false, true>(nullptr, ATTENTION_PASS, {}, {partial_out, maxima, sums},
                                                    splits);
}

// Computes out bf16 [rows, dv] from partial_out [splits, rows, dv], maxima and sums [splits, rows], where rows is
// b * lq * heads and dv is even. A thread computes two channels. Grid ceil(rows * dv / 2 / threads), any block size.
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
