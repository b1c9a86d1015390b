// Streams, events and memory of the emulated GPU. Work runs as late as the rules of streams allow: when
// something waits for it. A missing wait therefore shows as wrong numbers.
#pragma once

#include "../../crates/sam3/kernels/host/cuda_on_host.h"

#include <mutex>

namespace emulated {

// Every function of the driver holds this lock: there is one GPU.
inline std::recursive_mutex lock;

inline uint64_t number_from_environment(const char* name, uint64_t otherwise) {
    const char* text = getenv(name);
    return text != nullptr && *text != 0 ? strtoull(text, nullptr, 10) : otherwise;
}

// Whether kernels and products are counted but not run. Memory then holds zeros and results are meaningless.
inline bool only_counts() {
    static const bool only = number_from_environment("EMULATED_CUDA_ONLY_COUNT", 0) != 0;
    return only;
}

// Number of calls by kind, written at exit to the file EMULATED_CUDA_COUNTS if that is set.
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
    // Runs the first `until` entries ever queued, except those that have run.
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

// All streams ever created. They are never freed, because an event may refer to a destroyed stream.
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

// Memory of the GPU. Each allocation is filled with NaN, is followed by an inaccessible page, and is unmapped
// when it is freed.
class Memory {
  public:
    uint64_t total, used = 0, peak = 0;

    explicit Memory(uint64_t total) : total(total) {}

    // Returns the address, or 0 if out of memory.
    uint64_t allocate(uint64_t bytes) {
        if (bytes > total - used) return 0;
        unsigned char* at = map(bytes);
        const uint64_t address = reinterpret_cast<uint64_t>(at);
        allocations[address] = bytes;
        used += bytes;
        peak = std::max(peak, used);
        return address;
    }
    // Subtracts an allocation from `used`; `unmap` follows when the stream gets there. False if not allocated.
    bool release(uint64_t address) {
        const auto found = allocations.find(address);
        if (found == allocations.end() || released.count(address)) return false;
        released[address] = found->second;
        used -= found->second;
        return true;
    }
    // Makes a released allocation inaccessible.
    void unmap(uint64_t address) {
        const auto found = allocations.find(address);
        if (found == allocations.end()) on_host::fail("double free");
        unmap(reinterpret_cast<unsigned char*>(address), found->second);
        released.erase(address);
        allocations.erase(found);
    }
    // Whether `bytes` from `address` are within one allocation.
    bool contains(uint64_t address, uint64_t bytes) const {
        auto after = allocations.upper_bound(address);
        if (after == allocations.begin()) return false;
        --after;
        return address - after->first <= after->second && bytes <= after->second - (address - after->first);
    }
    void check(const char* what, uint64_t address, uint64_t bytes) const {
        if (bytes != 0 && !contains(address, bytes)) {
            on_host::machine.what = what;
            on_host::fail("address range is not allocated");
        }
    }

  private:
    std::map<uint64_t, uint64_t> allocations, released;
    std::map<uint64_t, std::vector<unsigned char*>> reusable; // by size, if only counting

    unsigned char* map(uint64_t bytes) {
        if (!only_counts()) {
            unsigned char* at = on_host::guarded(bytes);
            memset(at, on_host::POISON, bytes);
            return at;
        }
        std::vector<unsigned char*>& same = reusable[bytes];
        if (!same.empty()) {
            unsigned char* at = same.back();
            same.pop_back();
            return at;
        }
        void* at =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) on_host::fail("out of host memory");
        return static_cast<unsigned char*>(at);
    }
    void unmap(unsigned char* at, uint64_t bytes) {
        if (only_counts()) {
            reusable[bytes].push_back(at);
        } else {
            on_host::unguard(at, bytes);
        }
    }
};

inline Memory& memory() {
    static Memory memory(number_from_environment("EMULATED_CUDA_MIB", 16384) << 20);
    return memory;
}

// The stream with handle 0.
inline Stream& default_stream() {
    static Stream* const stream = new_stream();
    return *stream;
}

inline Stream& stream_of(void* handle) {
    return handle == nullptr ? default_stream() : *static_cast<Stream*>(handle);
}

} // namespace emulated
