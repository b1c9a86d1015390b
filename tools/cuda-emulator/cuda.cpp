// libcuda.so.1 for a machine without a GPU: the functions of the CUDA driver that Courtside calls, on host
// memory. Kernels arrive as PTX, are translated to C++ (ptx.h), compiled with CXX, cached in the folder
// EMULATED_CUDA_CACHE, and run thread by thread. Slow; see README.md.
//
// Stricter than a GPU where possible: uninitialised memory is NaN, an access out of bounds or after a free
// ends the program, and work runs as late as the rules of streams allow (streams.h).
#include "ptx.h"
#include "streams.h"

#include "instructions.h"

#include <dlfcn.h>
#include <fstream>
#include <memory>

using namespace emulated;

namespace {

enum Status {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_PTX = 218,
    NOT_FOUND = 500,
    INVALID_CONTEXT = 201
};

using Launcher = void (*)(const ptx::Launch&);

struct Function {
    const ptx::Module* module;
    const ptx::Entry* entry;
    Launcher launcher = nullptr;
    size_t static_shared = 0;
    size_t allowed_shared = 48 << 10;
};

struct LoadedModule {
    ptx::Module module;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

constexpr int SM_COUNT = 108, SHARED_OPT_IN = 163 << 10;
int context;

[[noreturn]] void stop(const std::string& why) {
    fprintf(stderr, "emulated CUDA: %s\n", why.c_str());
    _exit(1);
}

std::string required_variable(const char* name) {
    const char* text = getenv(name);
    if (text == nullptr || *text == 0) stop(std::string(name) + " is not set: run the program with tools/cuda-emulator/run.sh");
    return text;
}

uint64_t hash_of(const std::string& text) { // FNV-1a
    uint64_t hash = 0xcbf29ce484222325u;
    for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3u;
    return hash;
}

// Translates and compiles a kernel, or loads it from the cache. Processes may compile the same kernel at the
// same time: each writes its own files and renames them.
void compile(Function& function) {
    const std::string source = ptx::Translator(*function.module, *function.entry).translate();
    const std::string folder = required_variable("EMULATED_CUDA_CACHE");
    const std::string headers = required_variable("EMULATED_CUDA_HEADERS");
    char name[32];
    snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash_of(source)));
    const std::string stem = folder + "/" + function.entry->name + "-" + name, library = stem + ".so";
    if (access(library.c_str(), R_OK) != 0) {
        const std::string temporary = stem + "." + std::to_string(getpid());
        std::ofstream(temporary + ".cpp") << source;
        const char* compiler = getenv("CXX");
        const std::string command =
            std::string(compiler != nullptr ? compiler : "c++") +
            " -std=c++20 -O1 -ffp-contract=off -fno-strict-aliasing -w -fopenmp -fPIC -shared -I '" +
            headers + "' '" + temporary + ".cpp' -o '" + temporary + ".so'";
        if (system(command.c_str()) != 0)
            stop("cannot compile " + temporary + ".cpp (kernel " + function.entry->name + ")");
        if (rename((temporary + ".cpp").c_str(), (stem + ".cpp").c_str()) != 0 ||
            rename((temporary + ".so").c_str(), library.c_str()) != 0)
            stop("cannot write " + library);
    }
    void* loaded = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) stop(dlerror());
    function.launcher = reinterpret_cast<Launcher>(dlsym(loaded, "courtside_launch"));
    const auto static_shared = reinterpret_cast<size_t (*)()>(dlsym(loaded, "courtside_static_shared"));
    if (function.launcher == nullptr || static_shared == nullptr) stop(library + ": missing function");
    function.static_shared = static_shared();
}

using Locked = std::lock_guard<std::recursive_mutex>;

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) int

EXPORT cuInit(unsigned) { return SUCCESS; }

EXPORT cuDriverGetVersion(int* version) {
    *version = static_cast<int>(number_from_environment("EMULATED_CUDA_VERSION", 13000));
    return SUCCESS;
}

extern "C" __attribute__((visibility("default"))) int cuGetErrorString(int error, const char** text) {
    *text = error == OUT_OF_MEMORY   ? "out of memory"
            : error == INVALID_VALUE ? "invalid argument"
            : error == NOT_FOUND     ? "named symbol not found"
                                     : "error of the emulated driver";
    return SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------
// Devices

EXPORT cuDeviceGetCount(int* count) {
    *count = 1;
    return SUCCESS;
}
EXPORT cuDeviceGet(int* device, int ordinal) {
    if (ordinal != 0) return 101; // invalid device
    *device = 0;
    return SUCCESS;
}
EXPORT cuDeviceGetName(char* name, int size, int) {
    snprintf(name, size, "Emulated GPU");
    return SUCCESS;
}
EXPORT cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = memory().total;
    return SUCCESS;
}
EXPORT cuDeviceGetAttribute(int* value, int attribute, int) {
    const int capability = static_cast<int>(number_from_environment("EMULATED_CUDA_CAPABILITY", 80));
    switch (attribute) {
    case 1: *value = 1024; break;     // threads in a block
    case 8: *value = 48 << 10; break; // shared memory of a block
    case 10: *value = on_host::WARP; break;
    case 16: *value = SM_COUNT; break;
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    case 97: *value = SHARED_OPT_IN; break;
    case 115: *value = 1; break; // memory pools
    default: *value = 0;
    }
    return SUCCESS;
}
EXPORT cuDevicePrimaryCtxRetain(void** out, int) {
    *out = &context;
    return SUCCESS;
}
EXPORT cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
EXPORT cuCtxDestroy_v2(void*) { return SUCCESS; }

namespace {
thread_local void* current_context = nullptr;
}

EXPORT cuCtxGetCurrent(void** out) {
    *out = current_context;
    return SUCCESS;
}
EXPORT cuCtxSetCurrent(void* to) {
    current_context = to;
    return SUCCESS;
}
EXPORT cuCtxSynchronize() {
    const Locked locked(lock);
    for (Stream* stream : streams()) stream->run();
    return SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------
// Memory

EXPORT cuMemGetInfo_v2(size_t* free, size_t* total) {
    const Locked locked(lock);
    if (current_context == nullptr) return INVALID_CONTEXT;
    *free = memory().total - memory().used, *total = memory().total;
    return SUCCESS;
}
EXPORT cuMemAllocAsync(uint64_t* address, size_t bytes, void* stream) {
    const Locked locked(lock);
    if (current_context == nullptr) return INVALID_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    counts.add("allocations");
    // A driver that runs out of memory waits for the stream first: queued work may free memory.
    if (bytes > memory().total - memory().used) stream_of(stream).run();
    *address = memory().allocate(bytes);
    return *address == 0 ? OUT_OF_MEMORY : SUCCESS;
}
EXPORT cuMemAlloc_v2(uint64_t* address, size_t bytes) { return cuMemAllocAsync(address, bytes, nullptr); }
EXPORT cuMemFreeAsync(uint64_t address, void* stream) {
    const Locked locked(lock);
    if (!memory().release(address)) return INVALID_VALUE;
    stream_of(stream).add([address] { memory().unmap(address); });
    return SUCCESS;
}
EXPORT cuMemFree_v2(uint64_t address) {
    const Locked locked(lock);
    if (!memory().release(address)) return INVALID_VALUE;
    memory().unmap(address);
    return SUCCESS;
}
EXPORT cuDeviceGetDefaultMemPool(void** pool, int) {
    *pool = &memory();
    return SUCCESS;
}
EXPORT cuMemPoolGetAttribute(void*, int attribute, void* value) {
    const Locked locked(lock);
    uint64_t number = 0;
    switch (attribute) {
    case 5: // reserved
    case 7: number = memory().used; break;
    case 6: // peak reserved
    case 8: number = memory().peak; break;
    default: return INVALID_VALUE;
    }
    *static_cast<uint64_t*>(value) = number;
    return SUCCESS;
}
EXPORT cuMemPoolSetAttribute(void*, int attribute, void* value) {
    const Locked locked(lock);
    if (attribute == 8 && *static_cast<uint64_t*>(value) == 0) memory().peak = memory().used;
    return SUCCESS;
}

EXPORT cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    const Locked locked(lock);
    memory().check("copy to the GPU", to, bytes);
    counts.add("copies to the GPU"), counts.add("bytes to the GPU", bytes);
    // The driver reads pageable host memory before the call returns.
    const unsigned char* start = static_cast<const unsigned char*>(from);
    const auto staged = std::make_shared<std::vector<unsigned char>>(start, start + bytes);
    stream_of(stream).add([to, staged] {
        memory().check("copy to the GPU", to, staged->size());
        memcpy(reinterpret_cast<void*>(to), staged->data(), staged->size());
    });
    return SUCCESS;
}
EXPORT cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    const Locked locked(lock);
    counts.add("copies from the GPU, each a wait"), counts.add("bytes from the GPU", bytes);
    // A copy to pageable host memory has completed when the call returns.
    stream_of(stream).run();
    memory().check("copy from the GPU", from, bytes);
    memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
}
EXPORT cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    const Locked locked(lock);
    counts.add("copies on the GPU");
    stream_of(stream).add([=] {
        memory().check("copy on the GPU", from, bytes);
        memory().check("copy on the GPU", to, bytes);
        memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    });
    return SUCCESS;
}
EXPORT cuMemcpyPeerAsync(uint64_t, void*, uint64_t, void*, size_t, void*) { return INVALID_VALUE; }
EXPORT cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* stream) {
    const Locked locked(lock);
    counts.add("memory sets");
    stream_of(stream).add([=] {
        memory().check("set on the GPU", to, bytes);
        memset(reinterpret_cast<void*>(to), value, bytes);
    });
    return SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------
// Streams and events

EXPORT cuStreamCreate(void** stream, unsigned) {
    const Locked locked(lock);
    *stream = new_stream();
    return SUCCESS;
}
EXPORT cuStreamDestroy_v2(void* stream) {
    const Locked locked(lock);
    stream_of(stream).run();
    return SUCCESS;
}
EXPORT cuStreamSynchronize(void* stream) {
    const Locked locked(lock);
    counts.add("waits for a stream");
    stream_of(stream).run();
    return SUCCESS;
}
EXPORT cuStreamIsCapturing(void*, int* status) {
    *status = 0;
    return SUCCESS;
}
EXPORT cuStreamWaitEvent(void* stream, void* event, unsigned) {
    const Locked locked(lock);
    const Event now = *static_cast<Event*>(event);
    stream_of(stream).add([now] { now.wait(); });
    return SUCCESS;
}
EXPORT cuEventCreate(void** event, unsigned) {
    *event = new Event;
    return SUCCESS;
}
EXPORT cuEventDestroy_v2(void* event) {
    const Locked locked(lock);
    delete static_cast<Event*>(event);
    return SUCCESS;
}
EXPORT cuEventRecord(void* event, void* stream) {
    const Locked locked(lock);
    *static_cast<Event*>(event) = {&stream_of(stream), stream_of(stream).queued};
    return SUCCESS;
}
EXPORT cuEventSynchronize(void* event) {
    const Locked locked(lock);
    counts.add("waits for an event");
    static_cast<Event*>(event)->wait();
    return SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------
// Kernels

EXPORT cuModuleLoadData(void** out, const void* image) {
    const Locked locked(lock);
    try {
        auto loaded = std::make_unique<LoadedModule>();
        loaded->module = ptx::parse(static_cast<const char*>(image));
        *out = loaded.release();
        return SUCCESS;
    } catch (const std::exception& error) {
        fprintf(stderr, "emulated CUDA: cannot load module: %s\n", error.what());
        return INVALID_PTX;
    }
}
EXPORT cuModuleLoad(void**, const char*) { return INVALID_VALUE; }
EXPORT cuModuleUnload(void*) { return SUCCESS; }

EXPORT cuModuleGetFunction(void** out, void* module, const char* name) {
    const Locked locked(lock);
    LoadedModule& loaded = *static_cast<LoadedModule*>(module);
    const auto entry = loaded.module.entries.find(name);
    if (entry == loaded.module.entries.end()) return NOT_FOUND;
    std::unique_ptr<Function>& function = loaded.functions[name];
    if (function == nullptr) {
        function = std::make_unique<Function>();
        function->module = &loaded.module, function->entry = &entry->second;
        try {
            if (!only_counts()) compile(*function);
        } catch (const std::exception& error) {
            stop(error.what());
        }
    }
    *out = function.get();
    return SUCCESS;
}

EXPORT cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != 8) return SUCCESS; // 8: maximum dynamic shared memory
    if (value < 0 || value > SHARED_OPT_IN) return INVALID_VALUE;
    static_cast<Function*>(function)->allowed_shared = value;
    return SUCCESS;
}

EXPORT cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream,
                      void** parameters, void** extra) {
    const Locked locked(lock);
    if (current_context == nullptr) return INVALID_CONTEXT;
    const Function& function = *static_cast<Function*>(handle);
    const uint64_t threads = uint64_t(block_x) * block_y * block_z;
    if (extra != nullptr || threads == 0 || threads > function.entry->max_threads || grid_x == 0 ||
        grid_y == 0 || grid_z == 0 || grid_x > 0x7fffffff || grid_y > 65535 || grid_z > 65535 ||
        block_z > 64 || shared_bytes > function.allowed_shared ||
        function.static_shared + shared_bytes > std::max<size_t>(48 << 10, function.allowed_shared)) {
        fprintf(
            stderr,
            "emulated CUDA: %s: invalid launch: grid %u x %u x %u, block %u x %u x %u, %u bytes of shared memory\n",
            function.entry->name.c_str(), grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes);
        return INVALID_VALUE;
    }
    counts.add("launches"), counts.add("kernel " + function.entry->name);
    if (only_counts()) return SUCCESS;
    const auto values = std::make_shared<std::vector<unsigned char>>(function.entry->parameter_bytes);
    for (size_t i = 0; i < function.entry->parameters.size(); ++i) {
        const ptx::Parameter& p = function.entry->parameters[i];
        memcpy(values->data() + p.offset, parameters[i], p.size);
    }
    const ptx::Launch launch = {dim3(grid_x, grid_y, grid_z), dim3(block_x, block_y, block_z),
                                function.static_shared + shared_bytes, nullptr, function.entry->name.c_str()};
    stream_of(stream).add([values, launch, launcher = function.launcher] {
        ptx::Launch with_parameters = launch;
        with_parameters.parameters = values->data();
        launcher(with_parameters);
    });
    return SUCCESS;
}
