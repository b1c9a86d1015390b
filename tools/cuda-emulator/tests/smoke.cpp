// Loads the emulated libraries as a CUDA program does, with dlopen, and runs one case:
//
//   smoke CASE smoke.ptx
//
// The cases that compute exit with 0 if every number is right. Those named `detects_...` make one mistake that the
// emulator must stop; reaching their end is the failure. test.sh lists the cases and what each must print.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Stream = void*;

void require(bool condition, const std::string& what) {
    if (condition) return;
    fprintf(stderr, "smoke: %s\n", what.c_str());
    exit(2);
}

void* library(const char* name) {
    void* loaded = dlopen(name, RTLD_NOW);
    require(loaded != nullptr, std::string("cannot load ") + name);
    return loaded;
}

// Calls a function of the driver by name and returns its status.
template <class... Arguments> int call(const char* name, Arguments... arguments) {
    static void* const driver = library("libcuda.so.1");
    void* function = dlsym(driver, name);
    require(function != nullptr, std::string("libcuda.so.1 lacks ") + name);
    return reinterpret_cast<int (*)(Arguments...)>(function)(arguments...);
}

// The same, for calls that must succeed.
template <class... Arguments> void cuda(const char* name, Arguments... arguments) {
    const int status = call(name, arguments...);
    require(status == 0, std::string(name) + " returned " + std::to_string(status));
}

std::string ptx;

void* function(const char* name) {
    static void* module = nullptr;
    if (module == nullptr) cuda("cuModuleLoadData", &module, static_cast<const void*>(ptx.c_str()));
    void* found = nullptr;
    cuda("cuModuleGetFunction", &found, module, name);
    return found;
}

uint64_t allocate(size_t bytes) {
    uint64_t address = 0;
    cuda("cuMemAlloc_v2", &address, bytes);
    return address;
}

void upload(uint64_t to, const std::vector<float>& from, Stream stream = nullptr) {
    cuda("cuMemcpyHtoDAsync_v2", to, static_cast<const void*>(from.data()), from.size() * sizeof(float), stream);
}

std::vector<float> download(uint64_t from, size_t count, Stream stream = nullptr) {
    std::vector<float> to(count);
    cuda("cuMemcpyDtoHAsync_v2", static_cast<void*>(to.data()), from, count * sizeof(float), stream);
    return to;
}

int launch(void* kernel, unsigned blocks, unsigned threads, std::vector<void*> parameters, Stream stream = nullptr,
           unsigned shared_bytes = 0) {
    void** extra = nullptr;
    return call("cuLaunchKernel", kernel, blocks, 1u, 1u, threads, 1u, 1u, shared_bytes, stream, parameters.data(),
                extra);
}

void synchronize() { cuda("cuCtxSynchronize"); }

std::vector<float> ramp(size_t count) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = float(i) + 0.5f;
    return values;
}

// y = 2 x + y over `n` values, of which `x` and `y` hold as many as their allocations say.
void scale_add(uint64_t y, uint64_t x, unsigned n, Stream stream = nullptr) {
    float factor = 2;
    require(launch(function("scale_add"), (n + 255) / 256, 256, {&y, &x, &factor, &n}, stream) == 0,
            "cannot launch scale_add");
}

void computes() {
    const size_t n = 1000;
    const uint64_t x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float));
    upload(x, ramp(n)), upload(y, std::vector<float>(n, 1));
    scale_add(y, x, n);
    synchronize();
    const std::vector<float> result = download(y, n);
    for (size_t i = 0; i < n; ++i) require(result[i] == 2 * (float(i) + 0.5f) + 1, "scale_add is wrong");
    cuda("cuMemFree_v2", x), cuda("cuMemFree_v2", y);
}

void shares_memory_in_a_block() {
    const size_t n = 192;
    uint64_t x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float));
    upload(x, ramp(n));
    require(launch(function("reverse_blocks"), n / 64, 64, {&y, &x}) == 0, "cannot launch reverse_blocks");
    const std::vector<float> result = download(y, n);
    for (size_t i = 0; i < n; ++i)
        require(result[i] == float(i / 64 * 64 + 63 - i % 64) + 0.5f, "reverse_blocks is wrong");
}

void shuffles_in_a_warp() {
    uint64_t x = allocate(32 * sizeof(float)), y = allocate(sizeof(float));
    upload(x, ramp(32));
    require(launch(function("warp_sum"), 1, 32, {&y, &x}) == 0, "cannot launch warp_sum");
    require(download(y, 1)[0] == 512, "warp_sum is wrong");
}

// A second stream reads what the first one writes, after an event.
void orders_streams_by_events() {
    const size_t n = 64;
    Stream first = nullptr, second = nullptr;
    void* event = nullptr;
    cuda("cuStreamCreate", &first, 1u), cuda("cuStreamCreate", &second, 1u), cuda("cuEventCreate", &event, 2u);
    const uint64_t x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float));
    upload(x, ramp(n)), upload(y, std::vector<float>(n, 0));
    synchronize();
    scale_add(y, x, n, first);
    cuda("cuEventRecord", event, first);
    cuda("cuStreamWaitEvent", second, event, 0u);
    require(download(y, n, second)[3] == 7, "the second stream did not wait for the event");
}

// The same without the event: the emulator runs the kernel only when something waits for it.
void shows_a_missing_wait() {
    const size_t n = 64;
    Stream first = nullptr, second = nullptr;
    cuda("cuStreamCreate", &first, 1u), cuda("cuStreamCreate", &second, 1u);
    const uint64_t x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float));
    upload(x, ramp(n)), upload(y, std::vector<float>(n, 0));
    synchronize();
    scale_add(y, x, n, first);
    require(download(y, n, second)[3] == 0, "a stream waited for another one without an event");
    require(download(y, n, first)[3] == 7, "the first stream did not run its kernel");
}

void uninitialised_memory_is_nan() {
    const size_t n = 8;
    const uint64_t x = allocate(n * sizeof(float)), y = allocate(n * sizeof(float));
    upload(y, std::vector<float>(n, 0));
    scale_add(y, x, n); // x was never written
    for (float value : download(y, n)) require(std::isnan(value), "memory that was never written is not NaN");
}

void multiplies_matrices() {
    void* const blas = library("libcublas.so.13");
    const auto create = reinterpret_cast<int (*)(void**)>(dlsym(blas, "cublasCreate_v2"));
    using Multiply = int (*)(void*, int, int, int, int, int, const void*, uint64_t, int, int, long long, uint64_t, int,
                             int, long long, const void*, uint64_t, int, int, long long, int, int, int);
    const auto multiply = reinterpret_cast<Multiply>(dlsym(blas, "cublasGemmStridedBatchedEx"));
    require(create != nullptr && multiply != nullptr, "libcublas.so.13 lacks a function");
    void* handle = nullptr;
    require(create(&handle) == 0, "cannot create a cuBLAS handle");
    const uint64_t a = allocate(6 * sizeof(float)), b = allocate(6 * sizeof(float)), c = allocate(4 * sizeof(float));
    upload(a, {1, 2, 3, 4, 5, 6}), upload(b, {1, 0, 1, 0, 1, 0}); // 2 x 3 and 3 x 2, column-major
    const float one = 1, zero = 0;
    const int f32 = 0, compute_f32 = 68, plain = 0;
    require(multiply(handle, plain, plain, 2, 2, 3, &one, a, f32, 2, 0, b, f32, 3, 0, &zero, c, f32, 2, 0, 1,
                     compute_f32, -1) == 0,
            "cannot multiply");
    require(download(c, 4) == std::vector<float>({6, 8, 3, 4}), "the product is wrong");
}

void refuses_bad_calls() {
    uint64_t x = allocate(4), y = allocate(4);
    float factor = 1;
    unsigned n = 1;
    const std::vector<void*> parameters = {&y, &x, &factor, &n};
    void* const kernel = function("scale_add");
    const int invalid_value = 1, out_of_memory = 2, invalid_ptx = 218, not_found = 500;
    require(launch(kernel, 0, 32, parameters) == invalid_value, "an empty grid was accepted");
    require(launch(kernel, 1, 257, parameters) == invalid_value, "more threads than .maxntid were accepted");
    require(launch(kernel, 1, 32, parameters, nullptr, 1 << 20) == invalid_value,
            "1 MiB of shared memory was accepted");
    void *module = nullptr, *kernel_of_module = nullptr;
    require(call("cuModuleLoadData", &module, static_cast<const void*>("/* no end")) == invalid_ptx,
            "invalid PTX was accepted");
    cuda("cuModuleLoadData", &module, static_cast<const void*>(ptx.c_str()));
    require(call("cuModuleGetFunction", &kernel_of_module, module, "no_such_kernel") == not_found,
            "a kernel that does not exist was found");
    uint64_t address = 0;
    require(call("cuMemAlloc_v2", &address, size_t(1) << 50) == out_of_memory, "1 PiB was allocated");
}

void detects_read_beyond_the_end() {
    const uint64_t x = allocate(4 * sizeof(float)), y = allocate(8 * sizeof(float));
    upload(x, ramp(4)), upload(y, ramp(8));
    scale_add(y, x, 8); // x holds 4 values
    synchronize();
}

void detects_use_after_free() {
    const uint64_t x = allocate(4 * sizeof(float)), y = allocate(4 * sizeof(float));
    upload(x, ramp(4)), upload(y, ramp(4));
    synchronize();
    cuda("cuMemFree_v2", x);
    scale_add(y, x, 4);
    synchronize();
}

void detects_copy_beyond_the_end() {
    const uint64_t x = allocate(4 * sizeof(float));
    upload(x, ramp(5));
}

void detects_missing_barrier() {
    uint64_t unused = 0;
    require(launch(function("missing_barrier"), 1, 64, {&unused}) == 0, "cannot launch missing_barrier");
    synchronize();
}

void start() {
    int version = 0, count = 0, device = 0;
    cuda("cuInit", 0u);
    cuda("cuDriverGetVersion", &version);
    cuda("cuDeviceGetCount", &count);
    cuda("cuDeviceGet", &device, 0);
    require(version >= 13000 && count == 1, "the emulated device does not introduce itself as one CUDA 13 device");
    void* context = nullptr;
    cuda("cuDevicePrimaryCtxRetain", &context, device);
    cuda("cuCtxSetCurrent", context);
}

} // namespace

int main(int count, char** arguments) {
    const std::map<std::string, void (*)()> cases = {
        {"computes", computes},
        {"shares_memory_in_a_block", shares_memory_in_a_block},
        {"shuffles_in_a_warp", shuffles_in_a_warp},
        {"orders_streams_by_events", orders_streams_by_events},
        {"shows_a_missing_wait", shows_a_missing_wait},
        {"uninitialised_memory_is_nan", uninitialised_memory_is_nan},
        {"multiplies_matrices", multiplies_matrices},
        {"refuses_bad_calls", refuses_bad_calls},
        {"detects_read_beyond_the_end", detects_read_beyond_the_end},
        {"detects_use_after_free", detects_use_after_free},
        {"detects_copy_beyond_the_end", detects_copy_beyond_the_end},
        {"detects_missing_barrier", detects_missing_barrier},
    };
    require(count == 3 && cases.count(arguments[1]), "usage: smoke CASE smoke.ptx");
    std::ostringstream text;
    text << std::ifstream(arguments[2]).rdbuf();
    ptx = text.str();
    require(!ptx.empty(), std::string("cannot read ") + arguments[2]);
    start();
    cases.at(arguments[1])();
    puts("completed");
}
