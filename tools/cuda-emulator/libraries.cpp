// libcublas for a machine without a GPU: the functions that Courtside calls. See cuda.cpp.
#include "streams.h"

#include <memory>

using namespace emulated;

namespace {

struct Handle {
    Stream* stream = &default_stream();
};

enum Status { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { R_32F = 0, R_64F = 1, R_16BF = 14 };
enum Operation { PLAIN = 0, TRANSPOSED = 1 };

// An operand of a product in cuBLAS's layout: column-major, with `leading` elements from one column to the
// next and `stride` from one matrix of the batch to the next.
struct Operand {
    uint64_t at;
    int type, operation;
    int64_t rows, columns; // as stored
    int64_t leading, stride;

    size_t element() const { return type == R_16BF ? 2 : type == R_32F ? 4 : 8; }
    uint64_t bytes(int64_t batch) const {
        return ((batch - 1) * stride + (columns - 1) * leading + rows) * element();
    }
    double value(int64_t i) const {
        switch (type) {
        case R_16BF: return on_host::to_float(reinterpret_cast<const bf16*>(at)[i]);
        case R_32F: return reinterpret_cast<const float*>(at)[i];
        default: return reinterpret_cast<const double*>(at)[i];
        }
    }
    void set(int64_t i, double x) const {
        switch (type) {
        case R_16BF: reinterpret_cast<bf16*>(at)[i] = float_to_bf16(static_cast<float>(x)); break;
        case R_32F: reinterpret_cast<float*>(at)[i] = static_cast<float>(x); break;
        default: reinterpret_cast<double*>(at)[i] = x;
        }
    }
    // Copies one matrix of the batch so that the elements that a sum runs over are contiguous.
    template <class T>
    std::vector<T> packed(int64_t batch, int64_t outer, int64_t inner, bool inner_is_row) const {
        std::vector<T> all(outer * inner);
        for (int64_t o = 0; o < outer; ++o)
            for (int64_t i = 0; i < inner; ++i) {
                const int64_t row = inner_is_row ? i : o, column = inner_is_row ? o : i;
                all[o * inner + i] = static_cast<T>(value(batch * stride + column * leading + row));
            }
        return all;
    }
};

template <class T>
void product(Operand a, Operand b, Operand c, int64_t m, int64_t n, int64_t k, double alpha, double beta,
             int64_t batches) {
    memory().check("matrix product, A", a.at, a.bytes(batches));
    memory().check("matrix product, B", b.at, b.bytes(batches));
    memory().check("matrix product, C", c.at, c.bytes(batches));
    for (int64_t batch = 0; batch < batches; ++batch) {
        const std::vector<T> left = a.packed<T>(batch, m, k, a.operation == TRANSPOSED);
        const std::vector<T> right = b.packed<T>(batch, n, k, b.operation == PLAIN);
#pragma omp parallel for
        for (int64_t j = 0; j < n; ++j)
            for (int64_t i = 0; i < m; ++i) {
                const T *x = &left[i * k], *y = &right[j * k];
                T sum = 0;
                for (int64_t l = 0; l < k; ++l) sum += x[l] * y[l];
                const int64_t at = batch * c.stride + j * c.leading + i;
                c.set(at, alpha * sum + (beta != 0 ? beta * c.value(at) : 0));
            }
    }
}

template <class T>
int queue(Handle& handle, int operation_a, int operation_b, int m, int n, int k, const T* alpha, uint64_t a,
          int type_a, int lda, int64_t stride_a, uint64_t b, int type_b, int ldb, int64_t stride_b,
          const T* beta, uint64_t c, int type_c, int ldc, int64_t stride_c, int batch) {
    const std::lock_guard<std::recursive_mutex> locked(lock);
    if (m < 0 || n < 0 || k < 0 || batch < 0) return INVALID_VALUE;
    Operand left = {a,   type_a,  operation_a, operation_a == PLAIN ? m : k, operation_a == PLAIN ? k : m,
                    lda, stride_a};
    Operand right = {b,   type_b,  operation_b, operation_b == PLAIN ? k : n, operation_b == PLAIN ? n : k,
                     ldb, stride_b};
    Operand out = {c, type_c, PLAIN, m, n, ldc, stride_c};
    for (const Operand& x : {left, right, out})
        if (x.leading < std::max<int64_t>(1, x.rows) || (x.operation != PLAIN && x.operation != TRANSPOSED))
            return INVALID_VALUE;
    const bool known = type_a == type_b && (type_a == R_16BF || type_a == R_32F || type_a == R_64F) &&
                       (type_c == type_a || (type_a == R_16BF && type_c == R_32F));
    if (!known) return NOT_SUPPORTED;
    if (m == 0 || n == 0 || batch == 0) return SUCCESS;
    counts.add("launches"), counts.add("products"), counts.add("flops of products", 2ull * m * n * k * batch);
    if (only_counts()) return SUCCESS;
    handle.stream->add([=, alpha = double(*alpha), beta = double(*beta)] {
        product<T>(left, right, out, m, n, k, alpha, beta, batch);
    });
    return SUCCESS;
}

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) int

EXPORT cublasCreate_v2(void** handle) {
    *handle = new Handle;
    return SUCCESS;
}
EXPORT cublasDestroy_v2(void* handle) {
    delete static_cast<Handle*>(handle);
    return SUCCESS;
}
EXPORT cublasSetStream_v2(void* handle, void* stream) {
    static_cast<Handle*>(handle)->stream = &stream_of(stream);
    return SUCCESS;
}
EXPORT cublasGemmStridedBatchedEx(void* handle, int operation_a, int operation_b, int m, int n, int k,
                                  const void* alpha, uint64_t a, int type_a, int lda, long long stride_a,
                                  uint64_t b, int type_b, int ldb, long long stride_b, const void* beta,
                                  uint64_t c, int type_c, int ldc, long long stride_c, int batch, int compute,
                                  int) {
    // CUBLAS_COMPUTE_32F and its fast variants: alpha and beta are f32.
    if (compute != 68 && compute != 75 && compute != 77) return NOT_SUPPORTED;
    if (type_a == R_64F) return NOT_SUPPORTED;
    return queue(*static_cast<Handle*>(handle), operation_a, operation_b, m, n, k,
                 static_cast<const float*>(alpha), a, type_a, lda, stride_a, b, type_b, ldb, stride_b,
                 static_cast<const float*>(beta), c, type_c, ldc, stride_c, batch);
}
EXPORT cublasDgemmStridedBatched(void* handle, int operation_a, int operation_b, int m, int n, int k,
                                 const double* alpha, uint64_t a, int lda, long long stride_a, uint64_t b,
                                 int ldb, long long stride_b, const double* beta, uint64_t c, int ldc,
                                 long long stride_c, int batch) {
    return queue(*static_cast<Handle*>(handle), operation_a, operation_b, m, n, k, alpha, a, R_64F, lda,
                 stride_a, b, R_64F, ldb, stride_b, beta, c, R_64F, ldc, stride_c, batch);
}
// kind: 0 major, 1 minor. The version of the driver, as with NVIDIA's libraries of the same release.
EXPORT cublasGetProperty(int kind, int* value) {
    const int version = static_cast<int>(number_from_environment("EMULATED_CUDA_VERSION", 13000));
    if (kind != 0 && kind != 1) return INVALID_VALUE;
    *value = kind == 0 ? version / 1000 : version % 1000 / 10;
    return SUCCESS;
}
