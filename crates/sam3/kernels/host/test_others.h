// Compares all kernels except attention with plain loops in double precision. The resize must be exact.
#pragma once

#include "boxes.cu"
#include "depthwise.cu"
#include "elementwise.cu"
#include "im2col.cu"
#include "norm.cu"
#include "resize.cu"
#include "rope.cu"

#include <deque>

namespace testing {

inline void test_layer_norm(unsigned rows, unsigned n, double mean) {
    Report report("layer_norm: " + std::to_string(rows) + " rows of " + std::to_string(n) + ", mean " +
                  std::to_string(static_cast<int>(mean)));
    Random random(n + rows);
    Buffer<bf16> x(rows * n), out(rows * n);
    Buffer<float> weight(n), bias(n);
    fill(x, random, 2, mean), fill(weight, random, 1), fill(bias, random, 1);
    on_host::launch(ceil_div(rows, 4), 128, 0,
                    [&] { layer_norm_bf16(out.data, x.data, weight.data, bias.data, rows, n, 1e-6f); });
    for (unsigned r = 0; r < rows; ++r) {
        double sum = 0, square = 0;
        for (unsigned i = 0; i < n; ++i) sum += value(x[r * n + i]);
        for (unsigned i = 0; i < n; ++i) square += std::pow(value(x[r * n + i]) - sum / n, 2);
        const double inverse = 1 / std::sqrt(square / n + 1e-6);
        for (unsigned i = 0; i < n; ++i) {
            const double y = (value(x[r * n + i]) - sum / n) * inverse * value(weight[i]) + value(bias[i]);
            report.compare_bf16(out[r * n + i], y, 1e-4);
        }
    }
}

inline void test_group_norm(unsigned pixels, unsigned channels, unsigned groups, unsigned chunk,
                            double mean) {
    Report report("group_norm_relu: " + std::to_string(pixels) + " pixels, " + std::to_string(groups) +
                  " of " + std::to_string(channels) + " channels, chunks of " + std::to_string(chunk));
    Random random(pixels + channels);
    const unsigned chunks = ceil_div(pixels, chunk), width = channels / groups;
    Buffer<bf16> x(pixels * channels), out(pixels * channels);
    Buffer<float> weight(channels), bias(channels), partials(groups * chunks * 2);
    fill(x, random, 1, mean), fill(weight, random, 1), fill(bias, random, 1);
    on_host::launch(dim3(chunks, groups), 256, 0, [&] {
        group_norm_statistics_bf16(partials.data, x.data, pixels, channels, groups, chunk);
    });
    on_host::launch(3, 256, 0, [&] {
        group_norm_relu_bf16(out.data, x.data, partials.data, weight.data, bias.data, pixels, channels,
                             groups, chunk, chunks, 1e-5f);
    });
    for (unsigned g = 0; g < groups; ++g) {
        double sum = 0, square = 0;
        const double count = static_cast<double>(pixels) * width;
        const auto at = [&](unsigned i) { return i / width * channels + g * width + i % width; };
        for (unsigned i = 0; i < pixels * width; ++i) sum += value(x[at(i)]);
        for (unsigned i = 0; i < pixels * width; ++i) square += std::pow(value(x[at(i)]) - sum / count, 2);
        const double inverse = 1 / std::sqrt(square / count + 1e-5);
        for (unsigned i = 0; i < pixels * width; ++i) {
            const unsigned c = g * width + i % width;
            const double y = (value(x[at(i)]) - sum / count) * inverse * value(weight[c]) + value(bias[c]);
            report.compare_bf16(out[at(i)], std::max(y, 0.0), 1e-4);
        }
    }
}

// Random angles of `p` rows for heads of `d` channels.
struct Angles {
    Buffer<float> cos, sin;
    Angles(unsigned p, unsigned d, Random& random) : cos(p * d / 2), sin(p * d / 2) {
        for (size_t i = 0; i < cos.size; ++i) {
            const double angle = random.uniform() * 6.28;
            cos[i] = static_cast<float>(std::cos(angle)), sin[i] = static_cast<float>(std::sin(angle));
        }
    }
};

// The expected results of `window_to_image` for all rows, found by enumeration.
inline std::vector<unsigned> rows_in_windows(unsigned rows, unsigned width, unsigned window) {
    std::vector<unsigned> order;
    const unsigned side = window ? window : 1, across = window ? width : rows;
    for (unsigned top = 0; top < rows / across; top += side)
        for (unsigned left = 0; left < across; left += side)
            for (unsigned y = 0; y < side; ++y)
                for (unsigned x = 0; x < side; ++x) order.push_back((top + y) * across + left + x);
    return order;
}

inline void test_rope(unsigned rows, unsigned heads, unsigned d, unsigned p, unsigned parts,
                      unsigned n_rotated, unsigned width = 0, unsigned window = 0) {
    Report report("rope: " + std::to_string(rows) + " rows, " + std::to_string(n_rotated) + " of " +
                  std::to_string(parts) + " parts, " + std::to_string(heads) + " heads of " +
                  std::to_string(d) + ", table of " + std::to_string(p) +
                  (window ? ", windows of " + std::to_string(window) : ""));
    const unsigned c = heads * d;
    Random random(rows + c);
    Buffer<bf16> x(rows * parts * c), bias(parts * c), out(parts * rows * c);
    const Angles angles(p, d, random);
    fill(x, random, 1), fill(bias, random, 1);
    on_host::launch(ceil_div(rows * parts * c / 8, 64), 64, 0, [&] {
        rope_bf16(out.data, x.data, bias.data, angles.cos.data, angles.sin.data, rows, heads, d, p, parts,
                  n_rotated, width, window);
    });
    const std::vector<unsigned> from = rows_in_windows(rows, width, window);
    for (unsigned part = 0; part < parts; ++part)
        for (unsigned r = 0; r < rows; ++r)
            for (unsigned at = 0; at < c; at += 2) {
                const unsigned source = from[r] * parts * c + part * c + at;
                const double u = value(x[source]) + value(bias[part * c + at]);
                const double v = value(x[source + 1]) + value(bias[part * c + at + 1]);
                const unsigned angle = r % p * (d / 2) + at % d / 2, to = (part * rows + r) * c + at;
                const double cos = part < n_rotated ? angles.cos[angle] : 1;
                const double sin = part < n_rotated ? angles.sin[angle] : 0;
                report.compare_bf16(out[to], u * cos - v * sin);
                report.compare_bf16(out[to + 1], v * cos + u * sin);
            }
}

inline void test_rope_varlen(std::vector<unsigned> lengths, unsigned heads, unsigned d, unsigned p) {
    Report report("rope, different lengths: " + std::to_string(lengths.size()) + " entries, " +
                  std::to_string(heads) + " heads of " + std::to_string(d) + ", table of " +
                  std::to_string(p));
    const unsigned b = lengths.size(), c = heads * d;
    Buffer<unsigned> starts(b + 1), rotated(b);
    starts[0] = 0;
    for (unsigned i = 0; i < b; ++i) {
        starts[i + 1] = starts[i] + lengths[i];
        rotated[i] = lengths[i] * (i + 1) / (b + 1);
    }
    const unsigned longest = *std::max_element(lengths.begin(), lengths.end());
    Random random(c + b);
    Buffer<bf16> x(starts[b] * c), bias(c), out(starts[b] * c);
    const Angles angles(p, d, random);
    fill(x, random, 1), fill(bias, random, 1);
    on_host::launch(dim3(ceil_div(longest * c / 8, 64), b), 64, 0, [&] {
        rope_varlen_bf16(out.data, x.data, bias.data, angles.cos.data, angles.sin.data, starts.data,
                         rotated.data, heads, d, p);
    });
    for (unsigned i = 0; i < b; ++i)
        for (unsigned r = 0; r < lengths[i]; ++r)
            for (unsigned at = 0; at < c; at += 2) {
                const unsigned to = (starts[i] + r) * c + at, angle = r % p * (d / 2) + at % d / 2;
                const double u = value(x[to]) + value(bias[at]), v = value(x[to + 1]) + value(bias[at + 1]);
                const double cos = r < rotated[i] ? angles.cos[angle] : 1;
                const double sin = r < rotated[i] ? angles.sin[angle] : 0;
                report.compare_bf16(out[to], u * cos - v * sin);
                report.compare_bf16(out[to + 1], v * cos + u * sin);
            }
}

inline void test_bias_activation(unsigned rows, unsigned n, unsigned kind, bool with_bias) {
    static const char* const NAMES[] = {"none", "relu", "gelu", "sigmoid"};
    Report report("bias_activation: " + std::string(NAMES[kind]) + ", " + std::to_string(rows) + " rows of " +
                  std::to_string(n) + (with_bias ? "" : ", no bias"));
    Random random(n + kind);
    Buffer<bf16> x(rows * n), bias(n), out(rows * n);
    fill(x, random, 3), fill(bias, random, 1);
    on_host::launch(ceil_div(ceil_div(rows * n, 8), 64), 64, 0, [&] {
        bias_activation_bf16(out.data, x.data, with_bias ? bias.data : nullptr, rows, n, kind);
    });
    for (unsigned i = 0; i < rows * n; ++i) {
        double y = value(x[i]) + (with_bias ? value(bias[i % n]) : 0);
        if (kind == 1) y = std::max(y, 0.0);
        if (kind == 2) y = y * 0.5 * std::erfc(-y / std::sqrt(2.0));
        if (kind == 3) y = 1 / (1 + std::exp(-y));
        report.compare_bf16(out[i], y);
    }
}

inline void test_add(unsigned total, unsigned period) {
    Report report("add: " + std::to_string(total) + " numbers, period " + std::to_string(period));
    Random random(total);
    Buffer<bf16> a(total), b(period), out(total);
    fill(a, random, 1), fill(b, random, 1);
    on_host::launch(ceil_div(ceil_div(total, 8), 64), 64, 0,
                    [&] { add_bf16(out.data, a.data, b.data, total, period); });
    for (unsigned i = 0; i < total; ++i) report.compare_bf16(out[i], value(a[i]) + value(b[i % period]));
}

inline void test_bias_add(unsigned rows, unsigned n, unsigned period, unsigned width = 0,
                          unsigned window = 0) {
    Report report("bias_add: " + std::to_string(rows) + " rows of " + std::to_string(n) + ", period " +
                  std::to_string(period) + (window ? ", windows of " + std::to_string(window) : ""));
    Random random(rows + n);
    Buffer<bf16> x(rows * n), bias(n), residual(period * n), out(rows * n);
    fill(x, random, 1), fill(bias, random, 1), fill(residual, random, 1);
    on_host::launch(ceil_div(rows * n / 8, 64), 64, 0, [&] {
        bias_add_bf16(out.data, x.data, bias.data, residual.data, rows, n, period, width, window);
    });
    const std::vector<unsigned> order = rows_in_windows(rows, width, window);
    for (unsigned r = 0; r < rows; ++r)
        for (unsigned i = 0; i < n; ++i) {
            const double y =
                value(x[r * n + i]) + value(bias[i]) + value(residual[order[r] % period * n + i]);
            report.compare_bf16(out[order[r] * n + i], y);
        }
}

// Concatenates parts with |counts[i]| rows. If counts[i] is negative, all rows of the part have the same position.
inline void test_cat_with_positions(std::vector<int> counts, unsigned n) {
    Report report("cat_with_positions: " + std::to_string(counts.size()) + " parts of rows of " +
                  std::to_string(n));
    Random random(n);
    std::deque<Buffer<bf16>> rows, positions;
    Buffer<SequencePart> table(counts.size());
    unsigned total = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
        const unsigned count = std::abs(counts[i]), period = counts[i] < 0 ? 1 : count;
        rows.emplace_back(count * n), positions.emplace_back(period * n);
        fill(rows[i], random, 1), fill(positions[i], random, 1);
        table[i] = {rows[i].data, positions[i].data, total, count, period};
        total += count;
    }
    Buffer<bf16> joined(total * n), placed(total * n);
    on_host::launch(dim3(counts.size(), 2), 64, 0,
                    [&] { cat_with_positions_bf16(joined.data, placed.data, table.data, n); });
    for (size_t i = 0; i < counts.size(); ++i)
        for (unsigned at = 0; at < table[i].count * n; ++at) {
            const double x = value(rows[i][at]);
            report.compare(value(joined[table[i].first * n + at]), x, 1e-30);
            report.compare_bf16(placed[table[i].first * n + at],
                                x + value(positions[i][at % (table[i].period * n)]));
        }
}

// Random boxes inside and beyond the image, and an empty one.
inline void test_boxes(unsigned n, unsigned side, unsigned heads, unsigned pairs) {
    Report report("boxes: " + std::to_string(n) + ", grid of " + std::to_string(side) + ", " +
                  std::to_string(heads) + " heads, " + std::to_string(pairs) + " wavelengths");
    Random random(n * side);
    Buffer<float> boxes(n * 4), wavelengths(pairs), bias(heads * (n + 1) * side * side), moved(n * 4);
    Buffer<bf16> sines(n * 8 * pairs), distances(4 * n * side), x(n * side * heads), y(n * side * heads);
    Buffer<bf16> deltas(n * 4);
    for (unsigned i = 0; i < n * 4; ++i)
        boxes[i] = i < 4 ? 0 : static_cast<float>(random.uniform() * 1.4 - 0.2);
    for (unsigned i = 0; i < pairs; ++i)
        wavelengths[i] = static_cast<float>(std::pow(10000.0, 1.0 * i / pairs));
    fill(x, random, 1), fill(y, random, 1), fill(deltas, random, 2);
    on_host::launch(ceil_div(n * 4 * pairs, 64), 64, 0,
                    [&] { box_sine_bf16(sines.data, boxes.data, wavelengths.data, n, pairs); });
    on_host::launch(ceil_div(2 * n * side, 64), 64, 0,
                    [&] { box_distances_bf16(distances.data, boxes.data, n, side); });
    on_host::launch(dim3(ceil_div((n + 1) * side * side, 64), heads), 64, 0,
                    [&] { box_bias_f32(bias.data, x.data, y.data, n, side, heads); });
    on_host::launch(ceil_div(n * 4, 64), 64, 0,
                    [&] { refine_boxes_f32(moved.data, boxes.data, deltas.data, n * 4); });
    for (unsigned q = 0; q < n; ++q) {
        const double box[4] = {boxes[q * 4], boxes[q * 4 + 1], boxes[q * 4 + 2], boxes[q * 4 + 3]};
        const double in_order[4] = {box[1], box[0], box[2], box[3]};
        for (unsigned i = 0; i < 4 * pairs; ++i) {
            const double angle = in_order[i / pairs] * 2 * M_PI / value(wavelengths[i % pairs]);
            report.compare_bf16(sines[(q * 4 * pairs + i) * 2], std::sin(angle), 1e-5);
            report.compare_bf16(sines[(q * 4 * pairs + i) * 2 + 1], std::cos(angle), 1e-5);
        }
        for (unsigned axis = 0; axis < 2; ++axis)
            for (unsigned cell = 0; cell < side; ++cell)
                for (unsigned end = 0; end < 2; ++end) {
                    const double edge = box[axis] + (end ? 0.5 : -0.5) * box[2 + axis];
                    const double d = 8 * (1.0 * cell / side - edge),
                                 y = std::log1p(std::fabs(d)) / std::log(8);
                    report.compare_bf16(distances[((axis * n + q) * side + cell) * 2 + end], d < 0 ? -y : y,
                                        1e-5);
                }
        for (unsigned i = 0; i < 4; ++i) {
            const double at = std::min(std::max(box[i], 0.0), 1.0);
            const double logit = std::log(std::max(at, 1e-3) / std::max(1 - at, 1e-3));
            report.compare(moved[q * 4 + i], 1 / (1 + std::exp(-(value(deltas[q * 4 + i]) + logit))), 1e-5);
        }
    }
    for (unsigned i = 0; i < heads * (n + 1) * side * side; ++i) {
        const unsigned head = i / ((n + 1) * side * side), query = i / (side * side) % (n + 1);
        const unsigned row = (query - 1) * side + i / side % side, column = (query - 1) * side + i % side;
        const double want = query == 0 ? 0 : value(y[row * heads + head]) + value(x[column * heads + head]);
        report.compare(bias[i], want, 1e-6);
    }
}

inline void test_depthwise(unsigned n, unsigned h, unsigned w, unsigned c, unsigned k) {
    Report report("depthwise_conv: " + std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) +
                  "x" + std::to_string(c) + ", k " + std::to_string(k));
    Random random(h * w + c);
    Buffer<bf16> x(n * h * w * c), out(n * h * w * c);
    Buffer<float> weight(k * k * c), bias(c);
    fill(x, random, 1), fill(weight, random, 0.2), fill(bias, random, 1);
    on_host::launch(dim3(ceil_div(c / 2 * ceil_div(w, 8), 64), h, n), 64, 0,
                    [&] { depthwise_conv_bf16(out.data, x.data, weight.data, bias.data, h, w, c, k); });
    for (unsigned i = 0; i < n * h * w * c; ++i) {
        const int channel = i % c, column = i / c % w, row = i / c / w % h, image = i / c / w / h;
        double y = value(bias[channel]);
        for (int ky = 0; ky < static_cast<int>(k); ++ky)
            for (int kx = 0; kx < static_cast<int>(k); ++kx) {
                const int r = row + ky - static_cast<int>(k) / 2, q = column + kx - static_cast<int>(k) / 2;
                if (r < 0 || r >= static_cast<int>(h) || q < 0 || q >= static_cast<int>(w)) continue;
                y += value(x[((image * h + r) * w + q) * c + channel]) *
                     value(weight[(ky * k + kx) * c + channel]);
            }
        report.compare_bf16(out[i], y, 1e-5);
    }
}

inline void test_im2col(unsigned n, unsigned h, unsigned w, unsigned c, unsigned k, unsigned stride,
                        unsigned padding) {
    Report report("im2col: " + std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + "x" +
                  std::to_string(c) + ", k " + std::to_string(k) + ", stride " + std::to_string(stride) +
                  " (exact)");
    Random random(h * w + c + k);
    const unsigned oh = (h + 2 * padding - k) / stride + 1, ow = (w + 2 * padding - k) / stride + 1;
    Buffer<bf16> x(n * h * w * c), out(n * oh * ow * k * k * c);
    fill(x, random, 1);
    on_host::launch(dim3(ow, oh, n), 32, 0,
                    [&] { im2col_bf16(out.data, x.data, h, w, c, k, stride, padding); });
    for (unsigned i = 0; i < n * oh * ow * k * k * c; ++i) {
        const unsigned channel = i % c, tap = i / c % (k * k), pixel = i / c / (k * k);
        const int row = static_cast<int>(pixel / ow % oh * stride + tap / k) - static_cast<int>(padding);
        const int column = static_cast<int>(pixel % ow * stride + tap % k) - static_cast<int>(padding);
        const bool inside =
            row >= 0 && row < static_cast<int>(h) && column >= 0 && column < static_cast<int>(w);
        const unsigned at = ((pixel / ow / oh * h + row) * w + column) * c + channel;
        report.compare(value(out[i]), inside ? value(x[at]) : 0, 1e-30);
    }
}

// Weights of an axis as `fixed_taps` of src/ops/resize.rs computes them, as tables for the kernel.
struct FixedTaps {
    Buffer<int> first, count, weights;
    unsigned pitch, precision = 0;

    FixedTaps(unsigned input, unsigned output)
        : first(output), count(output), weights(output * widest(input, output)),
          pitch(widest(input, output)) {
        const double scale = static_cast<double>(input) / output, support = std::max(scale, 1.0);
        std::vector<std::vector<double>> exact(output);
        double largest = 0;
        for (unsigned i = 0; i < output; ++i) {
            const double center = scale * (i + 0.5);
            const int from = std::max(static_cast<int>(center - support + 0.5), 0);
            const int end = std::min(static_cast<int>(center + support + 0.5), static_cast<int>(input));
            double total = 0;
            for (int j = from; j < end; ++j) {
                exact[i].push_back(std::max(1 - std::fabs((j - center + 0.5) / support), 0.0));
                total += exact[i].back();
            }
            for (double& w : exact[i]) w /= total, largest = std::max(largest, w);
            first[i] = from, count[i] = end - from;
        }
        while (precision < 22 && static_cast<int>(0.5 + largest * (1 << (precision + 1))) < 1 << 15)
            ++precision;
        for (unsigned i = 0; i < output; ++i)
            for (int j = 0; j < count[i]; ++j)
                weights[i * pitch + j] = static_cast<int>(exact[i][j] * (1 << precision) + 0.5);
    }
    static unsigned widest(unsigned input, unsigned output) { return 2 * ceil_div(input, output) + 2; }
};

inline void test_resize(unsigned h, unsigned w, unsigned oh, unsigned ow) {
    Report report("resize: " + std::to_string(h) + "x" + std::to_string(w) + " to " + std::to_string(oh) +
                  "x" + std::to_string(ow) + " (exact)");
    const FixedTaps columns(w, ow), rows(h, oh);
    const float mean[3] = {127.5f, 123.675f, 116.28f}, deviation[3] = {127.5f, 58.395f, 57.12f};
    Buffer<unsigned char> rgb(h * w * 3), wide(h * ow * 3);
    Buffer<float> out(oh * ow * 3);
    Buffer<bf16> rounded(oh * ow * 3);
    Random random(h + w);
    for (size_t i = 0; i < rgb.size; ++i) {
        rgb[i] = random.next() % 4 == 0 ? 255 : static_cast<unsigned char>(random.next() >> 8);
    }
    on_host::launch(dim3(ceil_div(ow, 64), h), 64, 0, [&] {
        resize_columns_u8(wide.data, rgb.data, columns.first.data, columns.count.data, columns.weights.data,
                          columns.pitch, columns.precision, w, ow);
    });
    on_host::launch(dim3(ceil_div(ow * 3, 64), oh), 64, 0, [&] {
        resize_rows_f32(out.data, wide.data, rows.first.data, rows.count.data, rows.weights.data, rows.pitch,
                        rows.precision, ow, mean[0], mean[1], mean[2], deviation[0], deviation[1],
                        deviation[2]);
        resize_rows_bf16(rounded.data, wide.data, rows.first.data, rows.count.data, rows.weights.data,
                         rows.pitch, rows.precision, ow, mean[0], mean[1], mean[2], deviation[0],
                         deviation[1], deviation[2]);
    });
    const auto byte = [](int sum, unsigned precision) {
        return std::min(std::max(sum >> precision, 0), 255);
    };
    std::vector<int> middle(h * ow * 3);
    for (unsigned i = 0; i < h * ow * 3; ++i) {
        const unsigned c = i % 3, x = i / 3 % ow, y = i / 3 / ow;
        int sum = 1 << (columns.precision - 1);
        for (int t = 0; t < columns.count[x]; ++t)
            sum += rgb[(y * w + columns.first[x] + t) * 3 + c] * columns.weights[x * columns.pitch + t];
        middle[i] = byte(sum, columns.precision);
    }
    for (unsigned i = 0; i < oh * ow * 3; ++i) {
        const unsigned c = i % 3, y = i / 3 / ow;
        int sum = 1 << (rows.precision - 1);
        for (int t = 0; t < rows.count[y]; ++t)
            sum += middle[(rows.first[y] + t) * ow * 3 + i % (ow * 3)] * rows.weights[y * rows.pitch + t];
        const float expected = (static_cast<float>(byte(sum, rows.precision)) - mean[c]) / deviation[c];
        report.compare(out[i], expected, 1e-30);
        report.compare(value(rounded[i]), value(float_to_bf16(expected)), 1e-30);
        if (h == oh && w == ow && byte(sum, rows.precision) != rgb[i]) report.compare(1, 0, 1e-30);
    }
}

inline void test_others() {
    test_layer_norm(5, 1024, 0);
    test_layer_norm(9, 256, 100);
    test_layer_norm(3, 4736, 10);
    test_layer_norm(6, 37, 0);
    test_layer_norm(2, 1000, -50);
    test_layer_norm(1, 1, 3);
    test_group_norm(301, 64, 8, 50, 0);
    test_group_norm(130, 48, 3, 64, 30);
    test_group_norm(17, 256, 32, 100, -5);
    test_group_norm(6000, 8, 2, 100, 1);
    test_rope(100, 2, 64, 50, 1, 1);
    test_rope(33, 1, 256, 33, 1, 1);
    test_rope(48, 3, 24, 16, 3, 2);
    test_rope(2 * 8 * 12, 2, 16, 16, 3, 2, 12, 4);
    test_rope_varlen({40, 1, 0, 77}, 1, 256, 10);
    test_rope_varlen({9}, 2, 8, 9);
    test_bias_add(30, 72, 30);
    test_bias_add(30, 8, 10);
    test_bias_add(7, 264, 1);
    test_bias_add(2 * 6 * 9, 16, 2 * 6 * 9, 9, 3);
    test_cat_with_positions({200, 1, -4, 130, -1}, 64);
    test_cat_with_positions({3}, 8);
    for (unsigned kind = 0; kind < 4; ++kind) test_bias_activation(37, 72, kind, true);
    test_bias_activation(11, 13, 2, true);
    test_bias_activation(5, 16, 3, false);
    test_add(1000, 1000);
    test_add(1200, 40);
    test_add(1001, 13);
    test_boxes(5, 9, 3, 7);
    test_boxes(1, 8, 2, 64);
    test_depthwise(2, 9, 19, 6, 7);
    test_depthwise(1, 20, 8, 66, 7);
    test_depthwise(1, 5, 13, 4, 3);
    test_im2col(2, 7, 9, 16, 3, 1, 1);
    test_im2col(1, 8, 6, 8, 3, 2, 1);
    test_im2col(1, 8, 12, 24, 4, 4, 0);
    test_resize(37, 61, 20, 24);
    test_resize(20, 30, 33, 50);
    test_resize(150, 40, 11, 40);
    test_resize(24, 25, 24, 25);
}

} // namespace testing
