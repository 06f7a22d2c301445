#include "kernels/dense/dense.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"
#include "kernels/pointwise/pointwise_cuda.h"

namespace cafx::cuda {

namespace {

struct BiasActivation {  // of one element whose bias is bias[i / inner % n]
  template <Activation A>
  struct Of {
    float* y;
    const float* bias;
    long inner, n;
    __device__ auto operator()(Members members) const {
      return [=, y = members.of(y), bias = members.of(bias), inner = inner, n = n](long i) {
        y[i] = activate<A>(y[i] + bias[i / inner % n]);
      };
    }
  };
};

// Operands and results are fp32 in memory; cuBLAS rounds the operands on their way to the tensor cores.
cublasComputeType_t compute_of(const Context& context) {
  switch (context.precision) {
    case Precision::kTf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::kBf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
    case Precision::kFp16:
      return CUBLAS_COMPUTE_32F_FAST_16F;
    default:
      return CUBLAS_COMPUTE_32F;
  }
}

// c = a b + beta c, in cuBLAS's order: columns first.
void multiply(const Context& context, cublasOperation_t of_a, cublasOperation_t of_b, int m, int n, int k,
              const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  const float one = 1.0f;
  join(context);  // the libraries and cafx's filters share a workspace
  for_each_member(context, [&](const auto& of) {
    CAFX_CUBLAS_CHECK(cublasGemmEx(context.cuda->blas, of_a, of_b, m, n, k, &one, of(a), CUDA_R_32F, lda, of(b),
                                   CUDA_R_32F, ldb, &beta, of(c), CUDA_R_32F, ldc, compute_of(context),
                                   CUBLAS_GEMM_DEFAULT));
  });
}
// The same, once for each of a batch.
void multiply_each(const Context& context, cublasOperation_t of_a, cublasOperation_t of_b, int m, int n, int k,
                   const float* a, int lda, long long step_a, const float* b, int ldb, long long step_b, float* c,
                   int ldc, long long step_c, int batch) {
  const float one = 1.0f, zero = 0.0f;
  join(context);
  for_each_member(context, [&](const auto& of) {
    CAFX_CUBLAS_CHECK(cublasGemmStridedBatchedEx(context.cuda->blas, of_a, of_b, m, n, k, &one, of(a), CUDA_R_32F, lda,
                                                 step_a, of(b), CUDA_R_32F, ldb, step_b, &zero, of(c), CUDA_R_32F, ldc,
                                                 step_c, batch, compute_of(context), CUBLAS_GEMM_DEFAULT));
  });
}

struct Layouts {
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  ~Layouts() {
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
    if (operation) cublasLtMatmulDescDestroy(operation);
    if (y) cublasLtMatrixLayoutDestroy(y);
    if (x) cublasLtMatrixLayoutDestroy(x);
    if (w) cublasLtMatrixLayoutDestroy(w);
  }
};

// y = act(x w^T + bias) with bias, and relu, in cuBLASLt's epilogue. False: it has no algorithm for this shape.
bool by_cublas_lt(const Context& context, float* y, const float* x, const float* w, const float* bias, DenseDims d) {
  CudaDevice& gpu = *context.cuda;
  Layouts l;
  // cuBLAS counts columns first: y^T (O,N) = w^T' (I,O)^T x^T (I,N).
  CAFX_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&l.w, CUDA_R_32F, d.I, d.O, d.I));
  CAFX_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&l.x, CUDA_R_32F, d.I, d.N, d.I));
  CAFX_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&l.y, CUDA_R_32F, d.O, d.N, d.O));
  CAFX_CUBLAS_CHECK(cublasLtMatmulDescCreate(&l.operation, compute_of(context), CUDA_R_32F));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  CAFX_CUBLAS_CHECK(
      cublasLtMatmulDescSetAttribute(l.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof transpose));
  const cublasLtEpilogue_t epilogue =
      d.activation == Activation::kRelu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  CAFX_CUBLAS_CHECK(
      cublasLtMatmulDescSetAttribute(l.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
  CAFX_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(l.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
  CAFX_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&l.preference));
  const std::size_t workspace = gpu.workspace_bytes;
  CAFX_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(l.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                         &workspace, sizeof workspace));
  cublasLtMatmulHeuristicResult_t found{};
  int n = 0;
  if (cublasLtMatmulAlgoGetHeuristic(gpu.lt, l.operation, l.w, l.x, l.y, l.y, l.preference, 1, &found, &n) !=
          CUBLAS_STATUS_SUCCESS ||
      n == 0) {
    return false;
  }
  const float one = 1.0f, zero = 0.0f;
  join(context);
  for_each_member(context, [&](const auto& of) {
    const float* own_bias = of(bias);
    CAFX_CUBLAS_CHECK(
        cublasLtMatmulDescSetAttribute(l.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &own_bias, sizeof own_bias));
    CAFX_CUBLAS_CHECK(cublasLtMatmul(gpu.lt, l.operation, &one, of(w), l.w, of(x), l.x, &zero, of(y), l.y, of(y), l.y,
                                     &found.algo, gpu.workspace, gpu.workspace_bytes, stream_of(context)));
  });
  return true;
}

// g = dy act'(y)
void before_activation(const Context& context, float* g, const float* dy, const float* y, long n, Activation a) {
  with_activation(a, [&]<Activation A>() { for_each(context, n, ActivationBackward<A>{g, dy, y}); });
}

}  // namespace

std::size_t dense_scratch(const Context&, DenseDims d) {
  return sizeof(float) * (static_cast<std::size_t>(d.N) * d.O + static_cast<std::size_t>(n_slices(d.N, d.O)) * d.O);
}

void dense_forward(const Context& context, float* y, const float* x, const float* w, const float* bias, void*,
                   DenseDims d) {
  const long n = static_cast<long>(d.N) * d.O;
  if (by_cublas_lt(context, y, x, w, bias, d)) {
    if (d.activation == Activation::kTanh || d.activation == Activation::kSoftplus) {
      with_activation(d.activation, [&]<Activation A>() { for_each(context, n, ActivationForward<A>{y, y}); });
    }
    return;
  }
  multiply(context, CUBLAS_OP_T, CUBLAS_OP_N, d.O, d.N, d.I, w, d.I, x, d.I, 0.0f, y, d.O);
  with_activation(d.activation, [&]<Activation A>() { for_each(context, n, BiasActivation::Of<A>{y, bias, 1, d.O}); });
}

void dense_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                    const float* x, const float* w, void* scratch, DenseDims d) {
  float* partial = static_cast<float*>(scratch) + static_cast<long>(d.N) * d.O;
  const float* g = dy;
  if (d.activation != Activation::kIdentity) {
    float* before = static_cast<float*>(scratch);  // (N,O)
    before_activation(context, before, dy, y, static_cast<long>(d.N) * d.O, d.activation);
    g = before;
  }
  if (dx) multiply(context, CUBLAS_OP_N, CUBLAS_OP_N, d.I, d.N, d.O, w, d.I, g, d.O, 0.0f, dx, d.I);
  multiply(context, CUBLAS_OP_N, CUBLAS_OP_T, d.I, d.O, d.N, x, d.I, g, d.O, 1.0f, dw, d.I);
  const int O = d.O;
  add_column_sums(context, dbias, partial, d.N, O, [=] __device__(Members members) mutable {
    members.enter(g);
    return [=](long row, int o) { return g[row * O + o]; };
  });
}

namespace {

// partial[b,o] = sum over c of g[b,o,c]: one warp each, lanes in a fixed tree.
__global__ void row_sums_kernel(Members members, float* partial, const float* g, long rows, int C) {
  members.enter(partial, g);
  const long row = static_cast<long>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  float sum = 0.0f;
  for (int c = threadIdx.x; c < C; c += 32) sum += g[row * C + c];
  for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_down_sync(0xffffffffu, sum, lane);
  if (threadIdx.x == 0) partial[row] = sum;
}

struct TimeScratch {
  float *g, *dw, *dbias;  // (B,O,C), (B,O,I), (B,O)
  std::size_t bytes;
  TimeScratch(void* base, DenseTimeDims d) {
    const long B = d.B, outputs = B * d.O;
    g = static_cast<float*>(base);
    dw = g + outputs * d.C;
    dbias = dw + outputs * d.I;
    bytes = sizeof(float) * static_cast<std::size_t>(outputs * (d.C + d.I + 1));
  }
};

}  // namespace

std::size_t dense_time_scratch(const Context&, DenseTimeDims d) { return TimeScratch(nullptr, d).bytes; }

void dense_time_forward(const Context& context, float* y, const float* x, const float* w, const float* bias,
                        DenseTimeDims d) {
  multiply_each(context, CUBLAS_OP_N, CUBLAS_OP_N, d.C, d.O, d.I, x, d.C, static_cast<long long>(d.I) * d.C, w, d.I, 0,
                y, d.C, static_cast<long long>(d.O) * d.C, d.B);
  with_activation(d.activation, [&]<Activation A>() {
    for_each(context, static_cast<long>(d.B) * d.O * d.C,
             BiasActivation::Of<A>{y, bias, d.C, d.bias_of_each ? static_cast<long>(d.B) * d.O : d.O});
  });
}

void dense_time_backward(const Context& context, float* dx, float* dw, float* dbias, const float* dy, const float* y,
                         const float* x, const float* w, void* scratch, DenseTimeDims d) {
  const TimeScratch s(scratch, d);
  const long B = d.B, outputs = B * d.O;
  before_activation(context, s.g, dy, y, outputs * d.C, d.activation);
  const long long in = static_cast<long long>(d.I) * d.C, out = static_cast<long long>(d.O) * d.C;
  multiply_each(context, CUBLAS_OP_N, CUBLAS_OP_T, d.C, d.I, d.O, s.g, d.C, out, w, d.I, 0, dx, d.C, in, d.B);
  // One product for each frame, summed in the order of the frames.
  multiply_each(context, CUBLAS_OP_T, CUBLAS_OP_N, d.I, d.O, d.C, x, d.C, in, s.g, d.C, out, s.dw, d.I,
                static_cast<long long>(d.O) * d.I, d.B);
  add_slices(context, dw, s.dw, d.B, static_cast<long>(d.O) * d.I);
  launch(context, row_sums_kernel, blocks_for(outputs, 8), dim3(32, 8), 0, s.dbias, s.g, outputs, d.C);
  add_slices(context, dbias, s.dbias, d.bias_of_each ? 1 : d.B, d.bias_of_each ? outputs : d.O);
}

}  // namespace cafx::cuda
