// The runtime of translated kernels (ptx.h): PTX instructions as functions, and the loop over a grid.
#pragma once

#include "../../crates/sam3/kernels/host/cuda_on_host.h"

#include <array>
#include <bit>
#include <type_traits>

namespace ptx {

// Arguments of a launch. `shared_bytes` is static plus dynamic shared memory.
struct Launch {
    dim3 blocks, threads;
    size_t shared_bytes;
    const unsigned char* parameters;
    const char* name;
};

// The special registers and memory of one thread.
struct Thread {
    dim3 thread, block, threads, blocks;
    unsigned char* shared;
    size_t shared_bytes;
    const unsigned char* parameters;

    unsigned lane() const {
        return (thread.x + threads.x * (thread.y + threads.y * thread.z)) % on_host::WARP;
    }
};

// A bfloat16, as a type distinct from 16 bits.
struct Bf16 {
    uint16_t bits;
};

// ---------------------------------------------------------------------------------------------------------
// Registers

// Reads a register as the type of an instruction: the low bits of a wider integer, or the same bits.
template <class T, class S> inline T get(S x) {
    if constexpr (std::is_same_v<T, S>) {
        return x;
    } else if constexpr (std::is_same_v<T, bool>) {
        return x != 0;
    } else if constexpr (std::is_same_v<T, Bf16>) {
        return {static_cast<uint16_t>(x)};
    } else if constexpr (std::is_integral_v<T> && std::is_integral_v<S>) {
        return static_cast<T>(x);
    } else {
        static_assert(sizeof(T) == sizeof(S), "operand size differs from instruction size");
        return std::bit_cast<T>(x);
    }
}

template <class D, class V> inline void put(D& to, V value) {
    if constexpr (std::is_same_v<V, Bf16>) {
        put(to, value.bits);
    } else {
        to = get<D>(value);
    }
}

// ---------------------------------------------------------------------------------------------------------
// Arithmetic

template <class T> using Unsigned = std::make_unsigned_t<T>;

#define COURTSIDE_ARITHMETIC(function, operator_)                                                            \
    template <class T> inline T function(T a, T b) {                                                         \
        if constexpr (std::is_integral_v<T>) {                                                               \
            return static_cast<T>(Unsigned<T>(a) operator_ Unsigned<T>(b));                                  \
        } else {                                                                                             \
            return a operator_ b;                                                                            \
        }                                                                                                    \
    }
COURTSIDE_ARITHMETIC(add, +)
COURTSIDE_ARITHMETIC(subtract, -)
#undef COURTSIDE_ARITHMETIC

template <class T> inline T multiply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    } else {
        return a * b;
    }
}
template <class T> inline T multiply_high(T a, T b) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
}
template <class T> inline T divide(T a, T b) {
    if constexpr (std::is_integral_v<T>)
        if (b == 0) return static_cast<T>(-1);
    return a / b;
}
template <class T> inline T remainder(T a, T b) { return b == 0 ? a : a % b; }
template <class T> inline T minimum(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b);
    return std::min(a, b);
}
template <class T> inline T maximum(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b);
    return std::max(a, b);
}
template <class T> inline T bit_and(T a, T b) { return a & b; }
template <class T> inline T bit_or(T a, T b) { return a | b; }
template <class T> inline T bit_xor(T a, T b) { return a ^ b; }
template <class T> inline T bit_not(T a) {
    if constexpr (std::is_same_v<T, bool>) return !a;
    return static_cast<T>(~a);
}
template <class T> inline T negative(T a) {
    if constexpr (std::is_integral_v<T>) return static_cast<T>(0 - Unsigned<T>(a));
    return -a;
}
inline Bf16 negative(Bf16 a) { return {static_cast<uint16_t>(a.bits ^ 0x8000)}; }
inline Bf16 absolute(Bf16 a) { return {static_cast<uint16_t>(a.bits & 0x7fff)}; }
template <class T> inline T absolute(T a) { return a < 0 ? -a : std::is_integral_v<T> ? a : std::fabs(a); }
template <class T> inline T shift_left(T a, unsigned by) {
    return by >= 8 * sizeof(T) ? T(0) : static_cast<T>(a << by);
}
template <class T> inline T shift_right(T a, unsigned by) {
    const unsigned most = 8 * sizeof(T) - 1;
    if (by > most) {
        if constexpr (!std::is_signed_v<T>) return 0;
        by = most;
    }
    return static_cast<T>(a >> by);
}
template <class T> inline T insert_bits(T bits, T into, unsigned at, unsigned count) {
    at &= 0xff, count &= 0xff;
    if (count == 0 || at >= 8 * sizeof(T)) return into;
    const T mask = shift_left<T>(count >= 8 * sizeof(T) ? T(-1) : static_cast<T>((T(1) << count) - 1), at);
    return (into & ~mask) | (shift_left<T>(bits, at) & mask);
}
template <class T> inline uint32_t leading_zeros(T x) { return std::countl_zero(x); }

template <bool SETS, bool TAKES> inline uint32_t add_with_carry(uint32_t a, uint32_t b, uint32_t& carry) {
    const uint64_t sum = uint64_t(a) + b + (TAKES ? carry : 0);
    if (SETS) carry = sum >> 32;
    return static_cast<uint32_t>(sum);
}
template <bool SETS, bool TAKES> inline uint32_t sub_with_carry(uint32_t a, uint32_t b, uint32_t& borrow) {
    const uint64_t difference = uint64_t(a) - b - (TAKES ? borrow : 0);
    if (SETS) borrow = difference >> 63;
    return static_cast<uint32_t>(difference);
}
template <bool HIGH, bool SETS, bool TAKES>
inline uint32_t mad_with_carry(uint32_t a, uint32_t b, uint32_t c, uint32_t& carry) {
    const uint64_t product = uint64_t(a) * b;
    return add_with_carry<SETS, TAKES>(static_cast<uint32_t>(HIGH ? product >> 32 : product), c, carry);
}

// ---------------------------------------------------------------------------------------------------------
// Floating point

// Approximate instructions flush subnormal numbers to 0.
inline float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }
inline float exp2_flushed(float x) { return flushed(exp2f(flushed(x))); }
inline float log2_flushed(float x) { return log2f(flushed(x)); }
template <class T> inline T reciprocal(T x) { return T(1) / x; }
template <class T> inline T square_root(T x) { return std::sqrt(x); }
template <class T> inline T inverse_root(T x) { return T(1) / std::sqrt(x); }

inline float wide(Bf16 x) { return on_host::to_float(x.bits); }
inline Bf16 narrow(float x) { return {float_to_bf16(x)}; }

template <class T> inline T fused(T a, T b, T c) { return std::fma(a, b, c); }
// Fused multiply-add of bf16, rounded once: the product is exact in f32, and the sum is exact in f64 except in rare
// cases.
inline Bf16 fused(Bf16 a, Bf16 b, Bf16 c) {
    const double exact = double(wide(a)) * wide(b) + wide(c);
    float once = static_cast<float>(exact); // rounded to odd below, so that `narrow` rounds correctly
    if (once != exact && (std::bit_cast<uint32_t>(once) & 1) == 0)
        once = std::nextafter(once, exact > once ? INFINITY : -INFINITY);
    return narrow(once);
}
inline uint32_t fused_pair(uint32_t a, uint32_t b, uint32_t c) {
    const auto half = [&](int shift) {
        return fused(Bf16{uint16_t(a >> shift)}, Bf16{uint16_t(b >> shift)}, Bf16{uint16_t(c >> shift)}).bits;
    };
    return half(0) | uint32_t(half(16)) << 16;
}

// The modifier .NaN: the result is NaN if either operand is.
template <class T> inline T minimum_or_nan(T a, T b) {
    return std::isnan(a) || std::isnan(b) ? std::numeric_limits<T>::quiet_NaN() : std::fmin(a, b);
}
template <class T> inline T maximum_or_nan(T a, T b) {
    return std::isnan(a) || std::isnan(b) ? std::numeric_limits<T>::quiet_NaN() : std::fmax(a, b);
}
inline Bf16 minimum(Bf16 a, Bf16 b) { return narrow(std::fmin(wide(a), wide(b))); }
inline Bf16 maximum(Bf16 a, Bf16 b) { return narrow(std::fmax(wide(a), wide(b))); }
inline Bf16 minimum_or_nan(Bf16 a, Bf16 b) { return narrow(minimum_or_nan(wide(a), wide(b))); }
inline Bf16 maximum_or_nan(Bf16 a, Bf16 b) { return narrow(maximum_or_nan(wide(a), wide(b))); }

// Rounds `exact` in the direction MODE, given its nearest value of type T.
template <char MODE, class T> inline T directed(T nearest, long double exact) {
    const T infinity = std::numeric_limits<T>::infinity();
    const bool down = MODE == 'M' || (MODE == 'Z' && exact > 0),
               up = MODE == 'P' || (MODE == 'Z' && exact < 0);
    if (down && nearest > exact) return std::nextafter(nearest, -infinity);
    if (up && nearest < exact) return std::nextafter(nearest, infinity);
    return nearest;
}
// long double represents the f32 sums and products of the kernels exactly, and adds 11 bits to those of f64.
template <char MODE, class T> inline T rounded_add(T a, T b) {
    return directed<MODE>(a + b, static_cast<long double>(a) + b);
}
template <char MODE, class T> inline T rounded_sub(T a, T b) { return rounded_add<MODE>(a, -b); }
template <char MODE, class T> inline T rounded_fma(T a, T b, T c) {
    return directed<MODE>(std::fma(a, b, c), static_cast<long double>(a) * b + c);
}

template <char MODE, class T> inline T whole(T x) {
    return MODE == 'N'   ? std::nearbyint(x)
           : MODE == 'Z' ? std::trunc(x)
           : MODE == 'M' ? std::floor(x)
                         : std::ceil(x);
}

template <class To, char MODE, bool WHOLE, bool SATURATES, class From> inline To convert(From x) {
    if constexpr (std::is_same_v<From, Bf16>) {
        return convert<To, MODE, WHOLE, SATURATES>(wide(x));
    } else if constexpr (std::is_same_v<To, Bf16>) {
        static_assert(std::is_same_v<From, float> && MODE == 'N');
        return narrow(x);
    } else if constexpr (std::is_floating_point_v<From> && std::is_floating_point_v<To>) {
        To y = WHOLE ? static_cast<To>(whole<MODE>(x)) : directed<MODE>(static_cast<To>(x), x);
        if (SATURATES) y = y > 0 ? std::fmin(y, To(1)) : To(0); // NaN is 0
        return y;
    } else if constexpr (std::is_floating_point_v<From>) {
        const From y = whole<MODE>(x);
        if (std::isnan(y)) return sizeof(To) == 8 ? static_cast<To>(uint64_t(1) << 63) : To(0);
        using Limits = std::numeric_limits<To>;
        if (y <= static_cast<long double>(Limits::min())) return Limits::min();
        if (y >= static_cast<long double>(Limits::max())) return Limits::max();
        return static_cast<To>(y);
    } else if constexpr (std::is_floating_point_v<To>) {
        return directed<MODE>(static_cast<To>(x), static_cast<long double>(x));
    } else if constexpr (SATURATES) {
        using Limits = std::numeric_limits<To>;
        return static_cast<To>(std::clamp<__int128>(x, Limits::min(), Limits::max()));
    } else {
        return static_cast<To>(x);
    }
}

template <class T> inline auto number(T x) { return x; }
inline float number(Bf16 x) { return wide(x); }

template <class T> inline bool unordered(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) return std::isnan(a) || std::isnan(b);
    return false;
}

#define COURTSIDE_COMPARISON(name, operator_)                                                                \
    template <class T> inline bool compare_##name(T a, T b) { return number(a) operator_ number(b); }        \
    template <class T> inline bool compare_##name##u(T a, T b) {                                             \
        return unordered(number(a), number(b)) || number(a) operator_ number(b);                             \
    }
COURTSIDE_COMPARISON(eq, ==)
COURTSIDE_COMPARISON(lt, <)
COURTSIDE_COMPARISON(le, <=)
COURTSIDE_COMPARISON(gt, >)
COURTSIDE_COMPARISON(ge, >=)
#undef COURTSIDE_COMPARISON
template <class T> inline bool compare_ne(T a, T b) {
    return !unordered(number(a), number(b)) && number(a) != number(b);
}
template <class T> inline bool compare_neu(T a, T b) { return !(number(a) == number(b)); }
template <class T> inline bool compare_nan(T a, T b) { return unordered(number(a), number(b)); }
template <class T> inline bool compare_num(T a, T b) { return !unordered(number(a), number(b)); }

// ---------------------------------------------------------------------------------------------------------
// Memory

template <class T, size_t N> inline std::array<T, N> from_memory(uint64_t address) {
    std::array<T, N> v;
    const void* at = reinterpret_cast<const void*>(address);
    on_host::check_aligned(at, sizeof v);
    memcpy(&v, at, sizeof v);
    return v;
}
template <class T, size_t N> inline void to_memory(uint64_t address, std::array<T, N> v) {
    void* at = reinterpret_cast<void*>(address);
    on_host::check_aligned(at, sizeof v);
    memcpy(at, &v, sizeof v);
}
inline unsigned char* in_shared(const Thread& t, uint64_t address, size_t bytes) {
    if (address > t.shared_bytes || bytes > t.shared_bytes - address)
        on_host::fail("address beyond the end of shared memory");
    if (address % bytes != 0) on_host::fail("misaligned address of shared memory");
    return t.shared + address;
}
template <class T, size_t N> inline std::array<T, N> from_shared(const Thread& t, uint64_t address) {
    std::array<T, N> v;
    memcpy(&v, in_shared(t, address, sizeof v), sizeof v);
    return v;
}
template <class T, size_t N> inline void to_shared(const Thread& t, uint64_t address, std::array<T, N> v) {
    memcpy(in_shared(t, address, sizeof v), &v, sizeof v);
}
template <class T, size_t N> inline std::array<T, N> from_parameters(const Thread& t, size_t offset) {
    std::array<T, N> v;
    memcpy(&v, t.parameters + offset, sizeof v);
    return v;
}
template <class T> inline T atomic_add(uint64_t address, T x) {
    on_host::check_aligned(reinterpret_cast<void*>(address), sizeof(T));
    return std::atomic_ref(*reinterpret_cast<T*>(address)).fetch_add(x);
}
template <class T> inline T atomic_swap(uint64_t address, T expected, T x) {
    on_host::check_aligned(reinterpret_cast<void*>(address), sizeof(T));
    std::atomic_ref(*reinterpret_cast<T*>(address)).compare_exchange_strong(expected, x);
    return expected;
}
inline void copy_async(unsigned to, uint64_t from, unsigned bytes) {
    if (bytes != 0 && bytes != 16) on_host::fail("cp.async of fewer than 16 bytes");
    cp_async_16(to, reinterpret_cast<const void*>(from), bytes != 0);
}

// ---------------------------------------------------------------------------------------------------------
// Warp-wide instructions

enum class Shuffling { up, down, bfly, idx };
struct Shuffled {
    uint32_t value;
    bool in_range;
};
struct ShuffleLane {
    uint32_t value, b, c;
    Shuffled result;
};

template <Shuffling HOW> inline void run_shuffle(void* const* lanes, size_t count) {
    for (unsigned l = 0; l < count; ++l) {
        ShuffleLane& me = *static_cast<ShuffleLane*>(lanes[l]);
        const unsigned mask = me.c >> 8 & 0x1f, clamp = me.c & 0x1f, b = me.b & 0x1f;
        const unsigned most = (l & mask) | (clamp & ~mask), least = l & mask;
        unsigned from = 0;
        bool in_range = false;
        switch (HOW) {
        case Shuffling::up: from = l - b, in_range = int(from) >= int(most); break;
        case Shuffling::down: from = l + b, in_range = from <= most; break;
        case Shuffling::bfly: from = l ^ b, in_range = from <= most; break;
        case Shuffling::idx: from = least | (b & ~mask), in_range = from <= most; break;
        }
        if (!in_range) from = l;
        // Reading a lane that does not exist is undefined in PTX.
        me.result = {from < count ? static_cast<ShuffleLane*>(lanes[from])->value : 0xffffffffu, in_range};
    }
}

template <Shuffling HOW> inline Shuffled shuffle(uint32_t value, uint32_t b, uint32_t c) {
    ShuffleLane lane = {value, b, c, {}};
    on_host::collective("shuffle", &lane, run_shuffle<HOW>);
    return lane.result;
}

// ---------------------------------------------------------------------------------------------------------
// Grids

// Runs a kernel with barriers or warp-wide instructions: each thread is a fiber.
inline void run_together(const Launch& launch, void (*kernel)(const Thread&)) {
    on_host::machine.what = launch.name;
    on_host::launch(launch.blocks, launch.threads, launch.shared_bytes, [&] {
        const on_host::Machine& m = on_host::machine;
        kernel(
            {m.current->thread, m.block, m.block_size, m.grid, m.shared, m.shared_bytes, launch.parameters});
    });
}

// Runs a kernel whose threads are independent: blocks run in parallel.
inline void run_apart(const Launch& launch, void (*kernel)(const Thread&)) {
    on_host::machine.what = launch.name;
    on_host::catch_faults();
    const dim3 n = launch.blocks, m = launch.threads;
    const int64_t blocks = int64_t(n.x) * n.y * n.z;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < blocks; ++i) {
        const dim3 block(i % n.x, i / n.x % n.y, i / n.x / n.y);
        std::vector<unsigned char> shared(launch.shared_bytes, on_host::POISON);
        for (unsigned z = 0; z < m.z; ++z)
            for (unsigned y = 0; y < m.y; ++y)
                for (unsigned x = 0; x < m.x; ++x)
                    kernel({dim3(x, y, z), block, m, n, shared.data(), shared.size(), launch.parameters});
    }
}

} // namespace ptx
