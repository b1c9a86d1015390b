// Device primitives for the kernels: bf16 numbers, 16-byte copies, tensor-core products, asynchronous copies to
// shared memory, and shuffles. On a GPU each function is one or two instructions of compute capability 8.0, so that
// one PTX supports every GPU since then. With COURTSIDE_KERNELS_ON_HOST defined, `host/cuda_on_host.h` defines the
// same names for a C++ compiler and executes every thread, to test the kernels without a GPU.
#pragma once

#ifdef COURTSIDE_KERNELS_ON_HOST
#include "host/cuda_on_host.h"
#else

// The bits of a bfloat16: the upper half of an f32.
typedef unsigned short bf16;

#define UNROLL_FOR _Pragma("unroll") for
#define ROLLED_FOR _Pragma("unroll 1") for
#define MINUS_INFINITY __int_as_float(0xff800000)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define STATIC_SHARED(type, name, count) __shared__ type name[count]

static __device__ __forceinline__ float bits_to_float(unsigned bits) { return __uint_as_float(bits); }

// Nearest bf16, ties to even.
static __device__ __forceinline__ bf16 float_to_bf16(float x) {
    bf16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// Two bf16 in one register, `low` at the lower address.
static __device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// 2^x on the special function unit; 0 for -inf.
static __device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// sin(pi x) and cos(pi x). Unlike sinf, they need no table in local memory for large arguments.
static __device__ __forceinline__ float sin_pi(float x) { return sinpif(x); }
static __device__ __forceinline__ float cos_pi(float x) { return cospif(x); }

// Loads and stores of global memory. The address must be a multiple of the size.
static __device__ __forceinline__ unsigned load_4(const void* p) { return *static_cast<const unsigned*>(p); }
static __device__ __forceinline__ float2 load_8(const float* p) {
    return *reinterpret_cast<const float2*>(p);
}
static __device__ __forceinline__ uint4 load_16(const void* p) { return *static_cast<const uint4*>(p); }
static __device__ __forceinline__ void store_4(void* p, unsigned x) { *static_cast<unsigned*>(p) = x; }
static __device__ __forceinline__ void store_16(void* p, uint4 x) { *static_cast<uint4*>(p) = x; }

// The 32-bit address in shared memory that the instructions below take.
static __device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Starts copying 16 bytes from global to shared memory. If not `valid`, writes zeros and does not read.
static __device__ __forceinline__ void cp_async_16(unsigned to, const void* from, bool valid) {
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// Closes the group of copies that this thread has started since the last call.
static __device__ __forceinline__ void cp_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `PENDING` of this thread's groups are incomplete.
template <int PENDING> static __device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Loads four 8x8 matrices of bf16. Lane l passes the address of row l%8 of matrix l/8. Register r of lane l receives
// elements 2*(l%4) and 2*(l%4)+1 of row l/4 of matrix r.
static __device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

// The same with each matrix transposed: rows 2*(l%4) and 2*(l%4)+1 of column l/4.
static __device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], unsigned row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

// c (16x8, f32) += a (16x16, bf16, row-major) · b (16x8, bf16, column-major), distributed over a warp. With
// g = lane/4 and t = lane%4: c = rows g, g, g+8, g+8 at columns 2t, 2t+1, 2t, 2t+1; a = pairs from column 2t
// of rows g and g+8, then from column 2t+8 of both; b = pairs from rows 2t and 2t+8 of column g.
static __device__ __forceinline__ void mma_m16n8k16_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                                         unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The value of the lane whose number differs in the bits of `mask`. All 32 lanes must call it.
static __device__ __forceinline__ float shuffle_xor(float x, int mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
}

// Whether `x` is true in any of the 32 lanes.
static __device__ __forceinline__ bool warp_any(bool x) { return __any_sync(0xffffffffu, x) != 0; }

#endif

// ---- Built on the primitives above, the same on GPU and host.

static __device__ __forceinline__ float bf16_to_float(bf16 x) {
    return bits_to_float(static_cast<unsigned>(x) << 16);
}

// The lower and the upper bf16 of a register.
static __device__ __forceinline__ float low_bf16(unsigned pair) { return bits_to_float(pair << 16); }
static __device__ __forceinline__ float high_bf16(unsigned pair) { return bits_to_float(pair & 0xffff0000u); }

// Eight bf16 of one 16-byte load.
static __device__ __forceinline__ void unpack_8(float (&x)[8], uint4 v) {
    x[0] = low_bf16(v.x), x[1] = high_bf16(v.x), x[2] = low_bf16(v.y), x[3] = high_bf16(v.y);
    x[4] = low_bf16(v.z), x[5] = high_bf16(v.z), x[6] = low_bf16(v.w), x[7] = high_bf16(v.w);
}

static __device__ __forceinline__ uint4 pack_8(const float (&x)[8]) {
    uint4 v;
    v.x = pack_bf16(x[0], x[1]), v.y = pack_bf16(x[2], x[3]);
    v.z = pack_bf16(x[4], x[5]), v.w = pack_bf16(x[6], x[7]);
    return v;
}

// Loads COUNT numbers, a multiple of 4, from an address that is a multiple of 16.
template <int COUNT> static __device__ __forceinline__ void load_floats(float (&x)[COUNT], const float* p) {
    UNROLL_FOR (int i = 0; i < COUNT; i += 4) {
        const uint4 v = load_16(p + i);
        x[i] = bits_to_float(v.x), x[i + 1] = bits_to_float(v.y);
        x[i + 2] = bits_to_float(v.z), x[i + 3] = bits_to_float(v.w);
    }
}

static __device__ __forceinline__ float warp_sum(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x += shuffle_xor(x, mask);
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x = fmaxf(x, shuffle_xor(x, mask));
    return x;
}

// Converts a row number of a sequence of windows (window after window, each row-major) to the row number of the
// images that they tile: images stacked vertically, `width` wide, windows of `side` x `side`. With `side` 0 there are
// no windows, and the row number is unchanged.
static __device__ __forceinline__ unsigned window_to_image(unsigned row, unsigned width, unsigned side) {
    if (side == 0) return row;
    const unsigned window = row / (side * side), inside = row % (side * side), across = width / side;
    return (window / across * side + inside / side) * width + window % across * side + inside % side;
}

// The index of this thread along x. No grid here has 2^32 threads.
static __device__ __forceinline__ unsigned thread_in_grid() { return blockIdx.x * blockDim.x + threadIdx.x; }
