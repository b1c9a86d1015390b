// Compares attention with a softmax in double precision over the same bf16 inputs.
#pragma once

#include "attention.cu"

namespace testing {

struct AttentionCase {
    std::string name;
    std::vector<unsigned> keys; // number of keys of each batch entry
    unsigned lq, heads = 1;
    bool share_v = false; // all heads share one head of values
    bool share_q = false; // all entries share the queries
    unsigned padding = 0; // elements between rows of q, k and v
    bool fused = false;   // q, k and v are columns of one tensor
    double deviation = 3; // standard deviation of the scores
    int bias = 0;         // 0 none, 1 full, 2 one row for all queries and heads; both mask many keys
    unsigned splits = 0;  // number of parts; 0 for the kernel without parts
};

using AttentionKernel = void (*)(bf16*, const bf16*, const bf16*, const bf16*, const unsigned*, unsigned,
                                 unsigned, long long, long long, long long, long long, unsigned, float);

// Compares one query and head with the reference.
inline void compare_row(Report& report, const bf16* got, const std::vector<double>& scores, const bf16* v,
                        long long v_row_stride, unsigned dv) {
    double top = -INFINITY, sum = 0;
    for (double s : scores) top = std::max(top, s);
    if (top == -INFINITY) {
        for (unsigned c = 0; c < dv; ++c) report.compare(bf16_to_float(got[c]), 0, 1e-30);
        return;
    }
    std::vector<double> mean(dv, 0), square(dv, 0);
    for (double s : scores) sum += std::exp(s - top);
    for (size_t j = 0; j < scores.size(); ++j) {
        const double p = std::exp(scores[j] - top) / sum;
        if (p < 1e-12) continue;
        for (unsigned c = 0; c < dv; ++c) {
            const double x = p * value(v[j * v_row_stride + c]);
            mean[c] += x, square[c] += x * x;
        }
    }
    // The probabilities are rounded to bf16 (each by up to 1/256, mostly less), and so is the result.
    for (unsigned c = 0; c < dv; ++c) report.compare_bf16(got[c], mean[c], std::sqrt(square[c]) / 170 + 1e-5);
}

template <typename S> void test_attention(AttentionKernel kernel, const AttentionCase& test) {
    constexpr unsigned D = S::D, DV = S::DV;
    const std::string kind = "attention d" + std::to_string(D) + " v" + std::to_string(DV) + ": ";
    Report report(kind + test.name);
    const unsigned b = test.keys.size(), lq = test.lq, heads = test.heads;
    const unsigned v_heads = test.share_v ? 1 : heads;
    Buffer<unsigned> starts(b + 1);
    starts[0] = 3; // the first rows belong to no entry
    for (unsigned i = 0; i < b; ++i) starts[i + 1] = starts[i] + test.keys[i];
    const size_t rows = starts[b], q_rows = test.share_q ? lq : lq * b;
    if (test.fused) starts[0] = 0;
    for (unsigned i = 0; i < b && test.fused; ++i) starts[i + 1] = starts[i] + test.keys[i];

    // If fused, q, k and v are columns of one matrix; otherwise they are separate matrices.
    const long long width = test.fused ? heads * (2 * D) + v_heads * DV : 0;
    const long long q_stride = test.fused ? width : heads * D + test.padding;
    const long long k_stride = test.fused ? width : heads * D + 2 * test.padding;
    const long long v_stride = test.fused ? width : v_heads * DV + test.padding;
    Random random(rows * 31 + lq);
    Buffer<bf16> q_own(test.fused ? rows * width : q_rows * q_stride),
        k_own(test.fused ? 1 : rows * k_stride);
    Buffer<bf16> v_own(test.fused ? 1 : rows * v_stride), out(static_cast<size_t>(b) * lq * heads * DV);
    fill(q_own, random, test.deviation), fill(k_own, random, 1), fill(v_own, random, 1);
    const bf16* q = q_own.data;
    const bf16* k = test.fused ? q + heads * D : k_own.data;
    const bf16* v = test.fused ? q + 2 * heads * D : v_own.data;
    const long long q_batch = test.share_q ? 0 : lq * q_stride;
    const float scale =
        static_cast<float>(1 / std::sqrt(D * (test.fused ? test.deviation * test.deviation : 1)));

    const unsigned longest = *std::max_element(test.keys.begin(), test.keys.end());
    const bool full = test.bias == 1;
    Buffer<float> bias(test.bias == 0 ? 1 : full ? heads * lq * longest : b * longest);
    fill(bias, random, 2);
    const long long bias_batch = full ? 0 : longest, bias_head = full ? lq * longest : 0;
    const long long bias_row = full ? longest : 0;
    if (test.bias != 0) {
        // Mask the first 70 keys (more than a tile), every fifth key and, with a full bias, every key of one row.
        for (size_t i = 0; i < bias.size; ++i) {
            const size_t key = i % longest, row = i / longest;
            if ((key < 70 && longest > 71) || key % 5 == 3 || (full && row == 2)) bias[i] = -INFINITY;
        }
    }

    const dim3 grid(ceil_div(lq, S::ROWS), heads, b);
    if constexpr (std::is_same_v<S, attention::D32V32>) {
        if (test.bias != 0) {
            on_host::launch(grid, S::THREADS, S::SHARED_BYTES, [&] {
                attention_bias_d32_v32(out.data, q, k, v, starts.data, lq, heads, q_batch, q_stride, k_stride,
                                       v_stride, v_heads, scale, bias.data, bias_batch, bias_head, bias_row);
            });
        }
    }
    if (test.splits != 0) {
        const unsigned splits = test.splits;
        const size_t results = static_cast<size_t>(b) * lq * heads;
        Buffer<float> partial(splits * results * DV), maxima(splits * results), sums(splits * results);
        on_host::launch(dim3(grid.x, heads, b * splits), S::THREADS, S::SHARED_BYTES, [&] {
            attention_d256_v64_split(partial.data, maxima.data, sums.data, q, k, v, starts.data, lq, heads,
                                     q_batch, q_stride, k_stride, v_stride, v_heads, scale, splits);
        });
        on_host::launch(ceil_div(results * DV / 2, 128), 128, 0, [&] {
            attention_combine(out.data, partial.data, maxima.data, sums.data, results, DV, splits);
        });
    } else if (test.bias == 0) {
        on_host::launch(grid, S::THREADS, S::SHARED_BYTES, [&] {
            kernel(out.data, q, k, v, starts.data, lq, heads, q_batch, q_stride, k_stride, v_stride, v_heads,
                   scale);
        });
    }

    std::vector<double> q_row(D);
    for (unsigned i = 0; i < b; ++i)
        for (unsigned h = 0; h < heads; ++h)
            for (unsigned r = 0; r < lq; ++r) {
                for (unsigned c = 0; c < D; ++c) q_row[c] = value(q[i * q_batch + r * q_stride + h * D + c]);
                std::vector<double> scores(test.keys[i]);
                for (unsigned j = 0; j < test.keys[i]; ++j) {
                    const bf16* key = k + (starts[i] + j) * k_stride + h * D;
                    double part[4] = {0, 0, 0, 0};
                    for (unsigned c = 0; c < D; c += 4)
                        for (unsigned p = 0; p < 4; ++p) part[p] += q_row[c + p] * value(key[c + p]);
                    scores[j] = (part[0] + part[1] + part[2] + part[3]) * scale;
                    if (test.bias != 0) scores[j] += bias[i * bias_batch + h * bias_head + r * bias_row + j];
                }
                const bf16* values = v + starts[i] * v_stride + (v_heads == 1 ? 0 : h * DV);
                const size_t at = ((static_cast<size_t>(i) * lq + r) * heads + h) * DV;
                compare_row(report, out.data + at, scores, values, v_stride, DV);
            }
}

inline void test_attentions() {
    using namespace attention;
    const auto d256 = [](const AttentionCase& c) { test_attention<D256V64>(attention_d256_v64, c); };
    d256({.name = "1 key, 1 query", .keys = {1}, .lq = 1});
    d256({.name = "objects of 1, 31, 33, 0, 64, 150 keys", .keys = {1, 31, 33, 0, 64, 150}, .lq = 40});
    d256({.name = "130 queries, 1003 and 417 keys", .keys = {1003, 417}, .lq = 130});
    d256(
        {.name = "queries shared, padded rows", .keys = {97, 200}, .lq = 72, .share_q = true, .padding = 24});
    d256({.name = "2 heads, values shared", .keys = {97}, .lq = 33, .heads = 2, .share_v = true});
    d256({.name = "scores of +-3000", .keys = {333}, .lq = 64, .deviation = 1000});
    d256({.name = "4 parts", .keys = {500, 33, 0, 1}, .lq = 40, .splits = 4});
    d256(
        {.name = "3 parts, 2 heads", .keys = {129, 290}, .lq = 17, .heads = 2, .share_v = true, .splits = 3});

    const auto self = [](const AttentionCase& c) { test_attention<D256V256>(attention_d256_v256, c); };
    self({.name = "131 queries and keys, fused", .keys = {131, 131}, .lq = 131, .fused = true});
    self({.name = "5 queries, 300 and 1 keys", .keys = {300, 1}, .lq = 5});
    self({.name = "2 heads, padded, shared values",
          .keys = {70},
          .lq = 20,
          .heads = 2,
          .share_v = true,
          .padding = 8});

    const auto vit = [](const AttentionCase& c) { test_attention<D64V64>(attention_d64_v64, c); };
    vit({.name = "windows of 144, 3 heads, fused",
         .keys = {144, 144, 144},
         .lq = 144,
         .heads = 3,
         .fused = true});
    vit({.name = "195 queries, 2051 keys", .keys = {2051}, .lq = 195});
    vit({.name = "different keys, 2 heads", .keys = {1, 65, 15, 128}, .lq = 100, .heads = 2, .padding = 8});
    vit({.name = "values and queries shared",
         .keys = {77, 130},
         .lq = 193,
         .heads = 2,
         .share_v = true,
         .share_q = true});

    const auto small = [](const AttentionCase& c) { test_attention<D32V32>(attention_d32_v32, c); };
    small({.name = "130 queries, 3001 keys", .keys = {3001}, .lq = 130});
    small({.name = "8 heads, 32 keys", .keys = {32, 32}, .lq = 150, .heads = 8});
    small({.name = "fused, 3 heads of 129",
           .keys = {129},
           .lq = 129,
           .heads = 3,
           .fused = true,
           .deviation = 2});
    small({.name = "scores of +-3000", .keys = {200, 63}, .lq = 60, .heads = 2, .deviation = 1000});
    small({.name = "bias by head and query, -inf", .keys = {210}, .lq = 101, .heads = 3, .bias = 1});
    small({.name = "bias by entry and key, -inf", .keys = {32, 29}, .lq = 140, .heads = 2, .bias = 2});
    small({.name = "bias, first tile masked", .keys = {391, 200}, .lq = 20, .heads = 2, .bias = 2});
}

} // namespace testing
