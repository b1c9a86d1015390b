// Executes CUDA kernels on the CPU, thread by thread, to test them without a GPU. Linux only. Every thread of a block is
// a fiber. Also used by tools/cuda-emulator. Detects:
//
// - Divergent warps: warp-wide instructions (mma, ldmatrix, shuffles, votes) follow the fragment layouts of the PTX ISA
//   and fail if the lanes execute different ones.
// - Missing barriers: a warp runs as far as it can before the next one starts, and a lane before the next lane, in an
//   order that reverses at every barrier.
// - Missing waits for cp.async: the destination is NaN from the start of a copy until the matching wait_group of the
//   thread that started it.
// - Uninitialised and out-of-bounds shared memory: it is NaN at the start of every block, and is followed by an
//   inaccessible page.
// - Misaligned addresses of wide loads, and ldmatrix rows in the same bank (counted).
#pragma once

#undef _FORTIFY_SOURCE // its longjmp refuses to switch stacks

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

typedef unsigned short bf16;
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
using std::max;
using std::min;

namespace on_host {

constexpr size_t PAGE = 4096, STACK = 64 * 1024, WARP = 32;
constexpr int POISON = 0xff; // this byte repeated is NaN as bf16 and as f32

[[noreturn]] inline void fail(const char* what);

// A copy started by cp.async. A group is closed by commit.
struct Copy {
    unsigned to;
    unsigned char bytes[16];
};
using Group = std::vector<Copy>;

enum class State { Runnable, InCollective, AtBarrier, Done };

struct Fiber {
    dim3 thread;
    unsigned warp = 0, lane = 0;
    State state = State::Done;
    bool started = false;
    jmp_buf registers;
    ucontext_t context;
    Group open;
    std::deque<Group> groups;
    const char* kind = nullptr;
    void* arguments = nullptr;
};

struct Machine {
    std::vector<Fiber> fibers;
    unsigned char* stacks = nullptr;
    std::vector<unsigned> arrived; // number of lanes at the warp-wide instruction, per warp
    Fiber* current = nullptr;
    jmp_buf scheduler;
    ucontext_t home;
    dim3 block, grid, block_size;
    const std::function<void()>* kernel = nullptr;
    unsigned char* shared = nullptr; // ends at an inaccessible page
    size_t shared_bytes = 0;
    std::map<int, std::vector<unsigned char>> static_shared; // by source line
    size_t bank_conflicts = 0;
    const char* what = "";
};

inline Machine machine;

[[noreturn]] inline void fail(const char* what) {
    const Fiber* f = machine.current;
    fprintf(stderr, "FAILED %s: %s", machine.what, what);
    if (f) {
        fprintf(stderr, " (block %u %u %u, thread %u)", machine.block.x, machine.block.y, machine.block.z,
                f->thread.x);
    }
    fprintf(stderr, "\n");
    _exit(1);
}

inline void on_segv(int) { fail("touched memory outside its buffers"); }

// Allocates `bytes` (rounded up to 16), directly followed by an inaccessible page.
inline unsigned char* guarded(size_t bytes) {
    const size_t size = (bytes + 15) / 16 * 16, pages = (size + PAGE - 1) / PAGE * PAGE;
    void* at = mmap(nullptr, pages + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("out of memory");
    unsigned char* base = static_cast<unsigned char*>(at);
    mprotect(base, PAGE, PROT_NONE);
    mprotect(base + PAGE + pages, PAGE, PROT_NONE);
    return base + PAGE + pages - size;
}

// Frees memory of `guarded`.
inline void unguard(unsigned char* at, size_t bytes) {
    const size_t size = (bytes + 15) / 16 * 16, pages = (size + PAGE - 1) / PAGE * PAGE;
    munmap(at + size - pages - PAGE, pages + 2 * PAGE);
}

inline void catch_faults() {
    static bool caught = false;
    if (caught) return;
    caught = true;
    signal(SIGSEGV, on_segv);
    signal(SIGBUS, on_segv);
}

// Switches to the scheduler; returns when the scheduler resumes this fiber.
inline void yield() {
    if (_setjmp(machine.current->registers) == 0) _longjmp(machine.scheduler, 1);
}

inline void fiber_main() {
    for (;;) {
        (*machine.kernel)();
        machine.current->state = State::Done;
        yield();
    }
}

inline void resume(Fiber& f) {
    machine.current = &f;
    if (_setjmp(machine.scheduler) == 0) {
        if (f.started) _longjmp(f.registers, 1);
        f.started = true;
        setcontext(&f.context);
    }
    machine.current = nullptr;
}

// The number of lanes of a warp: the last warp of a block may be incomplete.
inline size_t lanes_of(size_t warp) { return std::min(WARP, machine.fibers.size() - warp * WARP); }

// Waits for the other lanes of the warp. The last to arrive calls `run` with the arguments of all lanes.
inline void collective(const char* kind, void* arguments, void (*run)(void* const*, size_t)) {
    Fiber& f = *machine.current;
    f.kind = kind, f.arguments = arguments, f.state = State::InCollective;
    const size_t count = lanes_of(f.warp);
    if (++machine.arrived[f.warp] == count) {
        void* all[WARP];
        Fiber* lanes = &machine.fibers[f.warp * WARP];
        for (size_t l = 0; l < count; ++l) {
            if (lanes[l].kind != kind) fail("lanes of a warp execute different instructions");
            all[l] = lanes[l].arguments;
        }
        machine.arrived[f.warp] = 0;
        run(all, count);
        for (size_t l = 0; l < count; ++l) lanes[l].state = State::Runnable;
        return;
    }
    yield();
}

inline void require_full_warp(size_t count) {
    if (count != WARP) fail("this instruction needs all 32 lanes of a warp");
}

inline void run_block(bool reverse) {
    std::vector<Fiber>& fibers = machine.fibers;
    const size_t warps = (fibers.size() + WARP - 1) / WARP;
    for (;; reverse = !reverse) {
        for (size_t i = 0; i < warps; ++i) {
            const size_t warp = reverse ? warps - 1 - i : i, count = lanes_of(warp);
            Fiber* lanes = &fibers[warp * WARP];
            for (bool moved = true; moved;) {
                moved = false;
                for (size_t j = 0; j < count; ++j) {
                    Fiber& f = lanes[reverse ? count - 1 - j : j];
                    if (f.state == State::Runnable) resume(f), moved = true;
                }
            }
        }
        size_t done = 0, waiting = 0;
        for (const Fiber& f : fibers) {
            done += f.state == State::Done;
            waiting += f.state == State::AtBarrier;
        }
        if (done == fibers.size()) return;
        if (waiting == 0 || waiting + done != fibers.size()) fail("lanes wait for lanes that never arrive");
        if (done != 0) fail("some threads ended while others wait at a barrier");
        for (Fiber& f : fibers) f.state = State::Runnable;
    }
}

// Runs a kernel over a grid, block by block.
inline void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
    const size_t threads = block.x * block.y * block.z;
    if (threads == 0 || threads > 1024) fail("a block needs 1 to 1024 threads");
    catch_faults();
    if (machine.stacks == nullptr) {
        machine.stacks = static_cast<unsigned char*>(
            mmap(nullptr, 1024 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    }
    machine.fibers = std::vector<Fiber>(threads);
    machine.arrived.assign((threads + WARP - 1) / WARP, 0);
    machine.grid = grid, machine.block_size = block, machine.kernel = &kernel;
    machine.shared = guarded(shared_bytes), machine.shared_bytes = shared_bytes;
    for (size_t t = 0; t < threads; ++t) {
        Fiber& f = machine.fibers[t];
        f.thread = dim3(t % block.x, t / block.x % block.y, t / block.x / block.y);
        f.warp = t / WARP, f.lane = t % WARP;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = machine.stacks + t * STACK;
        f.context.uc_stack.ss_size = STACK;
        f.context.uc_link = nullptr;
        makecontext(&f.context, fiber_main, 0);
    }
    bool reverse = false;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x, reverse = !reverse) {
                machine.block = dim3(x, y, z);
                memset(machine.shared, POISON, shared_bytes);
                for (auto& [line, bytes] : machine.static_shared) memset(bytes.data(), POISON, bytes.size());
                for (Fiber& f : machine.fibers) {
                    f.state = State::Runnable;
                    f.open.clear(), f.groups.clear();
                }
                run_block(reverse);
            }
    machine.static_shared.clear();
    unguard(machine.shared, shared_bytes);
}

// Static shared memory of a block, identified by the source line that declares it.
inline void* static_shared(int line, size_t bytes) {
    std::vector<unsigned char>& at = machine.static_shared[line];
    if (at.empty()) at.assign(bytes, POISON);
    return at.data();
}

inline unsigned char* shared_at(unsigned address, size_t bytes, size_t alignment) {
    if (address + bytes > machine.shared_bytes) fail("address beyond the end of shared memory");
    if (address % alignment != 0) fail("misaligned address of shared memory");
    return machine.shared + address;
}

inline void check_aligned(const void* p, size_t alignment) {
    if (reinterpret_cast<uintptr_t>(p) % alignment != 0) fail("misaligned address");
}

inline void finish_groups(size_t pending) {
    std::deque<Group>& groups = machine.current->groups;
    for (; groups.size() > pending; groups.pop_front()) {
        for (const Copy& c : groups.front()) memcpy(shared_at(c.to, 16, 16), c.bytes, 16);
    }
}

inline float to_float(bf16 x) {
    const unsigned bits = static_cast<unsigned>(x) << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

inline bf16 half_of(unsigned pair, unsigned which) { return static_cast<bf16>(pair >> (which * 16)); }

struct Ldmatrix {
    unsigned* registers; // 4
    unsigned row;
};

// Lane l addresses row l % 8 of matrix l / 8. Register r of lane l: without .trans, row l / 4, columns
// 2 * (l % 4) and + 1 of matrix r; with .trans, column l / 4, rows 2 * (l % 4) and + 1.
template <bool TRANS> inline void run_ldmatrix(void* const* lanes, size_t count) {
    require_full_warp(count);
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
        bf16 m[8][8];
        unsigned banks = 0;
        for (unsigned row = 0; row < 8; ++row) {
            const unsigned address = static_cast<Ldmatrix*>(lanes[matrix * 8 + row])->row;
            memcpy(m[row], shared_at(address, 16, 16), 16);
            banks |= 1u << (address / 16 % 8);
        }
        machine.bank_conflicts += banks != 0xff;
        for (unsigned l = 0; l < WARP; ++l) {
            const unsigned a = l / 4, b = l % 4 * 2;
            const bf16 low = TRANS ? m[b][a] : m[a][b], high = TRANS ? m[b + 1][a] : m[a][b + 1];
            static_cast<Ldmatrix*>(lanes[l])->registers[matrix] = low | static_cast<unsigned>(high) << 16;
        }
    }
}

struct Mma {
    float* c;
    const unsigned* a;
    unsigned b[2];
};

// mma.m16n8k16 with g = lane / 4, t = lane % 4. Element i = 0..7 of a: row g, or g + 8 for i = 2, 3, 6, 7;
// column 2t + i % 2, and 8 more for i >= 4. Element i = 0..3 of b: row 2t + i % 2, and 8 more for i >= 2;
// column g. Element i = 0..3 of c: row g, and 8 more for i >= 2; column 2t + i % 2.
inline void run_mma(void* const* lanes, size_t count) {
    require_full_warp(count);
    float a[16][16], b[8][16];
    for (unsigned l = 0; l < WARP; ++l) {
        const Mma& x = *static_cast<Mma*>(lanes[l]);
        const unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 8; ++i) {
            const unsigned row = (i % 4 < 2) ? g : g + 8, column = t * 2 + i % 2 + (i >= 4 ? 8 : 0);
            a[row][column] = to_float(half_of(x.a[i / 2], i % 2));
        }
        for (unsigned i = 0; i < 4; ++i) {
            b[g][t * 2 + i % 2 + (i >= 2 ? 8 : 0)] = to_float(half_of(x.b[i / 2], i % 2));
        }
    }
    for (unsigned l = 0; l < WARP; ++l) {
        const unsigned g = l / 4, t = l % 4;
        for (unsigned i = 0; i < 4; ++i) {
            const float* row = a[i < 2 ? g : g + 8];
            const float* column = b[t * 2 + i % 2];
            float part[4] = {0, 0, 0, 0};
            for (unsigned k = 0; k < 16; ++k) part[k % 4] += row[k] * column[k];
            static_cast<Mma*>(lanes[l])->c[i] += part[0] + part[1] + part[2] + part[3];
        }
    }
}

struct Shuffle {
    float x, y;
    int mask;
};

inline void run_shuffle(void* const* lanes, size_t count) {
    require_full_warp(count);
    for (size_t l = 0; l < WARP; ++l) {
        Shuffle& to = *static_cast<Shuffle*>(lanes[l]);
        to.y = static_cast<Shuffle*>(lanes[l ^ to.mask])->x;
    }
}

inline void run_any(void* const* lanes, size_t count) {
    bool any = false;
    for (size_t l = 0; l < count; ++l) any |= *static_cast<bool*>(lanes[l]);
    for (size_t l = 0; l < count; ++l) *static_cast<bool*>(lanes[l]) = any;
}

inline void run_nothing(void* const*, size_t) {}

} // namespace on_host

#define threadIdx (on_host::machine.current->thread)
#define blockIdx (on_host::machine.block)
#define blockDim (on_host::machine.block_size)
#define gridDim (on_host::machine.grid)

#define UNROLL_FOR for
#define ROLLED_FOR for
#define MINUS_INFINITY (-INFINITY)
#define DYNAMIC_SHARED(name) unsigned char* name = on_host::machine.shared
#define STATIC_SHARED(type, name, count)                                                                     \
    type* name = static_cast<type*>(on_host::static_shared(__LINE__, sizeof(type) * (count)))

inline void __syncthreads() {
    on_host::machine.current->state = on_host::State::AtBarrier;
    on_host::yield();
}

inline void __syncwarp() { on_host::collective("syncwarp", nullptr, on_host::run_nothing); }

inline float bits_to_float(unsigned bits) {
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

inline bf16 float_to_bf16(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline unsigned pack_bf16(float low, float high) {
    return float_to_bf16(low) | static_cast<unsigned>(float_to_bf16(high)) << 16;
}

inline float exp2_fast(float x) { return exp2f(x); }

inline float sin_pi(float x) { return static_cast<float>(std::sin(M_PI * x)); }

inline float cos_pi(float x) { return static_cast<float>(std::cos(M_PI * x)); }

inline unsigned load_4(const void* p) {
    on_host::check_aligned(p, 4);
    return *static_cast<const unsigned*>(p);
}
inline float2 load_8(const float* p) {
    on_host::check_aligned(p, 8);
    return *reinterpret_cast<const float2*>(p);
}
inline uint4 load_16(const void* p) {
    on_host::check_aligned(p, 16);
    return *static_cast<const uint4*>(p);
}
inline void store_4(void* p, unsigned x) {
    on_host::check_aligned(p, 4);
    *static_cast<unsigned*>(p) = x;
}
inline void store_16(void* p, uint4 x) {
    on_host::check_aligned(p, 16);
    *static_cast<uint4*>(p) = x;
}

inline unsigned shared_address(const void* p) {
    return static_cast<unsigned>(static_cast<const unsigned char*>(p) - on_host::machine.shared);
}

inline void cp_async_16(unsigned to, const void* from, bool valid) {
    on_host::check_aligned(from, 16);
    on_host::Copy copy = {to, {}};
    if (valid) memcpy(copy.bytes, from, 16);
    memset(on_host::shared_at(to, 16, 16), on_host::POISON, 16);
    on_host::machine.current->open.push_back(copy);
}

inline void cp_async_commit() {
    on_host::Fiber& f = *on_host::machine.current;
    f.groups.push_back(std::move(f.open));
    f.open.clear();
}

template <int PENDING> inline void cp_async_wait() { on_host::finish_groups(PENDING); }

inline void ldmatrix_x4(unsigned (&r)[4], unsigned row) {
    on_host::Ldmatrix x = {r, row};
    on_host::collective("ldmatrix", &x, on_host::run_ldmatrix<false>);
}

inline void ldmatrix_x4_trans(unsigned (&r)[4], unsigned row) {
    on_host::Ldmatrix x = {r, row};
    on_host::collective("ldmatrix.trans", &x, on_host::run_ldmatrix<true>);
}

inline void mma_m16n8k16_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    on_host::Mma x = {c, a, {b0, b1}};
    on_host::collective("mma", &x, on_host::run_mma);
}

inline float shuffle_xor(float x, int mask) {
    on_host::Shuffle s = {x, 0, mask};
    on_host::collective("shuffle", &s, on_host::run_shuffle);
    return s.y;
}

inline bool warp_any(bool x) {
    on_host::collective("any", &x, on_host::run_any);
    return x;
}
