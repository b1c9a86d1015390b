// Shared by the kernel tests: buffers between inaccessible pages, reproducible random numbers, and a report line per
// case.
#pragma once

#define COURTSIDE_KERNELS_ON_HOST
#include "host/cuda_on_host.h"

#include <string>

namespace testing {

// An array for a kernel, initially NaN. Reads and writes beyond its end (rounded up to 16 bytes) end the test; writes
// just before its start are detected by the destructor.
template <typename T> struct Buffer {
    size_t size;
    T* data;

    explicit Buffer(size_t size)
        : size(size), data(reinterpret_cast<T*>(on_host::guarded(size * sizeof(T)))) {
        memset(page(), on_host::POISON, end() - page());
    }
    Buffer(const Buffer&) = delete;
    ~Buffer() {
        for (unsigned char* p = page(); p < bytes(); ++p)
            if (*p != on_host::POISON) on_host::fail("wrote before the start of a buffer");
        for (unsigned char* p = bytes() + size * sizeof(T); p < end(); ++p)
            if (*p != on_host::POISON) on_host::fail("wrote beyond the end of a buffer");
        munmap(page() - on_host::PAGE, end() - page() + 2 * on_host::PAGE);
    }
    T& operator[](size_t i) { return data[i]; }
    const T& operator[](size_t i) const { return data[i]; }

  private:
    unsigned char* bytes() const { return reinterpret_cast<unsigned char*>(data); }
    unsigned char* end() const { return bytes() + (size * sizeof(T) + 15) / 16 * 16; }
    unsigned char* page() const {
        return reinterpret_cast<unsigned char*>(reinterpret_cast<uintptr_t>(data) / on_host::PAGE *
                                                on_host::PAGE);
    }
};

// A linear congruential generator, with the same numbers on every machine.
struct Random {
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
    uint32_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
    double uniform() { return next() / 2147483648.0; } // [0, 1)
    // Mean 0, standard deviation 1, magnitude below 3.5.
    double normal() {
        double sum = 0;
        for (int i = 0; i < 4; ++i) sum += uniform() - 0.5;
        return sum * 1.7320508075688772;
    }
};

inline void fill(Buffer<bf16>& x, Random& random, double deviation, double mean = 0) {
    for (size_t i = 0; i < x.size; ++i)
        x[i] = float_to_bf16(static_cast<float>(mean + deviation * random.normal()));
}

inline void fill(Buffer<float>& x, Random& random, double deviation, double mean = 0) {
    for (size_t i = 0; i < x.size; ++i) x[i] = static_cast<float>(mean + deviation * random.normal());
}

inline double value(float x) { return x; }
inline double value(bf16 x) { return on_host::to_float(x); }

// The largest error of a case, in units of its tolerance. The destructor prints a line.
struct Report {
    std::string name;
    double worst = 0, worst_error = 0;
    size_t compared = 0, wrong = 0;

    explicit Report(std::string name) : name(std::move(name)) { on_host::machine.what = this->name.c_str(); }

    void compare(double got, double expected, double allowed) {
        const double error = std::fabs(got - expected);
        ++compared;
        if (!(error <= allowed)) ++wrong; // NaN too
        worst_error = std::max(worst_error, error);
        worst = std::max(worst, error / allowed);
    }

    // Tolerates the rounding of a result to bf16, plus `extra`.
    void compare_bf16(bf16 got, double expected, double extra = 1e-6) {
        compare(value(got), expected, std::fabs(expected) / 256 + extra);
    }
    ~Report();
};

inline int failures = 0;

inline Report::~Report() {
    const bool conflicts = on_host::machine.bank_conflicts != 0;
    const bool good = wrong == 0 && compared > 0 && !conflicts;
    printf("%s %-58s max error %.2e, %.2f of the tolerance\n", good ? "ok    " : "FAILED", name.c_str(),
           worst_error, worst);
    if (wrong != 0) printf("       %zu of %zu numbers are wrong\n", wrong, compared);
    if (conflicts) printf("       %zu bank conflicts\n", on_host::machine.bank_conflicts);
    fflush(stdout);
    on_host::machine.bank_conflicts = 0;
    on_host::machine.what = "";
    failures += !good;
}

inline unsigned ceil_div(size_t a, size_t b) { return static_cast<unsigned>((a + b - 1) / b); }

} // namespace testing
