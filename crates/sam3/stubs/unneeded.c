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

int __cudaPushCallConfiguration(void) { return UNKNOWN_ERROR; }
int __cudaPopCallConfiguration(void) { return UNKNOWN_ERROR; }
int __cudaGetKernel(void) { return UNKNOWN_ERROR; }
int __cudaLaunchKernel(void) { return UNKNOWN_ERROR; }
int cudaLaunchKernel(void) { return UNKNOWN_ERROR; }
int cudaFuncSetAttribute(void) { return UNKNOWN_ERROR; }
int cudaGetDevice(void) { return UNKNOWN_ERROR; }
int cudaGetLastError(void) { return UNKNOWN_ERROR; }
int cudaMallocAsync(void) { return UNKNOWN_ERROR; }
int cudaFreeAsync(void) { return UNKNOWN_ERROR; }
int cudaMemsetAsync(void) { return UNKNOWN_ERROR; }
const char *cudaGetErrorString(void) { return "the CUDA runtime is not part of this program"; }

int curandCreateGenerator(void **generator, int type) {
    (void)type;
    *generator = NULL;
    return SUCCESS;
}
int curandDestroyGenerator(void) { return SUCCESS; }
int curandSetPseudoRandomGeneratorSeed(void) { return SUCCESS; }
int curandSetStream(void) { return SUCCESS; }
int curandGenerateNormal(void) { return UNKNOWN_ERROR; }
int curandGenerateNormalDouble(void) { return UNKNOWN_ERROR; }
int curandGenerateUniform(void) { return UNKNOWN_ERROR; }
int curandGenerateUniformDouble(void) { return UNKNOWN_ERROR; }
