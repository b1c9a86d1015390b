// Streams, events and memory of the emulated GPU. Work is done as late as the rules of streams allow: what
// was queued runs when somebody waits for it, so that a wait that is missing shows as wrong numbers.
#pragma once

#include "../../crates/sam3/kernels/host/cuda_on_host.h"

#include <mutex>

namespace emulated {

// One GPU, one lock: every function of the driver takes it.
inline std::recursive_mutex lock;

inline uint64_t number_from_environment(const char* name, uint64_t otherwise) {
    const char* text = getenv(name);
    return text != nullptr && *text != 0 ? strtoull(text, nullptr, 10) : otherwise;
}

// Whether kernels and products are only counted: numbers mean nothing then, and memory holds zeros.
inline bool only_counts() {
    static const bool only = number_from_environment("EMULATED_CUDA_ONLY_COUNT", 0) != 0;
    return only;
}

// What was asked of the GPU so far; told at the end where EMULATED_CUDA_COUNTS names a file.
struct Counts {
    std::map<std::string, uint64_t> all;

    void add(const std::string& what, uint64_t n = 1) { all[what] += n; }
    ~Counts() {
        const char* path = getenv("EMULATED_CUDA_COUNTS");
        FILE* file = path != nullptr ? fopen(path, "w") : nullptr;
        if (file == nullptr) return;
        for (const auto& [what, n] : all)
            fprintf(file, "%12llu %s\n", static_cast<unsigned long long>(n), what.c_str());
        fclose(file);
    }
};
inline Counts counts;

struct Stream {
    std::deque<std::function<void()>> work;
    uint64_t queued = 0, done = 0;

    void add(std::function<void()> one) {
        work.push_back(std::move(one));
        ++queued;
    }
    // Does what was queued before the moment `until`.
    void run(uint64_t until) {
        while (done < until && !work.empty()) {
            const std::function<void()> one = std::move(work.front());
            work.pop_front();
            ++done;
            one();
        }
    }
    void run() { run(queued); }
};

// All of them, and for as long as the program runs: events may know a stream that is destroyed.
inline std::vector<Stream*>& streams() {
    static std::vector<Stream*> streams;
    return streams;
}

inline Stream* new_stream() {
    streams().push_back(new Stream);
    return streams().back();
}

struct Event {
    Stream* stream = nullptr;
    uint64_t moment = 0;

    void wait() const {
        if (stream != nullptr) stream->run(moment);
    }
};

// Memory of the GPU: every allocation ends where a page that cannot be touched begins, holds NaN at first,
// and cannot be touched once it is free.
class Memory {
  public:
    uint64_t total, used = 0, peak = 0;

    explicit Memory(uint64_t total) : total(total) {}

    // Address, or 0 if there is not enough.
    uint64_t allocate(uint64_t bytes) {
        if (bytes > total - used) return 0;
        unsigned char* at = map(bytes);
        const uint64_t address = reinterpret_cast<uint64_t>(at);
        allocations[address] = bytes;
        used += bytes;
        peak = std::max(peak, used);
        return address;
    }
    // The bytes of an allocation count as free from now on.
    bool release(uint64_t address) {
        const auto found = allocations.find(address);
        if (found == allocations.end() || released.count(address)) return false;
        released[address] = found->second;
        used -= found->second;
        return true;
    }
    // It goes away.
    void unmap(uint64_t address) {
        const auto found = allocations.find(address);
        if (found == allocations.end()) on_host::fail("memory was freed twice");
        unmap(reinterpret_cast<unsigned char*>(address), found->second);
        released.erase(address);
        allocations.erase(found);
    }
    bool holds(uint64_t address, uint64_t bytes) const {
        auto after = allocations.upper_bound(address);
        if (after == allocations.begin()) return false;
        --after;
        return address - after->first <= after->second && bytes <= after->second - (address - after->first);
    }
    void check(const char* what, uint64_t address, uint64_t bytes) const {
        if (bytes != 0 && !holds(address, bytes)) {
            on_host::machine.what = what;
            on_host::fail("memory that is not allocated");
        }
    }

  private:
    std::map<uint64_t, uint64_t> allocations, released;
    std::map<uint64_t, std::vector<unsigned char*>> kept; // by size, where only counting

    unsigned char* map(uint64_t bytes) {
        if (!only_counts()) {
            unsigned char* at = on_host::guarded(bytes);
            memset(at, on_host::POISON, bytes);
            return at;
        }
        std::vector<unsigned char*>& same = kept[bytes];
        if (!same.empty()) {
            unsigned char* at = same.back();
            same.pop_back();
            return at;
        }
        void* at =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) on_host::fail("no memory");
        return static_cast<unsigned char*>(at);
    }
    void unmap(unsigned char* at, uint64_t bytes) {
        if (only_counts()) {
            kept[bytes].push_back(at);
        } else {
            on_host::unguard(at, bytes);
        }
    }
};

inline Memory& memory() {
    static Memory memory(number_from_environment("EMULATED_CUDA_MIB", 16384) << 20);
    return memory;
}

// The stream of handle 0.
inline Stream& default_stream() {
    static Stream* const stream = new_stream();
    return *stream;
}

inline Stream& stream_of(void* handle) {
    return handle == nullptr ? default_stream() : *static_cast<Stream*>(handle);
}

} // namespace emulated
