/* Functions of the CUDA runtime and of cuRAND that candle refers to and this program does not need, so that neither
 * library has to be installed.
 *
 * candle links kernels for quantised models, whose compiled code registers itself with the CUDA runtime when the program
 * starts, and creates a random number generator with every device. Both succeed here without effect. To launch such a
 * kernel, or to generate numbers, fails. */

#include <stddef.h>

enum { SUCCESS = 0, UNKNOWN_ERROR = 999 };

static void *handle[1];

void **__cudaRegisterFatBinary(void *binary) { (void)binary; return handle; }
void __cudaRegisterFatBinaryEnd(void **binary) { (void)binary; }
void __cudaUnregisterFatBinary(void **binary) { (void)binary; }
void __cudaRegisterFunction(void) {}
void __cudaRegisterVar(void) {}
void __cudaInitModule(void) {}

#define FAILS(name) \
    int name(void) { return UNKNOWN_ERROR; }
/* Code that is compiled for one default stream per thread calls the second of the two. */
#define FAILS_ON_STREAM(name) FAILS(name) FAILS(name##_ptsz)

FAILS(__cudaPushCallConfiguration)
FAILS(__cudaPopCallConfiguration)
FAILS(__cudaGetKernel)
FAILS(__cudaLaunchKernel)
FAILS(cudaDeviceGetAttribute)
FAILS(cudaFree)
FAILS(cudaFuncGetAttributes)
FAILS(cudaFuncSetAttribute)
FAILS(cudaGetDevice)
FAILS(cudaGetDeviceCount)
FAILS(cudaGetLastError)
FAILS(cudaMalloc)
FAILS(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)
FAILS(cudaPeekAtLastError)
FAILS(cudaSetDevice)
FAILS_ON_STREAM(cudaFreeAsync)
FAILS_ON_STREAM(cudaLaunchKernel)
FAILS_ON_STREAM(cudaMallocAsync)
FAILS_ON_STREAM(cudaMemsetAsync)
FAILS_ON_STREAM(cudaStreamSynchronize)

const char *cudaGetErrorName(void) { return "cudaErrorUnknown"; }
const char *cudaGetErrorString(void) { return "the CUDA runtime is not part of this program"; }

int curandCreateGenerator(void **generator, int type) {
    (void)type;
    *generator = NULL;
    return SUCCESS;
}
int curandDestroyGenerator(void) { return SUCCESS; }
int curandSetPseudoRandomGeneratorSeed(void) { return SUCCESS; }
int curandSetStream(void) { return SUCCESS; }
FAILS(curandGenerateNormal)
FAILS(curandGenerateNormalDouble)
FAILS(curandGenerateUniform)
FAILS(curandGenerateUniformDouble)
