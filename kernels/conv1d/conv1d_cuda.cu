#include "kernels/conv1d/conv1d_cuda.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "kernels/conv1d/conv1d_fp32_cuda.h"
#include "kernels/conv1d/conv1d_mma_cuda.h"
#include "kernels/device/each_cuda.h"
#include "kernels/device/memory.h"

namespace cafx {

namespace {

enum class Kind { kForward, kForwardBias, kFilter, kData };
constexpr const char* kNames[] = {"forward", "forward with bias", "backward filter", "backward data"};

// cuDNN's descriptors of one shape: x as (B,1,1,T+K-1), y as (B,C,1,T) with C contiguous, w as (C,1,1,K); y in the
// format that the context stores.
struct Descriptors {
  cudnnTensorDescriptor_t x = nullptr, y = nullptr, bias = nullptr;
  cudnnFilterDescriptor_t w = nullptr;
  cudnnConvolutionDescriptor_t conv = nullptr;
  cudnnActivationDescriptor_t identity = nullptr;

  const bool two_types;
  bool refused = false;  // cuDNN has no descriptor for this size

  // True where cuDNN does not support the call; any other failure throws. It may call tensors of two types a bad
  // parameter.
  bool refuses(cudnnStatus_t status) const {
    if (status == CUDNN_STATUS_SUCCESS) return false;
    const int kind = status / 1000 * 1000;
    if (kind == CUDNN_STATUS_NOT_SUPPORTED || (two_types && kind == CUDNN_STATUS_BAD_PARAM)) {
      cudaGetLastError();
      return true;
    }
    cudnn_failed(status, "to plan a convolution", __FILE__, __LINE__);
  }

  Descriptors(Conv1dDims d, bool flip, cudnnDataType_t y_type) : two_types(y_type != CUDNN_DATA_FLOAT) {
    CAFX_CUDNN_CHECK(cudnnCreateTensorDescriptor(&x));
    CAFX_CUDNN_CHECK(cudnnCreateTensorDescriptor(&y));
    CAFX_CUDNN_CHECK(cudnnCreateTensorDescriptor(&bias));
    CAFX_CUDNN_CHECK(cudnnCreateFilterDescriptor(&w));
    CAFX_CUDNN_CHECK(cudnnCreateConvolutionDescriptor(&conv));
    CAFX_CUDNN_CHECK(cudnnCreateActivationDescriptor(&identity));
    const auto set = [&](cudnnStatus_t status) { refused = refuses(status) || refused; };
    set(cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, d.B, 1, 1, d.T + d.K - 1));
    set(cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, y_type, d.B, d.C, 1, d.T));
    set(cudnnSetTensor4dDescriptor(bias, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, d.C, 1, 1));
    set(cudnnSetFilter4dDescriptor(w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, d.C, 1, 1, d.K));
    set(cudnnSetConvolution2dDescriptor(conv, 0, 0, 1, 1, 1, 1, flip ? CUDNN_CONVOLUTION : CUDNN_CROSS_CORRELATION,
                                        CUDNN_DATA_FLOAT));
    set(cudnnSetActivationDescriptor(identity, CUDNN_ACTIVATION_IDENTITY, CUDNN_NOT_PROPAGATE_NAN, 0.0));
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    cudnnDestroyTensorDescriptor(x);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyTensorDescriptor(bias);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyConvolutionDescriptor(conv);
    cudnnDestroyActivationDescriptor(identity);
  }
};

struct Call {
  const Context& context;
  Kind kind;
  Conv1dDims d;
  bool flip;
  void* out;
  const void *first, *second, *bias;  // forward: x, w   filter: x, dy   data: w, dy
};

cudnnStatus_t run_for_one(const Call& call, const Descriptors& t, int algorithm, std::size_t workspace) {
  CudaDevice& gpu = *call.context.cuda;
  const float one = 1.0f, zero = 0.0f;
  switch (call.kind) {
    case Kind::kForward:
      return cudnnConvolutionForward(gpu.dnn, &one, t.x, call.first, t.w, call.second, t.conv,
                                     static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), gpu.conv_workspace, workspace,
                                     &zero, t.y, call.out);
    case Kind::kForwardBias:
      return cudnnConvolutionBiasActivationForward(
          gpu.dnn, &one, t.x, call.first, t.w, call.second, t.conv, static_cast<cudnnConvolutionFwdAlgo_t>(algorithm),
          gpu.conv_workspace, workspace, &zero, t.y, call.out, t.bias, call.bias, t.identity, t.y, call.out);
    case Kind::kFilter:
      return cudnnConvolutionBackwardFilter(gpu.dnn, &one, t.x, call.first, t.y, call.second, t.conv,
                                            static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), gpu.conv_workspace,
                                            workspace, &one, t.w, call.out);
    case Kind::kData:
      return cudnnConvolutionBackwardData(gpu.dnn, &one, t.w, call.first, t.y, call.second, t.conv,
                                          static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), gpu.conv_workspace,
                                          workspace, &zero, t.x, call.out);
  }
  return CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t run_with(const Call& call, const Descriptors& t, int algorithm, std::size_t workspace) {
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  for_each_member(call.context, [&](const auto& of) {
    Call one = call;
    one.out = of(call.out), one.first = of(call.first), one.second = of(call.second), one.bias = of(call.bias);
    if (status == CUDNN_STATUS_SUCCESS) status = run_for_one(one, t, algorithm, workspace);
  });
  return status;
}

// The deterministic algorithms that cuDNN offers for this call, fastest first by its own guess, and why the others are
// refused.
struct Offer {
  int algorithm;
  std::size_t workspace;
  cudnnMathType_t math;
};
struct Offers {
  std::vector<Offer> usable;
  std::string passed_over;
  void pass_over(const std::string& why) { passed_over += (passed_over.empty() ? "" : "; ") + why; }
};
// Most workspace of convolutions: a share of the GPU's memory, or the libraries' own if that is more.
std::size_t workspace_limit(const CudaDevice& gpu) { return std::max(gpu.workspace_bytes, gpu.memory / 32); }

// `there`: bytes of workspace now; `limit`: the most that may be reserved.
template <class Perf>
void keep(Offers& offers, const Perf* perf, int n, std::size_t there, std::size_t limit, int only = -1) {
  const auto mib = [](std::size_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 1048576.0); };
  for (int i = 0; i < n; ++i) {
    const auto algorithm = static_cast<int>(perf[i].algo);
    if (only >= 0 && algorithm != only) continue;
    if (perf[i].status != CUDNN_STATUS_SUCCESS) {
      offers.pass_over(fmt::format("algorithm {} is refused", algorithm));
    } else if (perf[i].determinism != CUDNN_DETERMINISTIC) {
      offers.pass_over(fmt::format("algorithm {} is not deterministic", algorithm));
    } else if (perf[i].memory > there) {
      offers.pass_over(fmt::format("algorithm {} needs {} of workspace, {} {}", algorithm, mib(perf[i].memory),
                                   perf[i].memory > limit ? "over the limit of" : "here there are",
                                   mib(perf[i].memory > limit ? limit : there)));
    } else {
      offers.usable.push_back({algorithm, perf[i].memory, perf[i].mathType});
    }
  }
}
Offers offers_for(const Call& call, const Descriptors& t, std::size_t there) {
  CudaDevice& gpu = *call.context.cuda;
  Offers offers;
  const std::size_t limit = workspace_limit(gpu);
  int n = 0;
  constexpr int kMost = 16;
  const auto refuses = [&](cudnnStatus_t status) {
    if (!t.refuses(status)) return false;
    offers.pass_over("it refuses this shape");
    return true;
  };
  if (refuses(t.refused ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS)) return offers;
  switch (call.kind) {
    case Kind::kForward:
    case Kind::kForwardBias: {
      cudnnConvolutionFwdAlgoPerf_t perf[kMost];
      if (refuses(cudnnGetConvolutionForwardAlgorithm_v7(gpu.dnn, t.x, t.w, t.conv, t.y, kMost, &n, perf))) break;
      // The only algorithm that accepts a bias with the identity activation.
      keep(offers, perf, n, there, limit,
           call.kind == Kind::kForwardBias ? CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM : -1);
      break;
    }
    case Kind::kFilter: {
      cudnnConvolutionBwdFilterAlgoPerf_t perf[kMost];
      if (refuses(cudnnGetConvolutionBackwardFilterAlgorithm_v7(gpu.dnn, t.x, t.y, t.conv, t.w, kMost, &n, perf)))
        break;
      keep(offers, perf, n, there, limit);
      break;
    }
    case Kind::kData: {
      cudnnConvolutionBwdDataAlgoPerf_t perf[kMost];
      if (refuses(cudnnGetConvolutionBackwardDataAlgorithm_v7(gpu.dnn, t.w, t.y, t.conv, t.x, kMost, &n, perf))) break;
      keep(offers, perf, n, there, limit);
      break;
    }
  }
  if (offers.usable.empty() && offers.passed_over.empty()) offers.pass_over("it offers no algorithm");
  return offers;
}

bool capturing(const Context& context) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  CAFX_CUDA_CHECK(cudaStreamIsCapturing(stream_of(context), &status));
  return status != cudaStreamCaptureStatusNone;
}

// Who runs convolutions: the context, else the environment's CAFX_CONVOLUTIONS, decides. `auto`: cafx in bf16 and fp16
// where its tensor-core kernels take the shape; else cuDNN, except on Hopper, where cafx's kernels take half of its
// time or less (measured).
const std::string& convolutions_asked_for() {
  static const std::string name = [] {
    const char* text = std::getenv("CAFX_CONVOLUTIONS");
    const std::string given = text && *text ? text : "auto";
    if (given != "auto" && given != "cudnn" && given != "cafx") {
      throw Error("CAFX_CONVOLUTIONS '{}': expected auto, cudnn or cafx", given);
    }
    return given;
  }();
  return name;
}
bool cudnn_is_chosen(const Context& context) {
  if (context.use_cudnn) return *context.use_cudnn;
  const std::string& name = convolutions_asked_for();
  return name == "auto" ? context.cuda->major != 9 : name == "cudnn";
}
bool by_mma(const Context& context, Conv1dDims d) {
  return conv_mma::takes(context, d) && !context.use_cudnn.value_or(convolutions_asked_for() == "cudnn");
}

cudnnDataType_t stored_type(const Context& context) {
  return context.precision == Precision::kBf16   ? CUDNN_DATA_BFLOAT16
         : context.precision == Precision::kFp16 ? CUDNN_DATA_HALF
                                                 : CUDNN_DATA_FLOAT;
}
bool in_tf32(const Context& context) { return precision_of_convolutions(context.precision) == Precision::kTf32; }
std::shared_ptr<Descriptors> describe(const Call& call) {
  auto t = std::make_shared<Descriptors>(call.d, call.flip, stored_type(call.context));
  // cuDNN's default, DEFAULT_MATH, rounds fp32 operands to tf32.
  CAFX_CUDNN_CHECK(cudnnSetConvolutionMathType(t->conv, in_tf32(call.context) ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH));
  return t;
}

// Runs the call by cuDNN. False: it has no deterministic algorithm, and the caller runs cafx's kernel.
bool by_cudnn(const Call& call) {
  if (!cudnn_is_chosen(call.context)) return false;
  join(call.context);  // the libraries and cafx's filters share a workspace
  CudaDevice& gpu = *call.context.cuda;
  gpu.after_early = false;
  const bool tf32 = in_tf32(call.context);
  const std::string name =
      fmt::format("{} B={} T={} C={} K={}{}{}", kNames[static_cast<int>(call.kind)], call.d.B, call.d.T, call.d.C,
                  call.d.K, call.flip ? " flipped" : "",
                  is_16_bit(call.context.precision) ? fmt::format(" {}", to_string(call.context.precision))
                                                    : (tf32 ? " tf32" : ""));
  auto at = gpu.conv_plans.find(name);
  if (at == gpu.conv_plans.end()) {
    CAFX_CHECK(!capturing(call.context));  // a plan is made by the warm-up step, never inside a graph
    ConvPlan plan;
    plan.name = name;
    const auto t = describe(call);
    Offers offers = offers_for(call, *t, gpu.conv_workspace_bytes);
    for (const Offer& offer : offers.usable) {
      if (tf32) CAFX_CUDNN_CHECK(cudnnSetConvolutionMathType(t->conv, offer.math));
      if (t->refuses(run_with(call, *t, offer.algorithm, offer.workspace))) {
        offers.pass_over(fmt::format("algorithm {} is refused when it is to run", offer.algorithm));
        continue;
      }
      plan.ours = false;
      plan.algorithm = offer.algorithm;
      plan.workspace = offer.workspace;
      break;
    }
    plan.passed_over = offers.passed_over;
    gpu.conv_descriptors[name] = t;
    gpu.conv_plans[name] = plan;
    return !plan.ours;  // the trial was the call itself
  }
  const ConvPlan& plan = at->second;
  if (plan.ours) return false;
  const auto& t = *static_cast<const Descriptors*>(gpu.conv_descriptors.at(name).get());
  CAFX_CUDNN_CHECK(run_with(call, t, plan.algorithm, plan.workspace));
  return true;
}

}  // namespace

void conv_forward(const Context& context, Stored* y, const float* x, const float* w, const float* bias, bool flip,
                  Conv1dDims d) {
  if (by_mma(context, d)) return conv_mma::forward(context, y, x, w, bias, flip, d);
  if (by_cudnn({context, bias ? Kind::kForwardBias : Kind::kForward, d, flip, y, x, w, bias})) return;
  conv_fp32::forward(context, y, x, w, bias, flip, d);
}

bool conv_forward_from(const Context& context, Stored* y, float* x, FrameSource source, int left, const float* w,
                       const float* bias, Conv1dDims d) {
  if (!by_mma(context, d)) return false;
  conv_mma::forward_from(context, y, x, source, left, w, bias, d);
  return true;
}

void conv_backward_filter(const Context& context, float* dw, const Stored* dy, const float* x, bool flip,
                          Conv1dDims d) {
  if (by_mma(context, d)) {
    return aside(context, [&] { conv_mma::backward_filter(context, dw, dy, x, flip, d); });
  }
  if (by_cudnn({context, Kind::kFilter, d, flip, dw, x, dy, nullptr})) return;
  aside(context, [&] { conv_fp32::backward_filter(context, dw, dy, x, flip, d); });
}

void conv_backward_data(const Context& context, float* dx, const Stored* dy, const float* w, bool flip, Conv1dDims d) {
  if (by_cudnn({context, Kind::kData, d, flip, dx, w, dy, nullptr})) return;
  conv_fp32::backward_data(context, dx, dy, w, flip, d);
}

bool conv_has_rows(const Context& context, Conv1dDims d) {
  return !by_mma(context, d) && !cudnn_is_chosen(context) && d.K <= kConvRow - kConvRowSamples;
}
bool conv_backward_rows(const Context& context, float* rows, const Stored* dy, const float* w, bool flip,
                        Conv1dDims d) {
  if (!conv_has_rows(context, d)) return false;
  conv_fp32::backward_rows(context, rows, dy, w, flip, d);
  return true;
}

bool deconv_whole(const Context& context, float* y, const DeconvMae& mae, const Stored* u, const float* w,
                  const float* bias, bool flip, int pad, Conv1dDims d) {
  if (!by_mma(context, d)) return false;
  conv_mma::deconv(context, y, mae, u, w, bias, flip, pad, d);
  return true;
}

namespace cuda {

bool convolutions_round(const Context& context, Conv1dDims d) { return by_mma(context, d); }

std::size_t convolution_workspace(const Context& context, Conv1dDims d, bool flip) {
  if (!cudnn_is_chosen(context) || by_mma(context, d)) return 0;
  CudaDevice& gpu = *context.cuda;
  std::size_t wanted = 0;
  for (const bool flipped : {false, flip}) {
    for (const Kind kind : {Kind::kForwardBias, Kind::kForward, Kind::kFilter, Kind::kData}) {
      const Call call{context, kind, d, flipped, nullptr, nullptr, nullptr, nullptr};
      // Any of them may be the one that runs later.
      for (const Offer& offer : offers_for(call, *describe(call), workspace_limit(gpu)).usable)
        wanted = std::max(wanted, offer.workspace);
    }
  }
  return wanted > gpu.conv_workspace_bytes ? wanted : 0;
}

void reserve_convolutions(const Context& context, Conv1dDims d, bool flip) {
  const std::size_t bytes = cuda::convolution_workspace(context, d, flip);
  if (bytes == 0) return;
  CudaDevice& gpu = *context.cuda;
  MemberPart* const member = std::exchange(gpu.allocating, nullptr);  // one for all: cuDNN runs one after the other
  gpu.larger_workspaces.push_back(allocate(context, bytes));
  gpu.allocating = member;
  gpu.conv_workspace = gpu.larger_workspaces.back();
  gpu.conv_workspace_bytes = bytes;
  // Plans that lacked workspace may succeed now.
  std::erase_if(gpu.conv_plans, [](const auto& entry) { return entry.second.ours; });
}

std::size_t conv1d_backward_scratch(const Context&, Conv1dDims d) {
  return sizeof(float) * static_cast<std::size_t>(n_slices(static_cast<long>(d.B) * d.T, d.C)) * d.C;
}

void conv1d_forward(const Context& context, Stored* y, const float* x_padded, const float* w, const float* bias, void*,
                    Conv1dDims d) {
  conv_forward(context, y, x_padded, w, bias, false, d);
}

template <class S>
static void add_rows(const Context& context, float* dbias, void* scratch, const S* dy, Conv1dDims d) {
  const int C = d.C;
  add_column_sums(context, dbias, static_cast<float*>(scratch), static_cast<long>(d.B) * d.T, C,
                  [=] __device__(Members members) mutable {
                    members.enter(dy);
                    return [=](long row, int c) { return read(dy + row * C + c); };
                  });
}

void conv1d_backward(const Context& context, float* dw, float* dbias, const Stored* dy, const float* x_padded,
                     void* scratch, Conv1dDims d) {
  conv_backward_filter(context, dw, dy, x_padded, false, d);
  if (!dbias) return;
  with_stored(context, [&]<class S>() { add_rows<S>(context, dbias, scratch, static_cast<const S*>(dy), d); });
}

}  // namespace cuda
}  // namespace cafx
