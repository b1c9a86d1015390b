// Runs every kernel on the CPU and compares it with a plain reference in double precision. Prints one line per case, and
// exits with 1 if any case failed.
//
//   c++ -std=c++20 -O2 -I crates/sam3/kernels crates/sam3/kernels/host/test_kernels.cpp -o test && ./test
#include "host/testing.h"

#include "device.cuh"

#include "host/test_attention.h"
#include "host/test_others.h"

int main() {
    testing::test_attentions();
    testing::test_others();
    puts(testing::failures == 0 ? "all kernels agree with their references" : "some kernels FAILED");
    return testing::failures != 0;
}
