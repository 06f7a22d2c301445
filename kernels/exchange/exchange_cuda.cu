#include "kernels/exchange/exchange.h"

#include "kernels/device/each_cuda.h"

#ifdef CAFX_HAS_NCCL

#include <dlfcn.h>
#include <nccl.h>

#include <mutex>

#include "kernels/optimizer/optimizer.h"

namespace cafx {

static_assert(sizeof(ExchangeId) == sizeof(ncclUniqueId));

namespace {

// The functions of the library, loaded at first use.
struct Nccl {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRank) comm_init_rank;
  decltype(&ncclCommDestroy) comm_destroy;
  decltype(&ncclCommAbort) comm_abort;
  decltype(&ncclCommGetAsyncError) comm_get_async_error;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) recv;
  decltype(&ncclAllGather) all_gather;
};

Nccl load() {
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  const std::string why = library ? "" : dlerror();
  if (!library) library = dlopen(CAFX_NCCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    throw Error("several GPUs need NCCL, and its library cannot be loaded ({}); install libnccl2, or use --gpus 1",
                why);
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function)
      throw Error("several GPUs need NCCL 2.14 or newer: its library has no {}; update libnccl2, or use --gpus 1",
                  name);
  };
  Nccl n{};
  find(n.get_version, "ncclGetVersion");
  find(n.get_unique_id, "ncclGetUniqueId");
  find(n.comm_init_rank, "ncclCommInitRank");
  find(n.comm_destroy, "ncclCommDestroy");
  find(n.comm_abort, "ncclCommAbort");
  find(n.comm_get_async_error, "ncclCommGetAsyncError");
  find(n.get_error_string, "ncclGetErrorString");
  find(n.get_last_error, "ncclGetLastError");
  find(n.group_start, "ncclGroupStart");
  find(n.group_end, "ncclGroupEnd");
  find(n.send, "ncclSend");
  find(n.recv, "ncclRecv");
  find(n.all_gather, "ncclAllGather");
  int version = 0;
  n.get_version(&version);
  if (version < 21400) {  // the header of the build must be this new, too (cmake/cuda.cmake)
    throw Error("several GPUs need NCCL 2.14 or newer, the library is {}; update libnccl2, or use --gpus 1", version);
  }
  return n;
}

const Nccl& nccl() {
  static const Nccl functions = load();
  return functions;
}

void check_nccl(ncclResult_t code, const char* call, ncclComm_t comm) {
  if (code == ncclSuccess) return;
  throw Error(
      "NCCL failed: {}: {} {}; NCCL_DEBUG=INFO tells more; go on with 'cafx resume', the last checkpoint is safe", call,
      nccl().get_error_string(code), nccl().get_last_error(comm));
}

struct Shares {
  double of[kMostGpus];
};

}  // namespace

ExchangeId new_exchange_id() {
  ExchangeId id{};
  check_nccl(nccl().get_unique_id(reinterpret_cast<ncclUniqueId*>(&id)), "ncclGetUniqueId", nullptr);
  return id;
}

std::string exchange_name() {
  int v = 0;
  check_nccl(nccl().get_version(&v), "ncclGetVersion", nullptr);
  return fmt::format("NCCL {}.{}.{}", v / 10000, v % 10000 / 100, v % 100);
}

struct Exchange::State {
  std::mutex mutex;  // abort comes from another thread
  ncclComm_t comm = nullptr;
  int rank = 0, ranks = 1;
};

Exchange::Exchange(const Context& context, const ExchangeId& id, int rank, int ranks)
    : state_(std::make_shared<State>()) {
  CAFX_CHECK(context.device == Device::kCuda && rank >= 0 && rank < ranks && ranks <= kMostGpus, rank, ranks);
  state_->rank = rank;
  state_->ranks = ranks;
  ncclUniqueId nccl_id;
  std::memcpy(&nccl_id, &id, sizeof id);
  ncclComm_t comm = nullptr;
  check_nccl(nccl().comm_init_rank(&comm, ranks, nccl_id, rank), "ncclCommInitRank", nullptr);
  state_->comm = comm;
}
Exchange::~Exchange() {
  const std::lock_guard lock(state_->mutex);
  if (state_->comm) nccl().comm_destroy(state_->comm);
  state_->comm = nullptr;
}
int Exchange::rank() const { return state_->rank; }
int Exchange::ranks() const { return state_->ranks; }

void Exchange::sum(const Context& context, float* gradient, double* loss, const std::vector<int>& frames, long n,
                   void* scratch, bool first) {
  const int R = state_->ranks, rank = state_->rank;
  CAFX_CHECK(static_cast<int>(frames.size()) == R && n >= 1, frames.size(), R, n);
  const ncclComm_t comm = state_->comm;
  const Nccl& f = nccl();
  const cudaStream_t stream = stream_of(context);
  const auto check = [comm](ncclResult_t code, const char* call) { check_nccl(code, call, comm); };
  const auto part_done = [&] {
    if (first) CAFX_CUDA_CHECK(cudaStreamSynchronize(stream));
  };
  const long S = exchange_padded(n, R) / R;
  auto* losses = static_cast<double*>(scratch);           // (R)
  auto* received = reinterpret_cast<float*>(losses + R);  // (R - 1, S): the other ranks, in order
  float* mine = gradient + rank * S;
  Shares shares{};
  double all = 0.0;
  for (const int count : frames) all += count;
  for (int r = 0; r < R; ++r) shares.of[r] = frames[static_cast<std::size_t>(r)] / all;
  if (R * S > n) CAFX_CUDA_CHECK(cudaMemsetAsync(gradient + n, 0, sizeof(float) * (R * S - n), stream));

  check(f.group_start(), "ncclGroupStart");
  for (int r = 0; r < R; ++r) {
    if (r == rank) continue;
    check(f.send(gradient + r * S, static_cast<std::size_t>(S), ncclFloat, r, comm, stream), "ncclSend");
    check(f.recv(received + (r < rank ? r : r - 1) * S, static_cast<std::size_t>(S), ncclFloat, r, comm, stream),
          "ncclRecv");
  }
  check(f.group_end(), "ncclGroupEnd");
  part_done();
  for_each(context, S, [=] __device__(Members) {
    return [=](long i) {
      double total = 0.0;
      for (int r = 0; r < R; ++r) {
        const float g = r == rank ? mine[i] : received[(r < rank ? r : r - 1) * S + i];
        total += shares.of[r] * static_cast<double>(g);
      }
      mine[i] = static_cast<float>(total);
    };
  });
  part_done();
  check(f.group_start(), "ncclGroupStart");
  check(f.all_gather(mine, gradient, static_cast<std::size_t>(S), ncclFloat, comm, stream), "ncclAllGather");
  check(f.all_gather(loss, losses, 1, ncclDouble, comm, stream), "ncclAllGather");
  check(f.group_end(), "ncclGroupEnd");
  part_done();
  sum_losses(context, loss, losses, R, false);
  part_done();
}

std::string Exchange::failure() const {
  const std::lock_guard lock(state_->mutex);
  if (!state_->comm) return "";
  ncclResult_t code = ncclSuccess;
  if (nccl().comm_get_async_error(state_->comm, &code) != ncclSuccess || code == ncclSuccess || code == ncclInProgress)
    return "";
  return fmt::format("NCCL failed: {} {}; go on with 'cafx resume', the last checkpoint is safe",
                     nccl().get_error_string(code), nccl().get_last_error(state_->comm));
}

void Exchange::abort() noexcept {
  const std::lock_guard lock(state_->mutex);
  if (state_->comm) nccl().comm_abort(state_->comm);
  state_->comm = nullptr;
}

}  // namespace cafx

#else

namespace cafx {

namespace {
[[noreturn]] void absent() {
  throw Error(
      "several GPUs need NCCL, which this binary was built without; install it (nccl.h, libnccl.so.2), build anew, or "
      "use --gpus 1");
}
}  // namespace

struct Exchange::State {};
ExchangeId new_exchange_id() { absent(); }
std::string exchange_name() { absent(); }
Exchange::Exchange(const Context&, const ExchangeId&, int, int) { absent(); }
Exchange::~Exchange() = default;
int Exchange::rank() const { return 0; }
int Exchange::ranks() const { return 1; }
void Exchange::sum(const Context&, float*, double*, const std::vector<int>&, long, void*, bool) {}
std::string Exchange::failure() const { return ""; }
void Exchange::abort() noexcept {}

}  // namespace cafx

#endif
